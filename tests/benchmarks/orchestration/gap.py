"""From a run's end to the next run's first training step, in one slot: ours, and plain Ray Tune with the same trainable
and the same runs.

`... gap random|bayes|tune|warm ADDRESS DIR --runs N` is one measurement; prints the median gap and its parts as JSON.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import statistics
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from metta_sweep.config import load_sweep_job, resolve_run
from metta_sweep.driver.sweep import RunCommand
from tests.metta_sweep.driver.drive import SWEEP, drive, write_known_baseline
from tests.metta_sweep.driver.test_kills_on_ray import SMALL
from trainables.run_files import RunFiles

POLL_SECONDS = 0.005
WORDS = (*SMALL, "trainer.total_timesteps=2048", "resources.cpus_per_worker=1")
NAMES = {
    "random": "ours, random",
    "bayes": "ours, Protein",
    "tune": "plain Ray Tune",
    "warm": "plain Ray Tune, reuse_actors=True",
}


class Watcher:
    """Sees when runs write their first row of metrics."""

    def __init__(self, runs: Path) -> None:
        self._runs = runs
        self._seen: dict[str, float] = {}
        self._ended = threading.Event()

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        thread = threading.Thread(target=self._watch, daemon=True)
        thread.start()
        yield
        self._ended.set()
        thread.join()

    def _watch(self) -> None:
        while not self._ended.wait(POLL_SECONDS):
            for directory in self._runs.glob("*"):
                if directory.name not in self._seen and RunFiles(directory).metrics.exists():
                    self._seen[directory.name] = time.time()

    def first_step(self, name: str) -> float:
        """When training began: the first row says how long it trained before it."""
        first = json.loads(RunFiles(self._runs / name).metrics.read_text().splitlines()[0])
        return self._seen[name] - float(first["train_seconds"])

    def gaps(self, told: dict[str, float]) -> list[tuple[float, ...]]:
        """(whole gap, result on its way to Tune, next run on its way to its ranks, ranks until they train) of each pair
        of runs, in seconds.
        """
        order = sorted(self._seen, key=lambda name: self._seen[name])
        found: list[tuple[float, ...]] = []
        for before, after in itertools.pairwise(order):
            end = RunFiles(self._runs / before).eval_results.stat().st_mtime
            placed = RunFiles(self._runs / after).dist(1).stat().st_mtime
            start = self.first_step(after)
            found.append((start - end, told[before] - end, placed - told[before], start - placed))
        return found


def ours(address: str, directory: Path, runs: int, told: dict[str, float], *, method: str) -> None:
    from metta_sweep.driver.tune import SweepSearch

    original = SweepSearch.on_trial_complete

    def stamped(self: Any, trial_id: str, result: Any = None, error: bool = False) -> None:
        told[self._runs[trial_id]] = time.time()
        original(self, trial_id, result, error)

    SweepSearch.on_trial_complete = stamped  # type: ignore[method-assign]
    drive(
        directory,
        f"sweep.num_samples={runs}",
        f"sweep.method={method}",
        *WORDS,
        environ={"RAY_ADDRESS": address},
        command=RunCommand(),
    )


def plain_tune(address: str, directory: Path, runs: int, told: dict[str, float], *, reuse: bool) -> None:
    import ray
    from ray import tune

    from metta_sweep.capacity import bundles
    from trainables.run_trainable import RunTrainable
    from trainables.spec import spec_of_point

    ray.init(address=address, log_to_driver=False)
    job = load_sweep_job([f"sweep_name={SWEEP}", f"data_dir={directory}", *WORDS], environ={"WANDB_MODE": "disabled"})

    def config(number: int) -> dict[str, Any]:
        name = f"{SWEEP}.r.{number}"
        spec = resolve_run(job.train, name, job.sweep.phases[0].space.center(), seed=1)
        return {"id": name, "attempt": 1, "directory": str(job.run_directory(name)), "spec": spec_of_point(spec)}

    class Told(tune.Callback):
        def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
            told[trial.config["run"]["id"]] = time.time()

    tune.Tuner(
        tune.with_resources(RunTrainable, tune.PlacementGroupFactory(bundles(job.resources))),
        param_space={"run": tune.grid_search([config(number) for number in range(runs)])},
        tune_config=tune.TuneConfig(reuse_actors=reuse, max_concurrent_trials=1),
        run_config=tune.RunConfig(storage_path=str(directory / "tune"), verbose=0, callbacks=[Told()]),
    ).fit()


def gap(directory: Path, runs: int) -> dict[str, dict[str, float]]:
    """All, one after the other, each on a Ray of its own."""
    from tests.benchmarks.orchestration.__main__ import measure

    rows = {name: measure(what, 1, directory / what, module="gap", runs=runs) for what, name in NAMES.items()}
    median = {what: rows[name]["median gap s"] for what, name in NAMES.items()}
    rows["gates"] = {
        f"ratio of ours, random to {NAMES[what]} (<= 1.0)": median["random"] / median[what] for what in ("tune", "warm")
    }
    return rows


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=list(NAMES))
    parser.add_argument("address")
    parser.add_argument("directory", type=Path)
    parser.add_argument("--runs", type=int, default=21)
    args = parser.parse_args()
    args.directory.mkdir(parents=True, exist_ok=True)
    write_known_baseline(args.directory / "sweep" / SWEEP / "random_policy.yaml")
    watcher, told = Watcher(args.directory / "sweep" / SWEEP / "runs"), dict[str, float]()
    run: Callable[[], None] = (
        (lambda: ours(args.address, args.directory, args.runs, told, method=args.what))
        if args.what in ("random", "bayes")
        else (lambda: plain_tune(args.address, args.directory, args.runs, told, reuse=args.what == "warm"))
    )
    with watcher.watching(), contextlib.redirect_stdout(sys.stderr):
        run()
    parts = [statistics.median(column) for column in zip(*watcher.gaps(told), strict=True)]
    names = ("median gap s", "result to Tune s", "next run to its ranks s", "ranks until they train s")
    print(json.dumps(dict(zip(names, parts, strict=True))))


if __name__ == "__main__":
    main()
