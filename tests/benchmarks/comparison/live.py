"""Real sweeps at equal CPU time: `python -m tests.benchmarks.comparison.live [--repeats 3] [--budget 250]`; keeps
`live.json` beside this file.

Ours is `run sweep=arena_phases` with one phase instead of three, told its budget; the others are plain Ray Tune over
the same trainable and the same parameters (training length included), two runs at a time, with OptunaSearch as it comes
and with random search. At each share of the budget, what the method would recommend then is trained again on fresh
seeds and played on fresh maps.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from metta_sweep.config import load_sweep_job, resolve_run
from metta_sweep.config.job import SweepJob
from metta_sweep.driver.suggestions import SweepOptimiser
from metta_sweep.registry.open import open_registry
from tests.proof.afresh import MAPS_SEED
from tests.proof.stage import Stage, wait_for

FILE = Path(__file__).parent / "live.json"
METHODS = {"metta_sweep": "ours", "Ray Tune + Optuna": "optuna", "random search": "random"}
SHARES = (0.25, 0.5, 1.0)
FRESH_SEEDS = (201, 202, 203)
EPISODES = 96
SLOTS = 2
LENGTHS = "{distribution:int_log_normal,min:65536,max:262144,mean:131072}"


@dataclass(frozen=True)
class Live:
    """One real sweep.

    Attributes:
        costs: CPU seconds of the runs when each share of the budget was used up.
        scores: of what was recommended then, mean over `FRESH_SEEDS`.
        runs: how many ended.
        wall_seconds: of the sweep, start to end.
    """

    method: str
    seed: int
    costs: Sequence[float]
    scores: Sequence[float]
    runs: int
    wall_seconds: float


@dataclass(frozen=True)
class Advised:
    """What a method would recommend when the CPU seconds `cost` had been spent: a whole configuration of a run."""

    cost: float
    spec: dict[str, Any]


def words_of(directory: Path, seed: int, budget: float) -> list[str]:
    """The sweep in Hydra's words."""
    return [
        "sweep_name=live", "sweep=arena_phases", f"data_dir={directory}", f"seed={seed}",
        "sweep.num_samples=null", "~sweep.schedule",
        f"+sweep.parameters.trainer.total_timesteps={LENGTHS}", f"sweep.protein.budget={budget}",
    ]  # fmt: skip


def job_of(words: Sequence[str]) -> SweepJob:
    """The same job for all."""
    return load_sweep_job(words, environ={"WANDB_MODE": "disabled", "NUM_CPUS": str(SLOTS)})


def ours(directory: Path, seed: int, budget: float) -> list[Advised]:
    """The real command, stopped when its runs have cost the budget."""
    stage = Stage(directory, {"WANDB_MODE": "disabled", "NUM_CPUS": str(SLOTS)})
    driver = stage.start("driver", ["run", *words_of(directory, seed, budget)])
    with closing(open_registry(directory, None)) as registry:
        wait_for(lambda: any(sweep.name == "live" for sweep in registry.list_sweeps()), "the sweep")
        wait_for(
            lambda: sum(seen.observation.cost_seconds for seen in registry.observations("live")) >= budget,
            "the budget",
            3600.0,
        )
        stage.call("stop", "sweep_name=live", f"data_dir={directory}", "--now")
        driver.wait(timeout=120)
        records = registry.observations("live")
    job = job_of(words_of(directory, seed, budget))
    proposer, told, spent, advised = SweepOptimiser(job.sweep, seed), list[dict[str, Any]](), 0.0, list[Advised]()
    for record in records:
        proposer.observe([record])
        told.append(dict(record.params))
        spent += record.observation.cost_seconds
        beliefs = [(belief.mean, params) for params in told if (belief := proposer.believe(params)) is not None]
        best = max(beliefs, key=lambda one: one[0])[1] if beliefs else told[-1]
        advised.append(Advised(spent, resolve_run(job.train, "live", best, seed=seed)))
    return advised


def plain_tune(words: Sequence[str], directory: Path, budget: float, method: str) -> list[Advised]:
    """Ray Tune in a process of its own, see `plain_tune.py`.

    Args:
        words: the sweep whose runs and parameters these are, in Hydra's words.
    """
    out = directory / "advised.json"
    module = "tests.benchmarks.comparison.plain_tune"
    command = [sys.executable, "-m", module, method, str(directory), str(budget), str(out), *words]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return [Advised(**row) for row in json.loads(out.read_text())]


def sweep(method: str, seed: int, budget: float) -> tuple[list[Advised], float]:
    """(what it would have recommended after each run, wall seconds)."""
    with tempfile.TemporaryDirectory() as name:
        started = time.monotonic()
        directory, short = Path(name), METHODS[method]
        if short == "ours":
            return ours(directory, seed, budget), time.monotonic() - started
        advised = plain_tune(words_of(directory, seed, budget), directory, budget, short)
        return advised, time.monotonic() - started


def afresh(spec: dict[str, Any], seed: int) -> float:
    """Mean score on fresh maps of one policy trained with another seed."""
    import torch

    from tests.trainables.test_trainer import Recorder
    from trainables.distributed import DistributedContext
    from trainables.metering import Meter
    from trainables.ppo.trainer import PpoTrainer
    from trainables.simulation.aggregate import metrics
    from trainables.simulation.play import Share, play
    from trainables.spec import RunSpec

    torch.set_num_threads(1)
    sim = {**spec["sim"], "seed": MAPS_SEED, "episodes": EPISODES}
    trainer = {**spec["trainer"], "simulation": {"curve_points": 0}}
    fresh = RunSpec.from_mapping({**spec, "seed": seed, "device": "cpu", "sim": sim, "trainer": trainer})
    run = PpoTrainer(fresh, DistributedContext(), Meter("setup"))
    assert run.train(Recorder())
    return metrics(fresh.suite, play(fresh.suite, run.policy, Share()))["reward"]


def judged(method: str, seed: int, budget: float) -> Live:
    """One sweep, and its recommendations trained again."""
    advised, wall = sweep(method, seed, budget)
    chosen = [[one for one in advised if one.cost <= share * budget * 1.001][-1:] or advised[:1] for share in SHARES]
    picks = [one[0] for one in chosen]
    with ProcessPoolExecutor(SLOTS) as pool:
        futures = [[pool.submit(afresh, pick.spec, fresh) for fresh in FRESH_SEEDS] for pick in picks]
        scores = [float(np.mean([future.result() for future in row])) for row in futures]
    return Live(method, seed, [pick.cost for pick in picks], scores, len(advised), wall)


def load() -> list[Live]:
    return [Live(**row) for row in json.loads(FILE.read_text())] if FILE.exists() else []


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--budget", type=float, default=250.0, help="CPU seconds of the runs of one sweep")
    args = parser.parse_args()
    rows = load()
    for seed in range(1, args.repeats + 1):
        for method in METHODS:
            if any((row.method, row.seed) == (method, seed) for row in rows):
                continue
            rows.append(judged(method, seed, args.budget))
            FILE.write_text("[\n" + ",\n".join(json.dumps(asdict(row)) for row in rows) + "\n]\n")
            print(rows[-1], flush=True)


if __name__ == "__main__":
    main()
