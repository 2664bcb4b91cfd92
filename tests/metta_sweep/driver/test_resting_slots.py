"""A failed run keeps its own slot waiting, and nobody else's; without Ray."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from metta_sweep.driver.tune import FINISHED
from metta_sweep.registry.api import Registry
from tests.metta_sweep.driver.drive import SWEEP, wait_for
from tests.metta_sweep.driver.without_ray import driver_without_ray, ended, lost_its_workers, started

LONG = "settings.rollout_retry_delay=1000"
LOST_FOR_LONG = "settings.infrastructure_retry_delay=1000"


@pytest.mark.parametrize("failure", ["hyperparameters", "code"])
def test_a_failure_delays_its_own_slot_only(failure: str, tmp_path: Path, registry: Registry) -> None:
    with driver_without_ray(registry, tmp_path, LONG, "sweep.num_samples=9", slots=2) as driver:
        assert [started(driver, "a"), started(driver, "b")] == [f"{SWEEP}.r.0", f"{SWEEP}.r.1"]
        ended(driver, "a", failure)
        ended(driver, "b")
        assert started(driver, "c") == f"{SWEEP}.r.2"  # in the slot of b
        assert driver.search.suggest("d") is None  # the slot of a rests
        ended(driver, "c")
        assert started(driver, "e") == f"{SWEEP}.r.3"


def test_a_lost_run_waits_itself_and_its_slot_goes_on(tmp_path: Path, registry: Registry) -> None:
    with driver_without_ray(registry, tmp_path, LONG, LOST_FOR_LONG, "sweep.num_samples=9") as driver:
        assert started(driver, "a") == f"{SWEEP}.r.0"
        lost_its_workers(driver, "a")
        assert started(driver, "b") == f"{SWEEP}.r.1"


def test_the_loop_does_not_wait_for_lost_runs_whose_time_has_not_come(tmp_path: Path, registry: Registry) -> None:
    with driver_without_ray(registry, tmp_path, LOST_FOR_LONG, "sweep.num_samples=9") as driver:
        for trial_id in ("a", "b"):
            started(driver, trial_id)
            driver.search.on_trial_complete(trial_id, error=True)
        wait_for(lambda: len(driver.machine.state.ready) == 2)
        asked = time.monotonic()
        assert [driver.search.suggest("c") for _ in range(30)] == [None] * 30  # each waited a second
        assert time.monotonic() - asked < 15.0


def test_a_sweep_whose_last_run_failed_ends_without_the_rest_of_its_slot(tmp_path: Path, registry: Registry) -> None:
    with driver_without_ray(registry, tmp_path, LONG, "sweep.num_samples=1") as driver:
        started(driver, "a")
        ended(driver, "a", "hyperparameters")
        wait_for(lambda: driver.search.suggest("b") == FINISHED)
