"""Busy and idle time of slots, by hand."""

from __future__ import annotations

from metta_sweep.analysis.utilisation import utilisation
from metta_sweep.registry.records import AttemptRecord


def attempt(run: str, started_at: float, ended_at: float | None, node: str = "a") -> AttemptRecord:
    return AttemptRecord(run, 1, (node,), 1.0, started_at, ended_at, {}, "" if ended_at is None else "completed")


def test_two_slots_of_which_one_waits() -> None:
    first, second = utilisation([attempt("r0", 0, 10), attempt("r1", 0, 4, "b"), attempt("r2", 6, 10, "b")], now=99)
    assert (first.attempts, first.busy_seconds, first.idle_seconds, first.busy_share) == (1, 10, 0, 1.0)
    assert (second.attempts, second.busy_seconds, second.idle_seconds, second.longest_gap_seconds) == (2, 8, 2, 2)
    assert second.busy_share == 0.8
    assert (first.nodes, second.nodes) == (("a",), ("b",))


def test_an_attempt_that_runs_counts_up_to_now() -> None:
    (slot,) = utilisation([attempt("r0", 5, None)], now=8)
    assert (slot.busy_seconds, slot.idle_seconds) == (3, 0)


def test_a_slot_that_came_late_was_idle_before() -> None:
    _, late = utilisation([attempt("r0", 0, 10), attempt("r1", 8, 10)], now=10)
    assert (late.busy_seconds, late.idle_seconds) == (2, 8)


def test_the_order_of_the_attempts_says_nothing() -> None:
    attempts = [attempt("r0", 0, 5), attempt("r1", 0, 3), attempt("r2", 3, 9), attempt("r3", 5, 6)]
    assert utilisation(attempts, now=9) == utilisation(attempts[::-1], now=9)


def test_no_attempt_no_slot() -> None:
    assert utilisation([], now=1) == []


def test_time_when_the_sweep_was_off_is_nobodys_idle_time() -> None:
    night = 8 * 3600.0
    (slot,) = utilisation(
        [attempt("r0", 0, 10), attempt("r1", night, night + 10), attempt("r2", night + 15, night + 20)], now=0
    )
    assert (slot.busy_seconds, slot.idle_seconds, slot.longest_gap_seconds) == (25, 5, 5)
