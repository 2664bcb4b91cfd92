"""What is kept of runs that have ended: sums of all, the newest one by one."""

from __future__ import annotations

import pytest

from metta_sweep.driver.messages import LiveRun
from metta_sweep.driver.past import PastRuns
from metta_sweep.driver.runs import finished
from metta_sweep.registry.records import RunState
from tests.metta_sweep.driver.world import Row
from trainables.result import Costs, RunResult, Span


def ended(number: int, seconds: float = 10.0, state: RunState = RunState.COMPLETED) -> LiveRun:
    costs = Costs(train=Span(seconds, seconds, 0.0))
    result = finished(RunResult("completed", 1.0, costs, costs, env_steps=1), "cpu_seconds")
    return LiveRun(Row(number).record, state, float(number), result=result)


def test_sums_are_of_all_runs_and_rows_of_the_newest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("metta_sweep.driver.past.NUM_NEWEST", 2)
    past = PastRuns.of([ended(0), ended(1, state=RunState.FAILED), ended(2), ended(3, seconds=20.0)])
    assert [run.record.number for run in past.shown] == [2, 3]
    assert past.counts == {"completed": 3, "failed": 1}
    assert past.spent.wall_seconds == 50.0
    assert past.seconds_per_run("") == 12.5


def test_a_run_that_goes_on_is_no_longer_past() -> None:
    past = PastRuns.of([ended(0, state=RunState.INTERRUPTED), ended(1)]).minus("s.r.0")
    assert [run.record.number for run in past.shown] == [1]
    assert past.spent.wall_seconds == 10.0


def test_a_failed_run_that_is_tried_again_is_counted_by_its_next_end_and_paid_twice() -> None:
    again = PastRuns.of([ended(0, state=RunState.FAILED)]).minus("s.r.0")
    assert again.shown == ()
    assert again.plus(ended(0)).counts == {"failed": 0, "completed": 1}
    assert again.plus(ended(0)).spent.wall_seconds == 20.0
