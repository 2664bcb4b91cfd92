"""One measurement in a process of its own, so that memory and imports of one say nothing of another: `... measure
ours|tune ADDRESS DIR [...]`.

Prints one line of JSON.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import psutil

from tests.metta_sweep.driver.drive import SWEEP, drive, write_known_baseline

SAMPLE_SECONDS = 0.5
MEBIBYTE = 2**20


@dataclass
class Memory:
    """Resident memory of this process by number of runs that ended."""

    samples: list[tuple[float, float]] = field(default_factory=list)

    @contextlib.contextmanager
    def sampled(self) -> Iterator[None]:
        ended = threading.Event()
        process = psutil.Process()

        def sample() -> None:
            while not ended.wait(SAMPLE_SECONDS):
                self.samples.append((time.time(), process.memory_info().rss / MEBIBYTE))

        thread = threading.Thread(target=sample, daemon=True)
        thread.start()
        yield
        ended.set()
        thread.join()

    def at(self, moment: float) -> float:
        """MiB at the last sample before a moment in epoch seconds."""
        return max((sample for sample in self.samples if sample[0] <= moment), default=self.samples[0])[1]


@dataclass(frozen=True)
class Measured:
    """What one process measured.

    Attributes:
        wall_seconds: from the call to its return, Ray being up.
        first_ms, last_ms: per run, over the first and the last hundred that ended.
        first_mib, last_mib: resident memory of the driver when the first hundred, and all, had ended.
    """

    wall_seconds: float
    first_ms: float
    last_ms: float
    first_mib: float
    last_mib: float


def measured(wall_seconds: float, ends: list[float], memory: Memory) -> Measured:
    """What the moments say at which runs ended."""
    ends = sorted(ends)
    hundred = min(100, len(ends) // 2)
    first, last = ends[hundred] - ends[0], ends[-1] - ends[-1 - hundred]
    per_run = 1000.0 / hundred
    return Measured(wall_seconds, first * per_run, last * per_run, memory.at(ends[hundred]), memory.at(ends[-1]))


def ours(args: argparse.Namespace) -> Measured:
    """A sweep of instant runs."""
    from contextlib import closing

    from metta_sweep.registry.open import open_registry

    write_options(args)
    memory = Memory()
    with memory.sampled(), contextlib.redirect_stdout(sys.stderr):
        started = time.monotonic()
        drive(
            args.directory,
            f"sweep.num_samples={args.trials}",
            f"sweep.method={args.method}",
            environ={"RAY_ADDRESS": args.address},
        )
        wall_seconds = time.monotonic() - started
    with closing(open_registry(args.directory, None)) as registry:
        ends = [event.at for event in registry.events(SWEEP) if event.kind == "completed"]
    assert len(ends) == args.trials, len(ends)
    return measured(wall_seconds, ends, memory)


def plain_tune(args: argparse.Namespace) -> Measured:
    """Ray Tune's own random search over the same trainable, with its default loggers and as many slots."""
    import ray
    from ray import tune

    from tests.instant import InstantTrainable

    write_options(args)
    ray.init(address=args.address, log_to_driver=False)
    ends: list[float] = []

    class Ends(tune.Callback):
        def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
            ends.append(time.time())

    runs = args.directory / "sweep" / SWEEP / "runs"
    spec = {
        "trainer": {
            "total_timesteps": tune.randint(49152, 98304),
            "minibatch_size": tune.choice([512, 1024, 2048]),
            "optimizer": {"learning_rate": tune.loguniform(5e-4, 1e-2)},
            "ppo": {"gae_lambda": tune.uniform(0.7, 0.95)},
        }
    }
    directory = tune.sample_from(lambda spec: str(runs / f"{time.time_ns()}"))
    memory = Memory()
    tuner = tune.Tuner(
        tune.with_resources(InstantTrainable, tune.PlacementGroupFactory([{"CPU": 1}])),
        param_space={"run": {"id": "r", "attempt": 1, "directory": directory, "spec": spec}},
        tune_config=tune.TuneConfig(num_samples=args.trials, reuse_actors=True, max_concurrent_trials=args.slots),
        run_config=tune.RunConfig(storage_path=str(args.directory / "tune"), verbose=0, callbacks=[Ends()]),
    )
    with memory.sampled(), contextlib.redirect_stdout(sys.stderr):
        started = time.monotonic()
        tuner.fit()
        wall_seconds = time.monotonic() - started
    assert len(ends) == args.trials, len(ends)
    return measured(wall_seconds, ends, memory)


def write_options(args: argparse.Namespace) -> None:
    args.directory.mkdir(parents=True, exist_ok=True)
    (args.directory / "instant.json").write_text(json.dumps({"sleep_seconds": args.sleep_seconds}))
    write_known_baseline(args.directory / "sweep" / SWEEP / "random_policy.yaml")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=["ours", "tune"])
    parser.add_argument("address")
    parser.add_argument("directory", type=Path)
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument("--slots", type=int, default=16)
    parser.add_argument("--method", default="random")
    parser.add_argument("--sleep-seconds", type=float, default=0.0)
    args = parser.parse_args()
    print(json.dumps(asdict((ours if args.what == "ours" else plain_tune)(args))))


if __name__ == "__main__":
    main()
