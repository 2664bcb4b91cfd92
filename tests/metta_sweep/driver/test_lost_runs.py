"""A run that is lost is run again by the same driver, without Ray: only the driver's own parts, and a registry."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from rich.console import Console

from metta_sweep.config import load_sweep_job
from metta_sweep.driver.cluster import ClusterNodes
from metta_sweep.driver.search import FINISHED
from metta_sweep.driver.slots import Node
from metta_sweep.driver.sweep import Driver, Stage
from metta_sweep.registry.api import Registry
from metta_sweep.tracking.job import MirrorJob
from metta_sweep.tracking.mirror_callback import WandbMirrorCallback
from tests.metta_sweep.driver.drive import SWEEP

QUIET = {"WANDB_MODE": "disabled"}


class OneNode(ClusterNodes):
    """A node with one slot, without Ray."""

    def living(self) -> dict[str, Node]:
        return {"here": Node({"CPU": 1.0})}

    def leaving(self) -> frozenset[str]:
        return frozenset()


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


def test_the_last_run_of_a_sweep_comes_back_after_its_node_was_lost(tmp_path: Path, registry: Registry) -> None:
    words = [f"sweep_name={SWEEP}", "sweep=quick", f"data_dir={tmp_path}", "sweep.num_samples=1", "settings.infrastructure_retry_delay=0.1"]
    job = load_sweep_job(words, environ=QUIET)
    registry.create_sweep(SWEEP, job.spec_yaml)
    driver = Driver(job, registry, Stage(OneNode(), WandbMirrorCallback(MirrorJob.of(job, QUIET)), Console(file=sys.stdout)))
    driver.stock.start(driver.clerk.open())
    try:
        assert started(driver, "first") == f"{SWEEP}.r.0"
        driver.search.on_trial_complete("first", error=True)
        assert started(driver, "second") == f"{SWEEP}.r.0"
    finally:
        driver.stock.close()
        driver.clerk.close(driver.search.unfinished)
