"""Two drivers, each with a Ray of its own, work on one sweep; one of them is killed."""

from __future__ import annotations

from pathlib import Path

import pytest

from metta_sweep.registry.api import Registry
from metta_sweep.registry.records import RunState
from metta_sweep.registry.store import SqlRegistry
from tests.metta_sweep.driver.audit import (
    assert_no_point_is_a_double,
    assert_nothing_starts_after_its_end,
    assert_numbers_have_no_gaps,
)
from tests.metta_sweep.driver.drive import SWEEP, Instant, kill_everything, start_driver, wait_for
from tests.metta_sweep.registry.registry_backends import served

NUM_RUNS = 40


def finishers(registry: Registry) -> dict[str, str]:
    """`host:pid` of the driver that told each run's result."""
    return {str(event.run_id): event.by for event in registry.events(SWEEP) if event.kind == "completed"}


@pytest.mark.ray
@pytest.mark.long
@pytest.mark.timeout(900)
def test_two_drivers_share_a_sweep_and_one_finishes_it_when_the_other_is_killed(
    tmp_path: Path, instant: Instant
) -> None:
    instant(sleep_seconds=2.0)
    store = SqlRegistry(f"sqlite:///{tmp_path}/service.db")
    store.create_sweep(SWEEP, "")
    with served(store) as url:
        words = (f"sweep.num_samples={NUM_RUNS}", f"settings.sweep_server_uri={url}")
        first, second = (start_driver(tmp_path, *words) for _ in range(2))
        wait_for(lambda: len(set(finishers(store).values())) == 2 and len(finishers(store)) >= 12, seconds=300)
        kill_everything(first)
        before = finishers(store)
        assert second.wait(timeout=600) == 0
    runs, observations = store.runs(SWEEP), store.observations(SWEEP)
    assert_numbers_have_no_gaps(runs, observations, NUM_RUNS)
    assert {run.state for run in runs} == {RunState.COMPLETED}
    assert_no_point_is_a_double(runs)
    survivor = {by for run_id, by in finishers(store).items() if run_id not in before}
    assert survivor == {by for by in before.values() if by.endswith(f":{second.pid}")}
    assert_nothing_starts_after_its_end(store, SWEEP)
    assert_each_learnt_from_the_other(store, before)


def assert_each_learnt_from_the_other(registry: Registry, finished_by: dict[str, str]) -> None:
    """While both lived, each proposed points that knew results which the other had told."""
    told = [(seen.sequence, finished_by.get(seen.run_id)) for seen in registry.observations(SWEEP)]
    for driver in set(finished_by.values()):
        cursors = [
            event.detail["cursor"]
            for event in registry.events(SWEEP)
            if event.kind in ("reserved", "replaced") and event.by == driver
        ]
        others = [sequence for sequence, by in told if by not in (driver, None)]
        assert max(cursors) >= min(others), driver
