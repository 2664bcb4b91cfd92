"""What others ask of a sweep while a driver of it runs, without Ray."""

from __future__ import annotations

from pathlib import Path

from metta_sweep.registry.api import Registry
from tests.metta_sweep.driver.drive import SWEEP, wait_for
from tests.metta_sweep.driver.without_ray import driver_without_ray, started


def test_a_driver_takes_no_new_runs_once_the_specification_is_another(tmp_path: Path, registry: Registry) -> None:
    with driver_without_ray(registry, tmp_path, "sweep.num_samples=9") as driver:
        started(driver, "first")
        changed = registry.get_sweep(SWEEP).spec_yaml + "# changed\n"
        registry.create_sweep(SWEEP, changed, update=True)
        wait_for(lambda: driver.control.draining is not None, seconds=20)
        assert driver.control.draining is not None
        assert "`run --update` changed the sweep's specification" in driver.control.draining.reason
        assert not driver.control.stop_now
