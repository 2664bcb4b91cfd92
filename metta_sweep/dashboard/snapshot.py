"""One sweep at one moment: what all figures are drawn from. A feed keeps it up to date by reading only what is new."""

from __future__ import annotations

import dataclasses
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from metta_sweep.analysis.ending import Ending, ending, last_words
from metta_sweep.analysis.frame import build
from metta_sweep.analysis.overview import last_start, reported_budget
from metta_sweep.config.job import Budget, SweepSpec
from metta_sweep.config.registered import read_spec
from metta_sweep.registry.owner import is_dead
from metta_sweep.registry.reader import Reader, readable
from metta_sweep.registry.records import (
    REMARKED,
    AttemptRecord,
    EventRecord,
    ObservationRecord,
    RemarkRecord,
    RunRecord,
    RunState,
    SweepRecord,
)
from metta_sweep.typed_commands import NO_ADDRESS, Address

CURVE_COLUMNS = ("id", "env_steps", "seconds", "score")
# Reading single runs beats reading all of them until about this many changed.
MAX_SINGLE_READS = 50
# Drivers give a sign of life every half minute; after this long without one nobody works on the run.
SILENT_SECONDS = 300.0


@dataclass(frozen=True, slots=True)
class Changes:
    """What changed when, for who has an older snapshot of the same feed.

    Attributes:
        feed: which one; another one counts anew.
        revision: how often it has read.
        by_run: the revision with which each run changed last.
    """

    feed: str
    revision: int
    by_run: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A sweep as it was read.

    Attributes:
        sweep: its row in the registry.
        spec: what is searched; None for an imported sweep that brought no specification.
        runs: frame of `metta_sweep.analysis.frame`, newest `max_observations` results and everything unfinished.
        all_runs: the same without the limit: money is counted over these.
        curves: learning-curve points, columns `CURVE_COLUMNS`, by run and step; `seconds` in the sweep's cost unit.
        records: run records by id.
        attempts: by run and number.
        budget: what the driver or the user said; all None when unknown.
        started: what the driver that started last reported of itself; empty before one did.
        ending: how the work on it ended; None while somebody may be at it.
        version: changes whenever anything above does.
        read_at: epoch seconds.
        address: how printed commands find the sweep.
        changes: which runs are new since an older one.
        remarks: what people wrote, by run id; about the sweep itself under "".
    """

    sweep: SweepRecord
    spec: SweepSpec | None
    runs: pd.DataFrame
    all_runs: pd.DataFrame
    curves: pd.DataFrame
    records: Mapping[str, RunRecord]
    attempts: tuple[AttemptRecord, ...]
    budget: Budget
    started: Mapping[str, Any]
    ending: Ending | None
    version: str
    read_at: float
    address: Address = NO_ADDRESS
    changes: Changes = Changes("", 0, {})
    remarks: Mapping[str, RemarkRecord] = field(default_factory=dict)

    def attempts_until(self, now: float) -> tuple[AttemptRecord, ...]:
        """All attempts; one whose run was silent for `SILENT_SECONDS` counts as ended with its last sign of life."""
        return tuple(self._closed(attempt, now) for attempt in self.attempts)

    def _closed(self, attempt: AttemptRecord, now: float) -> AttemptRecord:
        seen_at = self.records[attempt.run_id].seen_at if attempt.run_id in self.records else now
        if attempt.ended_at is not None or now - seen_at < SILENT_SECONDS:
            return attempt
        return dataclasses.replace(attempt, ended_at=max(seen_at, attempt.started_at), exit_reason="silent")

    @property
    def num_runs_left(self) -> int | None:
        """Runs that `sweep.num_samples` leaves to reserve; None without such a limit."""
        limit = (self.started.get("rules") or {}).get("sweep.num_samples")
        return None if limit is None else max(int(limit) - len(self.all_runs), 0)

    @property
    def goal(self) -> str:
        return self.spec.goal if self.spec is not None else "maximize"

    @property
    def metric(self) -> str:
        return self.spec.metric if self.spec is not None else "score"


@dataclass(frozen=True, slots=True)
class FeedOptions:
    """What the user chose.

    Attributes:
        budget: caps and price; fields that are None are taken from what the driver wrote.
        max_observations: newest results to show; None = all.
        address: how the commands on the page find the sweep.
    """

    budget: Budget = field(default_factory=Budget)
    max_observations: int | None = None
    address: Address = NO_ADDRESS


class Feed:
    """Reads one sweep and keeps what it read; not safe to share between threads."""

    def __init__(self, reader: Reader, sweep: str, options: FeedOptions) -> None:
        self._reader = reader
        self._sweep = sweep
        self._options = options
        self._cursor = 0
        self._started: Mapping[str, Any] = {}
        self._said: Ending | None = None
        self._records: dict[str, RunRecord] = {}
        self._observations: dict[str, ObservationRecord] = {}
        self._last_observation = 0
        self._curves = _curve_frame({})
        self._live: dict[str, Sequence[Mapping[str, Any]]] = {}
        self._live_points = -1
        self._snapshot: Snapshot | None = None
        self._remarks: Mapping[str, RemarkRecord] = {}
        self._changes = Changes(uuid.uuid4().hex[:8], 0, {})

    def refresh(self) -> Snapshot:
        """The sweep now; the very same object when nothing changed.

        Raises:
            UnknownSweep: no sweep of this name.
            UnreadableSweep: its records make no sense.
            RegistryUnavailable: cannot be reached now.
        """
        with readable(self._sweep):
            return self._refresh()

    def _refresh(self) -> Snapshot:
        events = self._reader.events(self._sweep, after=self._cursor)
        if self._snapshot is not None and not events and self._read_live_curves() == self._live_points:
            return self._snapshot
        sweep = self._reader.get_sweep(self._sweep)
        before = self._records
        self._read_runs(events)
        self._read_observations(events)
        if self._snapshot is None or any(event.kind == REMARKED for event in events):
            self._remarks = {one.run_id: one for one in self._reader.remarks(self._sweep)}
        self._note_changes(events, before)
        self._started, self._said = last_start(events) or self._started, last_words(events, self._said)
        self._cursor = events[-1].sequence if events else self._cursor
        self._live_points = self._read_live_curves()
        self._snapshot = self._build(sweep)
        return self._snapshot

    def _note_changes(self, events: Sequence[EventRecord], before: Mapping[str, RunRecord]) -> None:
        """Events tell of each run that changed; one that was read with another's news has changed as well."""
        told = {event.run_id for event in events if event.run_id is not None}
        told |= {run_id for run_id, run in self._records.items() if before.get(run_id) is not run}
        revision = self._changes.revision + 1
        by_run = {**self._changes.by_run, **dict.fromkeys(told & self._records.keys(), revision)}
        self._changes = Changes(self._changes.feed, revision, by_run)

    def _read_runs(self, events: Sequence[EventRecord]) -> None:
        changed = {event.run_id for event in events if event.run_id is not None}
        if self._snapshot is None or len(changed) > MAX_SINGLE_READS:
            self._records = {run.id: run for run in self._reader.runs(self._sweep)}
        else:
            self._records |= {run_id: self._reader.get_run(run_id) for run_id in changed}

    def _read_observations(self, events: Sequence[EventRecord]) -> None:
        for event in events:
            if event.kind == "retry" and event.run_id is not None:
                self._observations.pop(event.run_id, None)  # withdrawn; a new one may follow below
                self._curves = self._curves[self._curves["id"] != event.run_id]
        new = self._reader.observations(self._sweep, after=self._last_observation)
        self._observations |= {record.run_id: record for record in new}
        # A run may have ended since its record was read: its score and its state belong together.
        ended = {run_id for run_id, run in self._records.items() if run.state.is_final}
        late = [record.run_id for record in new if record.run_id not in ended]
        self._records |= {run_id: self._reader.get_run(run_id) for run_id in late}
        self._last_observation = new[-1].sequence if new else self._last_observation
        curves = _curve_frame({record.run_id: record.observation.curve for record in new})
        self._curves = pd.concat([self._curves, curves], ignore_index=True)

    def _read_live_curves(self) -> int:
        """Curves of running runs, whose points come without an event. Returns how many points they have."""
        running = [run.id for run in self._records.values() if run.state is RunState.RUNNING]
        self._live = {run_id: self._reader.curve(run_id) for run_id in running}
        return sum(map(len, self._live.values()))

    def _build(self, sweep: SweepRecord) -> Snapshot:
        budget = self._budget()
        attempts = self._reader.attempts(self._sweep)
        found = (list(self._records.values()), list(self._observations.values()), attempts)
        all_runs = build(*found, list(self._remarks.values()), hourly_cost=budget.hourly_cost)
        return Snapshot(
            sweep=sweep,
            spec=read_spec(sweep.spec_yaml).sweep if sweep.spec_yaml else None,
            runs=newest(all_runs, self._options.max_observations),
            all_runs=all_runs,
            curves=pd.concat([self._curves, _curve_frame(self._live)], ignore_index=True),
            records=dict(self._records),
            attempts=tuple(attempts),
            budget=budget,
            started=self._started,
            ending=self._ending(),
            version=f"{self._cursor}.{self._live_points}",
            read_at=time.time(),
            address=self._options.address,
            changes=self._changes,
            remarks=self._remarks,
        )

    def _ending(self) -> Ending | None:
        """None while another driver may be at work; leases are not asked, for they are extended without an event."""
        runs = self._records.values()
        if any(run.owner is not None and not is_dead(run.owner) for run in runs):
            return None
        return ending(self._said, self._started.get("rules", {}), runs)

    def _budget(self) -> Budget:
        """The user's words first, then what the driver wrote."""
        asked = {name: value for name, value in dataclasses.asdict(self._options.budget).items() if value is not None}
        return dataclasses.replace(reported_budget(self._started), **asked)


def newest(runs: pd.DataFrame, limit: int | None) -> pd.DataFrame:
    """The newest `limit` results, and every run that has none yet."""
    if limit is None or (runs["sequence"] > 0).sum() <= limit:
        return runs
    oldest = runs["sequence"].nlargest(limit).min() if limit else float("inf")
    return runs[(runs["sequence"] == 0) | (runs["sequence"] >= oldest)]


def _curve_frame(curves: Mapping[str, Sequence[Mapping[str, Any]]]) -> pd.DataFrame:
    """Curves by run id as one frame with the columns `CURVE_COLUMNS`."""
    points = [
        (run_id, point["env_steps"], point.get("seconds"), point.get("score"))
        for run_id, curve in curves.items()
        for point in curve
    ]
    types = {name: "object" if name == "id" else "float64" for name in CURVE_COLUMNS}
    return pd.DataFrame(points, columns=list(CURVE_COLUMNS)).astype(types)
