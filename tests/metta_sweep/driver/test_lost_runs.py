"""A run that is lost is run again by the same driver, without Ray: only the driver's own parts, and a registry."""

from __future__ import annotations

from pathlib import Path

from metta_sweep.registry.api import Registry
from tests.metta_sweep.driver.drive import SWEEP
from tests.metta_sweep.driver.without_ray import driver_without_ray, started


def test_the_last_run_of_a_sweep_comes_back_after_its_node_was_lost(tmp_path: Path, registry: Registry) -> None:
    words = ["sweep.num_samples=1", "settings.infrastructure_retry_delay=0.1"]
    with driver_without_ray(registry, tmp_path, *words) as driver:
        assert started(driver, "first") == f"{SWEEP}.r.0"
        driver.search.on_trial_complete("first", error=True)
        assert started(driver, "second") == f"{SWEEP}.r.0"
