"""A sweep in one line for the list of sweeps, read from its events alone: cheap enough for many sweeps."""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass

from metta_sweep.analysis.ending import Ending, last_words
from metta_sweep.analysis.pareto import direction
from metta_sweep.config.registered import read_spec
from metta_sweep.errors import RegistryError, UnreadableSweep
from metta_sweep.registry.codec import decode
from metta_sweep.registry.reader import Reader, readable
from metta_sweep.registry.records import (
    FINAL_STATES,
    NO_REMARK,
    REMARKED,
    EventRecord,
    RemarkRecord,
    RunState,
    SweepRecord,
)

logger = logging.getLogger(__name__)

SPARK_POINTS = 40
CHANGES = frozenset({*RunState, "retry"})  # events that change what a run is at


@dataclass(frozen=True, slots=True)
class SweepSummary:
    """What the list of sweeps says about one.

    Attributes:
        sweep: its row.
        goal: maximize or minimize.
        num_runs: reserved so far.
        num_ended: with a result.
        num_failed: of these.
        best: best score after each result that had one.
        cost_seconds: of all results, in the sweep's cost unit.
        ending: how the work on it ended; None while it goes on.
        owner: who wrote the last event that somebody signed.
        last_at: when something happened last, epoch seconds.
        remark: what people wrote about it.
        unreadable: why nothing more can be said of it; "" when all is well.
    """

    sweep: SweepRecord
    goal: str
    num_runs: int = 0
    num_ended: int = 0
    num_failed: int = 0
    best: tuple[float, ...] = ()
    cost_seconds: float = 0.0
    ending: Ending | None = None
    owner: str = ""
    last_at: float = 0.0
    remark: RemarkRecord = NO_REMARK
    unreadable: str = ""

    @property
    def spark(self) -> list[float]:
        """`best`, thinned evenly to `SPARK_POINTS`."""
        step = max(len(self.best) // SPARK_POINTS, 1)
        return [*self.best[:-1:step], *self.best[-1:]]


class SweepSummaries:
    """A summary of every sweep, kept up to date by reading new events only. Safe to use from any thread."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._events: dict[str, list[EventRecord]] = {}
        self._lock = threading.Lock()

    def read(self, sweeps: list[SweepRecord]) -> list[SweepSummary]:
        """One summary for each sweep.

        Raises:
            RegistryError: the first read of a sweep failed; later ones keep what was read last.
        """
        with self._lock:
            return [self._summary(sweep) for sweep in sweeps]

    def _summary(self, sweep: SweepRecord) -> SweepSummary:
        try:
            with readable(sweep.name):
                return summary(sweep, self._read(sweep.name))
        except UnreadableSweep as error:
            return SweepSummary(sweep, "maximize", last_at=sweep.created_at, unreadable=error.reason)

    def _read(self, name: str) -> list[EventRecord]:
        known = self._events.setdefault(name, [])
        try:
            with readable(name):
                known += self._reader.events(name, after=known[-1].sequence if known else 0)
        except RegistryError as error:
            if not known or isinstance(error, UnreadableSweep):
                raise
            logger.warning("%s: %s; showing what was read before", name, error)
        return known


def is_remark(event: EventRecord) -> bool:
    """Whether it tells of a note or tags on the sweep itself."""
    return event.kind == REMARKED and event.run_id is None


def remark_of(event: EventRecord) -> RemarkRecord:
    return decode(RemarkRecord, {"run_id": "", **event.detail})


def ending_of(events: list[EventRecord]) -> Ending | None:
    """What the last driver said, unless a run was taken up again since."""
    said, is_open = last_words(events), len(open_runs(events)) > 0
    return None if said is None or (said.is_finished and is_open) else said


def open_runs(events: list[EventRecord]) -> set[str | None]:
    """Runs whose last event is not an end."""
    last = {event.run_id: event.kind for event in events if event.kind in CHANGES}
    return {run_id for run_id, kind in last.items() if kind not in FINAL_STATES}


def summary(sweep: SweepRecord, events: list[EventRecord]) -> SweepSummary:
    """Add up a sweep's events."""
    goal = read_spec(sweep.spec_yaml).sweep.goal if sweep.spec_yaml else "maximize"
    sign = direction(goal)
    best: list[float] = []
    endings = [event for event in events if event.kind in FINAL_STATES]
    for event in endings:
        score = event.detail.get("score")
        if score is not None:
            best.append(sign * max(sign * score, sign * best[-1]) if best else score)
    return SweepSummary(
        sweep=sweep,
        goal=goal,
        num_runs=sum(event.kind == RunState.RESERVED for event in events),
        num_ended=len(endings),
        num_failed=sum(event.kind == RunState.FAILED for event in endings),
        best=tuple(best),
        cost_seconds=sum(float(event.detail.get("cost_seconds") or 0.0) for event in endings),
        ending=ending_of(events),
        owner=next((event.by for event in reversed(events) if event.by and event.kind != REMARKED), ""),
        remark=next((remark_of(event) for event in reversed(events) if is_remark(event)), NO_REMARK),
        last_at=events[-1].at if events else sweep.created_at,
    )
