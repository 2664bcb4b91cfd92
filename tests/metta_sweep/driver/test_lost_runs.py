"""A run that is lost is run again by the same driver, without Ray: only the driver's own parts, and a registry."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from metta_sweep.registry.api import Registry
from metta_sweep.registry.client import HttpRegistry
from metta_sweep.registry.store import SqlRegistry
from tests.metta_sweep.driver.drive import SWEEP
from tests.metta_sweep.driver.without_ray import driver_without_ray, ended, started
from tests.metta_sweep.registry.registry_backends import ServiceOfBefore, served


def test_the_last_run_of_a_sweep_comes_back_after_its_node_was_lost(tmp_path: Path, registry: Registry) -> None:
    words = ["sweep.num_samples=1", "settings.infrastructure_retry_delay=0.1"]
    with driver_without_ray(registry, tmp_path, *words) as driver:
        assert started(driver, "first") == f"{SWEEP}.r.0"
        driver.search.on_trial_complete("first", error=True)
        assert started(driver, "second") == f"{SWEEP}.r.0"


def test_with_a_service_that_cannot_requeue_the_last_run_comes_back_too(tmp_path: Path) -> None:
    words = ["sweep.num_samples=1", "settings.infrastructure_retry_delay=0.1"]
    with closing(SqlRegistry(f"sqlite:///{tmp_path}/service.db")) as store, served(store) as url:
        registry = HttpRegistry(url, transport=ServiceOfBefore())
        with closing(registry), driver_without_ray(registry, tmp_path, *words) as driver:
            assert started(driver, "first") == f"{SWEEP}.r.0"
            driver.search.on_trial_complete("first", error=True)
            assert started(driver, "second") == f"{SWEEP}.r.0"
            ended(driver, "second")
        kinds = [event.kind for event in store.events(SWEEP) if event.run_id]
    assert kinds == ["reserved", "started", "interrupted", "claimed", "started", "completed"]
