"""What others ask of a sweep while a driver of it runs, without Ray."""

from __future__ import annotations

import time
from pathlib import Path

from metta_sweep.registry.api import Registry
from metta_sweep.registry.records import SweepState
from tests.metta_sweep.driver.drive import SWEEP, wait_for
from tests.metta_sweep.driver.without_ray import driver_without_ray, started


def test_a_driver_takes_no_new_runs_once_the_specification_is_another(tmp_path: Path, registry: Registry) -> None:
    with driver_without_ray(registry, tmp_path, "sweep.num_samples=9") as driver:
        started(driver, "first")
        changed = registry.get_sweep(SWEEP).spec_yaml + "# changed\n"
        registry.create_sweep(SWEEP, changed, update=True)
        wait_for(lambda: driver.machine.state.stop.reason is not None, seconds=20)
        assert driver.machine.state.stop.reason is not None
        assert "`run --update` changed the sweep's specification" in driver.machine.state.stop.reason.reason
        assert not driver.machine.state.stop.now


def test_a_driver_that_was_asked_for_before_a_stop_does_not_begin(tmp_path: Path, registry: Registry) -> None:
    with driver_without_ray(registry, tmp_path, "sweep.num_samples=9") as driver:
        begun = time.monotonic()
        registry.set_sweep_state(SWEEP, SweepState.STOPPED, by="stop", reason="")
        assert not driver.begin(begun)
        assert registry.get_sweep(SWEEP).state is SweepState.STOPPED
        assert driver.begin(time.monotonic())
