"""A driver's own parts and a registry, without Ray: the test plays Tune's loop."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from metta_sweep.capacity import Node
from metta_sweep.config import load_sweep_job
from metta_sweep.driver.sweep import Driver, DriverContext
from metta_sweep.driver.tune import FINISHED
from metta_sweep.ray_cluster.cluster import ClusterNodes
from metta_sweep.registry.api import Registry
from metta_sweep.tracking.job import MirrorJob
from metta_sweep.tracking.mirror_callback import WandbMirrorCallback
from tests.metta_sweep.driver.drive import SWEEP
from trainables.result import Costs, FailureKind, Outcome, RunResult, Span

QUIET = {"WANDB_MODE": "disabled"}
COSTS = Costs(train=Span(1.0, 1.0, 0.0))


@dataclass(frozen=True, slots=True)
class OneNode(ClusterNodes):
    """A node without Ray."""

    num_slots: int = 1

    def living(self) -> dict[str, Node]:
        return {"here": Node({"CPU": float(self.num_slots)})}

    def leaving(self) -> frozenset[str]:
        return frozenset()


@contextmanager
def driver_without_ray(registry: Registry, data_dir: Path, *overrides: str, slots: int = 1) -> Iterator[Driver]:
    """Its threads run; nobody asks it for runs but the test."""
    job = load_sweep_job([f"sweep_name={SWEEP}", "sweep=quick", f"data_dir={data_dir}", *overrides], environ=QUIET)
    registry.create_sweep(SWEEP, job.spec_yaml)
    mirror = WandbMirrorCallback(MirrorJob.of(job, QUIET))
    driver = Driver(job, registry, DriverContext(OneNode(num_slots=slots), mirror, Console(file=sys.stdout)))
    driver.begin(time.monotonic())
    driver.open()
    try:
        yield driver
    finally:
        driver.close()


def started(driver: Driver, trial_id: str) -> str:
    """The id of the run that the next trial gets; fails when the sweep is over before."""
    deadline = time.monotonic() + 30.0
    while time.monotonic() < deadline:
        suggestion = driver.search.suggest(trial_id)
        assert suggestion != FINISHED
        if isinstance(suggestion, dict):
            return str(suggestion["run"]["id"])
        time.sleep(0.01)
    raise AssertionError("no run in 30 s")


def ended(driver: Driver, trial_id: str, failure: str | None = None) -> None:
    """The trial's run completed, or failed in this way."""
    outcome, score = (Outcome.FAILED, None) if failure else (Outcome.COMPLETED, 1.0)
    kind = FailureKind(failure) if failure else None
    result = RunResult(outcome, score, COSTS, COSTS, failure=kind, signature=f"{failure}: here")
    driver.search.on_trial_complete(trial_id, answer(result))


def lost_its_workers(driver: Driver, trial_id: str) -> None:
    """What Tune tells then: the result, and an error after it."""
    lost = FailureKind.INFRASTRUCTURE
    result = RunResult(Outcome.INTERRUPTED, None, COSTS, COSTS, failure=lost, message="a worker was lost")
    driver.search.on_trial_result(trial_id, answer(result))
    driver.search.on_trial_complete(trial_id, error=True)


def answer(result: RunResult) -> dict[str, Any]:
    """A result as the trainable tells it."""
    return {"result_json": json.dumps(result.to_dict())}
