"""What a driver learns from, without Ray."""

from __future__ import annotations

from pathlib import Path

from metta_sweep.registry.api import Registry
from tests.metta_sweep.driver.drive import SWEEP, wait_for
from tests.metta_sweep.driver.without_ray import driver_without_ray, ended, started

FEW = "settings.max_observations_to_load=2"  # it bounds what comes in from WandB


def known_to(registry: Registry, number: int) -> int:
    """Observations behind the point of a run, 0 before it is reserved."""
    runs = {run.number: run for run in registry.runs(SWEEP)}
    return int(runs[number].explanation["observations"]) if number in runs else 0


def test_a_sweep_learns_from_all_its_runs_also_when_it_is_continued(tmp_path: Path, registry: Registry) -> None:
    with driver_without_ray(registry, tmp_path, FEW, "sweep.num_samples=9") as driver:
        for number in range(4):
            assert started(driver, f"trial {number}") == f"{SWEEP}.r.{number}"
            ended(driver, f"trial {number}")
        wait_for(lambda: known_to(registry, 4) == 4)
    with driver_without_ray(registry, tmp_path, FEW, "sweep.num_samples=9") as driver:
        started(driver, "continued")
        wait_for(lambda: known_to(registry, 5) == 4)
