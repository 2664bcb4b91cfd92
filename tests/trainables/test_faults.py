"""Fault points do nothing until a plan says so, and then exactly what it says."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from trainables import faults


@pytest.fixture(autouse=True)
def _switched_off_again() -> Iterator[None]:
    yield
    faults.activate("")


def test_without_a_plan_nothing_happens_and_nothing_is_counted() -> None:
    plan = faults.activate("")
    faults.point("anything")
    assert plan.reached == {}
    assert abs(faults.now() - time.time()) < 1


def test_a_fault_happens_from_its_first_to_its_last_time() -> None:
    faults.activate("a:disk_full@2-3")
    happened = []
    for _ in range(4):
        try:
            faults.point("a")
            happened.append(False)
        except OSError:
            happened.append(True)
        faults.point("b")
    assert happened == [False, True, True, False]


def test_the_clock_jumps_and_stays_there() -> None:
    faults.activate("clock:jump=3600@2")
    first, second, third = faults.now(), faults.now(), faults.now()
    assert 3599 < second - first < 3610
    assert third - second < 10


def test_a_plan_counts_each_point_apart_and_jumps_add_up() -> None:
    plan = faults.FaultPlan(faults.parse("a:jump=5@1-2, b:jump=-1@2"))
    for point in ("a", "b", "a", "a", "b"):
        plan.reach(point)
    assert plan.reached == {"a": 3, "b": 2}
    assert plan.jumped_seconds == 9.0


def test_a_crash_is_a_kill_and_the_plan_may_come_from_the_environment() -> None:
    code = (
        "from trainables import faults; faults.point('a'); print('once', flush=True); faults.point('a'); print('twice')"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], env={"METTA_SWEEP_FAULTS": "a:crash@2"}, capture_output=True, text=True
    )
    assert (result.returncode, result.stdout) == (-9, "once\n")


@pytest.mark.parametrize("text", ["a", "a:explode@1", "a:crash", "a:crash@x", "A b:crash@1"])
def test_what_is_no_plan_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="need point:crash"):
        faults.activate(text)
