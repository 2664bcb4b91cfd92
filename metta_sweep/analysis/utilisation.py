"""Where the time of a sweep's slots went: paid by runs, or idle. One definition for money, `status` and the timeline.

A slot is held while the sweep is on: from its first start to its last end, without times when nothing at all ran for
more than `OFF_SECONDS`. Of that, runs pay what their costs say; the rest is idle. So paid and idle make up what the
slots' nodes cost.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from metta_sweep.analysis.charges import paid_seconds
from metta_sweep.registry.records import AttemptRecord

# When nothing at all runs for longer than this, the sweep was off; that is nobody's idle time.
OFF_SECONDS = 120.0

Interval = tuple[float, float]  # epoch seconds


@dataclass(frozen=True, slots=True)
class Stay:
    """An attempt in its slot.

    Attributes:
        attempt: its record.
        start: epoch seconds; later than it was written down when what ran before paid for longer than it lasted.
        paid_until: its start plus the wall seconds that it is charged for.
        end: when its slot was free again.
    """

    attempt: AttemptRecord
    start: float
    paid_until: float
    end: float


@dataclass(frozen=True, slots=True)
class Slot:
    """One slot with its attempts in their order, and its idle times: between attempts, and inside, beyond their costs.

    Attributes:
        number: from 0.
        stays: what ran in it.
        idle: its idle times.
        longest_gap_seconds: longest time between the end of one attempt and the start of the next.
    """

    number: int
    stays: tuple[Stay, ...]
    idle: tuple[Interval, ...]
    longest_gap_seconds: float

    @property
    def nodes(self) -> tuple[str, ...]:
        """Node names of its attempts, sorted."""
        return tuple(sorted({node for stay in self.stays for node in stay.attempt.nodes}))

    @property
    def num_gpus(self) -> float:
        """What it held: the GPUs of its largest attempt; 0 without GPUs."""
        return max(stay.attempt.num_gpus for stay in self.stays)


@dataclass(frozen=True, slots=True)
class SlotUse:
    """One slot while the sweep was on.

    Attributes:
        slot: number from 0; the lowest that is free, first of those on the same nodes, takes the next attempt.
        nodes: node names of its attempts, sorted.
        num_gpus: that it held; 0 without GPUs.
        attempts: how many it ran.
        busy_seconds: time that its runs paid for.
        idle_seconds: time that no run paid for.
        longest_gap_seconds: longest time between the end of one attempt and the start of the next.
    """

    slot: int
    nodes: tuple[str, ...]
    num_gpus: float
    attempts: int
    busy_seconds: float
    idle_seconds: float
    longest_gap_seconds: float

    @property
    def busy_share(self) -> float:
        total = self.busy_seconds + self.idle_seconds
        return self.busy_seconds / total if total else 0.0


def utilisation(attempts: Sequence[AttemptRecord], now: float) -> list[SlotUse]:
    """Paid and idle time of each slot that the sweep used.

    Args:
        attempts: of one sweep, in any order.
        now: epoch seconds; the end of attempts that still run.
    """
    return [use_of(slot) for slot in slots_of(attempts, now)]


def use_of(slot: Slot) -> SlotUse:
    """A slot's times added up."""
    paid = sum(stay.paid_until - stay.start for stay in slot.stays)
    idle = length(slot.idle)
    return SlotUse(slot.number, slot.nodes, slot.num_gpus, len(slot.stays), paid, idle, slot.longest_gap_seconds)


def busy_share(slots: Sequence[SlotUse]) -> float | None:
    """Share of all slots' time that was busy; None without slots."""
    total = sum(slot.busy_seconds + slot.idle_seconds for slot in slots)
    return sum(slot.busy_seconds for slot in slots) / total if total else None


def idle_seconds(slots: Sequence[SlotUse]) -> float:
    """GPU seconds, or slot seconds without GPUs, that no run paid for."""
    return sum(slot.idle_seconds * (slot.num_gpus or 1.0) for slot in slots)


def slots_of(attempts: Sequence[AttemptRecord], now: float) -> list[Slot]:
    """Every slot with what ran in it.

    Attempts do not say which slot they ran in; the smallest number of slots that holds them all is what a sweep needs.
    """
    lanes = [laid_out(lane, now) for lane in lanes_of(attempts, now)]
    on = times_on(stay for lane in lanes for stay in lane)
    return [Slot(number, lane, idle_in(lane, on), longest_gap(lane, on)) for number, lane in enumerate(lanes)]


def lanes_of(attempts: Sequence[AttemptRecord], now: float) -> list[list[AttemptRecord]]:
    """Attempts by slot: each in the lowest slot that was free when it started, first of those on its own nodes."""
    lanes: list[list[AttemptRecord]] = []
    for attempt in sorted(attempts, key=lambda one: (one.started_at, one.run_id, one.number)):
        free = [lane for lane in lanes if ended(lane[-1], now) <= attempt.started_at]
        same = [lane for lane in free if lane[-1].nodes == attempt.nodes]
        chosen = next(iter([*same, *free]), None)
        if chosen is None:
            lanes.append([attempt])
        else:
            chosen.append(attempt)
    return lanes


def ended(attempt: AttemptRecord, now: float) -> float:
    return now if attempt.ended_at is None else attempt.ended_at


def laid_out(lane: Sequence[AttemptRecord], now: float) -> tuple[Stay, ...]:
    """Attempts of a slot one after the other, each as long as it paid for.

    Starts and ends are by the registry's clock, costs by the run's: where a start was written down late, an attempt
    may have paid for longer than it seems to have lasted.
    """
    stays: list[Stay] = []
    for attempt in lane:
        start = max(attempt.started_at, stays[-1].end if stays else attempt.started_at)
        paid_until = start + paid_seconds(attempt, now)
        stays.append(Stay(attempt, start, paid_until, max(ended(attempt, now), paid_until)))
    return tuple(stays)


def times_on(stays: Iterable[Stay]) -> list[Interval]:
    """When the sweep was on, in order."""
    on: list[Interval] = []
    for stay in sorted(stays, key=lambda one: one.start):
        if on and stay.start - on[-1][1] <= OFF_SECONDS:
            on[-1] = (on[-1][0], max(on[-1][1], stay.end))
        else:
            on.append((stay.start, stay.end))
    return on


def idle_in(lane: Sequence[Stay], on: Sequence[Interval]) -> tuple[Interval, ...]:
    """Times of the sweep that no run of this slot paid for."""
    edges = [on[0][0], *(edge for stay in lane for edge in (stay.start, stay.paid_until)), on[-1][1]]
    gaps = zip(edges[::2], edges[1::2], strict=True)
    return tuple(part for gap in gaps for part in within(gap, on))


def longest_gap(lane: Sequence[Stay], on: Sequence[Interval]) -> float:
    return max((length(within((before.end, after.start), on)) for before, after in pairwise(lane)), default=0.0)


def within(time: Interval, on: Sequence[Interval]) -> list[Interval]:
    """The parts of a time that lie in one of those."""
    cut = [(max(time[0], start), min(time[1], end)) for start, end in on]
    return [(start, end) for start, end in cut if start < end]


def length(times: Iterable[Interval]) -> float:
    return sum(end - start for start, end in times)
