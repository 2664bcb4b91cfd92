"""Which failures end a sweep."""

from __future__ import annotations

import pytest

from metta_sweep.driver.rules import FailureCount, retry_seconds


def test_the_limit_counts_failures_in_a_row() -> None:
    count = FailureCount(limit=2).after_failure("hyperparameters", "oom").after_failure("hyperparameters", "nan")
    assert count.verdict() is None  # the limit is reached, and must be exceeded
    assert count.after_success().after_failure("hyperparameters", "oom").verdict() is None
    exceeded = count.after_failure("code", "here").verdict()
    assert "3 runs failed in a row (settings.max_consecutive_failures=2)" in str(exceeded)


@pytest.mark.parametrize("kind", ["hyperparameters", "code"])
def test_zero_goes_on_whatever_fails(kind: str) -> None:
    count = FailureCount(limit=0)
    for _ in range(100):
        count = count.after_failure(kind, "KeyError train.py:7")
        assert count.verdict() is None


def test_lost_runs_have_a_counter_of_their_own() -> None:
    count = FailureCount(limit=1, lost_limit=10)
    for _ in range(10):
        count = count.after_failure("infrastructure", "")
    assert count.verdict() is None
    assert count.after_success().after_failure("infrastructure", "").verdict() is None
    assert "settings.max_infrastructure_failures=10" in str(count.after_failure("infrastructure", "").verdict())


def test_a_lost_run_waits_twice_as_long_each_time_up_to_a_minute() -> None:
    assert [retry_seconds(1.0, losses) for losses in (1, 2, 3, 6, 7, 20)] == [1.0, 2.0, 4.0, 32.0, 60.0, 60.0]


def test_the_first_runs_failing_in_the_same_place_show_broken_code_at_once() -> None:
    place = "KeyError train.py:7"
    count = FailureCount(limit=3).after_failure("code", place).after_failure("code", place)
    assert place in str(count.verdict())


def test_different_places_or_an_earlier_success_do_not() -> None:
    different = FailureCount(limit=9).after_failure("code", "KeyError a.py:1").after_failure("code", "OSError b.py:2")
    assert different.verdict() is None
    later = FailureCount(limit=9).after_success()
    for _ in range(5):
        later = later.after_failure("code", "KeyError a.py:1")
    assert later.verdict() is None
