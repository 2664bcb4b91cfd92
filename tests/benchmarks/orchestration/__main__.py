"""What the machinery around runs costs: `python -m tests.benchmarks.orchestration WHAT [--trials N] [--json FILE]`."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from ray.cluster_utils import Cluster

from tests.metta_sweep.driver.drive import ROOT
from tests.ray_token import use_ray_token

SLOTS = 16
Rows = dict[str, dict[str, float]]


@contextmanager
def simulated(slots: int) -> Iterator[str]:
    """Address of a Ray of one node that says that it has so many CPUs."""
    use_ray_token(pytest.MonkeyPatch())
    os.environ |= {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": slots, "include_dashboard": False})
    try:
        yield cluster.address
    finally:
        cluster.shutdown()


def measure(what: str, slots: int, directory: Path, module: str = "measure", **options: Any) -> dict[str, float]:
    """One measurement in a process and on a Ray of its own."""
    with simulated(slots) as address:
        words = [f"--{name.replace('_', '-')}={value}" for name, value in options.items()]
        command = [
            sys.executable,
            "-m",
            f"tests.benchmarks.orchestration.{module}",
            what,
            address,
            str(directory),
            *words,
        ]
        done = subprocess.run(
            command,
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=(directory.parent / f"{directory.name}.log").open("w"),
            check=True,
        )
    found: dict[str, float] = json.loads(done.stdout.decode().strip().splitlines()[-1])
    print(f"{what} {options}: {found}", file=sys.stderr)
    return found


def instant(directory: Path, trials: int) -> Rows:
    """Instant runs: what a run costs, whether that grows, and what plain Ray Tune takes."""
    rows = {
        "ours, random": measure("ours", SLOTS, directory / "random", trials=trials, method="random"),
        "plain Ray Tune, random": measure("tune", SLOTS, directory / "tune", trials=trials),
        "ours, Protein": measure("ours", SLOTS, directory / "bayes", trials=trials, method="bayes"),
    }
    wall = {name: row["wall_seconds"] for name, row in rows.items()}
    rows["gates"] = {
        "wall ratio to plain Tune (<= 1.1)": wall["ours, random"] / wall["plain Ray Tune, random"],
        "last hundred / first hundred": rows["ours, random"]["last_ms"] / rows["ours, random"]["first_ms"],
        "Protein's added ms per run": (wall["ours, Protein"] - wall["ours, random"]) / trials * 1000.0,
    }
    return rows


def seconds(directory: Path, trials: int) -> Rows:
    """Runs of one second; ten thousand of them in under 800 s is Ray's own release gate."""
    row = measure("ours", SLOTS, directory / "seconds", trials=trials, method="random", sleep_seconds=1.0)
    return {"ours, random": row, "gates": {f"seconds for {trials} runs (10,000 in < 800)": row["wall_seconds"]}}


def gap(directory: Path, trials: int) -> Rows:
    from tests.benchmarks.orchestration.gap import gap

    return gap(directory, trials)


def cluster(directory: Path, trials: int) -> Rows:
    from tests.benchmarks.orchestration.cluster import cluster

    return cluster(directory, trials)


def machine(directory: Path, trials: int) -> Rows:
    from tests.benchmarks.orchestration.machine import machine

    return machine(trials)


# What there is to measure, and with how many runs.
MEASUREMENTS = {
    "instant": (instant, 1000),
    "seconds": (seconds, 10_000),
    "gap": (gap, 21),
    "cluster": (cluster, 2000),
    "machine": (machine, 20_000),
}


def show(rows: Mapping[str, Mapping[str, float]]) -> None:
    for name, row in rows.items():
        print(f"{name}: " + ", ".join(f"{key} {value:.3g}" for key, value in row.items()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=list(MEASUREMENTS))
    parser.add_argument("--trials", type=int)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    function, trials = MEASUREMENTS[args.what]
    with tempfile.TemporaryDirectory() as directory:
        rows = function(Path(directory), args.trials or trials)
    show(rows)
    if args.json:
        args.json.write_text(json.dumps(rows, indent=2) + "\n")


if __name__ == "__main__":
    main()
