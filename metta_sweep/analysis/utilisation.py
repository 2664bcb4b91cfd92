"""How busy the slots of a sweep were: a pure function over its attempts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from metta_sweep.registry.records import AttemptRecord

# When nothing at all runs for longer than this, the sweep was off; that is nobody's idle time.
OFF_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class SlotUse:
    """One slot while the sweep was on.

    Attributes:
        slot: number from 0; the lowest that is free takes the next attempt.
        nodes: node names of its attempts, sorted.
        attempts: how many it ran.
        busy_seconds: time with an attempt.
        idle_seconds: time without one.
        longest_gap_seconds: longest time between the end of one attempt and the start of the next.
    """

    slot: int
    nodes: tuple[str, ...]
    attempts: int
    busy_seconds: float
    idle_seconds: float
    longest_gap_seconds: float

    @property
    def busy_share(self) -> float:
        total = self.busy_seconds + self.idle_seconds
        return self.busy_seconds / total if total else 0.0


@dataclass(frozen=True, slots=True)
class _Stay:
    """An attempt from start to end, epoch seconds without the time that the sweep was off."""

    start: float
    end: float
    nodes: tuple[str, ...]


def utilisation(attempts: Sequence[AttemptRecord], now: float) -> list[SlotUse]:
    """Busy and idle time of each slot that the sweep used.

    Attempts do not say which slot they ran in; the smallest number of slots that holds them all is what a sweep needs,
    so each attempt goes to the lowest slot that was free when it started.

    Args:
        attempts: of one sweep, in any order.
        now: epoch seconds; the end of attempts that still run.
    """
    stays = without_pauses(attempts, now)
    lanes: list[list[_Stay]] = []
    for stay in stays:
        free = next((lane for lane in lanes if lane[-1].end <= stay.start), None)
        if free is None:
            lanes.append([stay])
        else:
            free.append(stay)
    total = max((stay.end for stay in stays), default=0.0) - min((stay.start for stay in stays), default=0.0)
    return [slot_use(number, lane, total) for number, lane in enumerate(lanes)]


def busy_share(slots: Sequence[SlotUse]) -> float | None:
    """Share of all slots' time that was busy; None without slots."""
    total = sum(slot.busy_seconds + slot.idle_seconds for slot in slots)
    return sum(slot.busy_seconds for slot in slots) / total if total else None


def without_pauses(attempts: Sequence[AttemptRecord], now: float) -> list[_Stay]:
    """Attempts in the order they started, moved together over times when nothing ran for more than `OFF_SECONDS`."""
    stays: list[_Stay] = []
    latest, off = float("inf"), 0.0
    for attempt in sorted(attempts, key=lambda one: (one.started_at, one.run_id, one.number)):
        off += attempt.started_at - latest if attempt.started_at - latest > OFF_SECONDS else 0.0
        end = now if attempt.ended_at is None else attempt.ended_at
        stays.append(_Stay(attempt.started_at - off, end - off, attempt.nodes))
        latest = max(latest, end) if latest < float("inf") else end
    return stays


def slot_use(number: int, lane: Sequence[_Stay], total_seconds: float) -> SlotUse:
    """One slot over the time that the sweep was on."""
    busy = sum(stay.end - stay.start for stay in lane)
    gaps = [after.start - before.end for before, after in pairwise(lane)]
    nodes = tuple(sorted({node for stay in lane for node in stay.nodes}))
    return SlotUse(number, nodes, len(lane), busy, max(total_seconds - busy, 0.0), max(gaps, default=0.0))
