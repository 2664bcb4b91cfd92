"""A sweep's money and time as the cards, the timeline and the report tell them: the figures of `status`."""

from __future__ import annotations

import time

from metta_sweep.analysis.money import Money, bill_text, money
from metta_sweep.analysis.overview import in_slots, ran_here
from metta_sweep.analysis.utilisation import utilisation
from metta_sweep.dashboard.figures import theme
from metta_sweep.dashboard.snapshot import Snapshot
from metta_sweep.registry.records import AttemptRecord


def wealth_of(snapshot: Snapshot) -> Money:
    """The sweep's money, as `status` tells it: no time passes for a sweep that is over."""
    now = time.time()
    attempts = snapshot.attempts_until(now)
    ends = [attempt.ended_at for attempt in attempts if attempt.ended_at is not None]
    now = max(ends) if snapshot.ending is not None and ends else now
    runs, slots = in_slots(snapshot.all_runs, snapshot.started), utilisation(ran_here(attempts, snapshot.records), now)
    return money(runs, attempts, snapshot.budget, slots, created_at=snapshot.sweep.created_at, now=now)


def attempts_here(snapshot: Snapshot) -> list[AttemptRecord]:
    """What the timeline is drawn from."""
    return ran_here(snapshot.attempts_until(snapshot.read_at), snapshot.records)


def bill_of(wealth: Money) -> str:
    """What the slots cost, of that for runs, and idle; in dollars where the price is known, and in time."""
    return "; ".join(text[0].upper() + text[1:] for text in bill_text(wealth.amounts, shown))


def shown(value: float, unit: str) -> str:
    """A value of an `Amount` in words."""
    return theme.dollars(value) if unit == "$" else theme.seconds(value * 3600)
