"""What a sweep gains from an earlier one of another task: `python -m tests.proof.memory DIRECTORY [--tasks combat
pendulum] [--seeds 1 2 3]`.

A sweep on `arena/basic` first; then each task twice with each seed, once with it and once without, everything else
equal. What each finds is trained again as `unattended.py` does.
"""

from __future__ import annotations

import argparse
import shutil
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from tests.proof.afresh import Afresh, afresh
from tests.proof.stage import Stage
from tests.proof.tasks import TASKS, Task

FIRST = "first"
EARLY = 8  # runs, which is the first phase of both tasks


@dataclass(frozen=True)
class Found:
    """One sweep.

    Attributes:
        early: mean score of its first runs.
        best: trained afresh.
        weights: what each earlier sweep counted at the end, by name.
    """

    early: float
    best: Afresh
    weights: dict[str, float]

    def __str__(self) -> str:
        shares = "".join(f"; {name} counts {weight:.2f}" for name, weight in self.weights.items())
        return f"first {EARLY} runs {self.early:.2f}; {self.best}{shares}"


def sweep(stage: Stage, task: Task, name: str, seed: int, memory: str) -> Found:
    """A whole sweep, two runs at a time, and its winner trained afresh."""
    stage.call("run", *task.words(name, seed), f"sweep.memory={memory}")
    state = stage.ask("status", f"sweep_name={name}", "--all")
    stage.call("best", f"sweep_name={name}", "--output-dir", str(stage.patches))
    return Found(early_mean(state["runs"]), afresh(stage, f"{name}_best", task), weights_of(state))


def early_mean(runs: list[dict[str, Any]]) -> float:
    """Mean score of the first runs by number, those that failed left out."""
    first = sorted(runs, key=lambda run: int(run["id"].rpartition(".")[2]))[:EARLY]
    return float(np.mean([run["score"] for run in first if run["score"] is not None]))


def weights_of(state: dict[str, Any]) -> dict[str, float]:
    """Present weight of each earlier sweep by name."""
    return {one["sweep"]: one["weight"] for one in state["learns_from"]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--tasks", nargs="+", choices=["combat", "pendulum"], default=["combat", "pendulum"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[1, 2, 3])
    args = parser.parse_args()
    first = Stage(args.directory.resolve() / FIRST, {"WANDB_MODE": "disabled", "NUM_CPUS": "2"})
    if not first.directory.exists():
        first.directory.mkdir(parents=True)
        first.call("run", *TASKS["basic"].words(FIRST, 1))
    for seed, name, memory in product(args.seeds, args.tasks, ("auto", "[]")):
        label = f"{name}, seed {seed}, sweep.memory={memory}"
        # A registry of its own: `auto` would learn from the sweeps of the other seeds as well
        stage = Stage(first.directory.with_name(f"{name}_{seed}_{memory}"), first.environ)
        shutil.copytree(first.directory, stage.directory)
        stage.patches.mkdir(parents=True, exist_ok=True)
        print(f"{label}: {sweep(stage, TASKS[name], name, seed, memory)}", flush=True)


if __name__ == "__main__":
    main()
