"""A sweep that an earlier version began goes on with this one, without Ray.

`earlier_version/` is what commit 8dccecd left: its driver was killed after four of eight runs, with two under way (the
result of one on disk, undelivered) and one reserved. Only host, process and leases were rewritten.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from metta_sweep.driver.tune import FINISHED
from metta_sweep.registry.open import open_registry
from metta_sweep.registry.records import RunState
from tests.metta_sweep.driver.drive import SWEEP, wait_for
from tests.metta_sweep.driver.without_ray import driver_without_ray, ended, started


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    directory: Path = shutil.copytree(Path(__file__).parent / "earlier_version", tmp_path / "data")
    return directory


def test_what_an_earlier_version_left_is_delivered_resumed_and_finished(data_dir: Path) -> None:
    registry = open_registry(data_dir, None)
    before = {seen.run_id: seen.observation.score for seen in registry.observations(SWEEP)}
    assert len(before) == 4
    with driver_without_ray(registry, data_dir, "sweep.num_samples=8", "resources.max_concurrent_runs=2") as driver:
        assert registry.get_run(f"{SWEEP}.r.4").state is RunState.COMPLETED  # its result was delivered first
        order = []
        for trial in "abc":
            order.append(started(driver, trial))
            ended(driver, trial)
        wait_for(lambda: driver.search.suggest("d") == FINISHED)
    assert order == [f"{SWEEP}.r.{number}" for number in (5, 6, 7)]
    assert [run.attempts for run in registry.runs(SWEEP)] == [1, 1, 1, 1, 1, 2, 1, 1]
    assert {run.state for run in registry.runs(SWEEP)} == {RunState.COMPLETED}
    after = {seen.run_id: seen.observation.score for seen in registry.observations(SWEEP)}
    assert len(after) == 8
    assert before.items() <= after.items()
    registry.close()
