"""One write to one sweep: its row is locked until the commit, so that all writes to a sweep happen one after the
other.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Column, Connection, RowMapping, insert, select, update

from metta_sweep.errors import Fenced, IllegalTransition, InvalidRequest, UnknownRun
from metta_sweep.registry.codec import encode
from metta_sweep.registry.lease_clock import Tick
from metta_sweep.registry.names import check_key
from metta_sweep.registry.records import STOP_EVENTS, JsonObject, Owner, RunState
from metta_sweep.registry.schema import answers, attempts, events, runs, sweeps


@dataclass(frozen=True, slots=True)
class Transaction:
    """What a write works with.

    Attributes:
        connection: inside its transaction.
        before: row of the locked sweep, as it was at the lock.
        now: epoch seconds by the registry's clock.
        tick: the same moment by the clock that leases go by.
    """

    connection: Connection
    before: RowMapping
    now: float
    tick: Tick

    @property
    def sweep(self) -> str:
        """Its name."""
        return str(self.before["name"])

    def take(self, counter: Column[int]) -> int:
        """Next value of one of the sweep's counters."""
        taken = self.connection.execute(
            update(sweeps).where(sweeps.c.name == self.sweep).values({counter: counter + 1}).returning(counter)
        )
        return int(taken.scalar_one()) - 1

    def answer(self, key: str, method: str) -> list[Any]:
        """What this key was answered, in a list; empty when it is new."""
        check_key(key)
        row = (
            self.connection.execute(select(answers).where(answers.c.sweep == self.sweep, answers.c.key == key))
            .mappings()
            .one_or_none()
        )
        if row is None:
            return []
        if row["method"] != method:
            raise InvalidRequest(f"key={key!r} was used for {row['method']}; a {method} needs its own")
        return [row["answer"]]

    def remember(self, key: str, method: str, answer: object) -> None:
        self.connection.execute(insert(answers).values(sweep=self.sweep, key=key, method=method, answer=encode(answer)))

    def event(
        self, kind: str, run_id: str | None = None, *, by: Owner | str = "", detail: JsonObject | None = None
    ) -> None:
        author = by if isinstance(by, str) else f"{by.host}:{by.pid}"
        sequence = self.take(sweeps.c.next_event)
        self.connection.execute(
            insert(events).values(
                sweep=self.sweep,
                sequence=sequence,
                at=self.now,
                kind=kind,
                run_id=run_id,
                by=author,
                detail=detail or {},
            )
        )

    def was_stopped_since(self, moment: float) -> bool:
        """Whether somebody asked the sweep's drivers to stop since then (epoch seconds); by a clock that was set back,
        nobody did.
        """
        of_sweep = (events.c.sweep == self.sweep, events.c.kind.in_(STOP_EVENTS))
        stops = select(events.c.sequence).where(*of_sweep, events.c.at > moment, events.c.at <= self.now)
        return self.connection.execute(stops.limit(1)).first() is not None

    def run(self, run_id: str) -> RowMapping:
        row = (
            self.connection.execute(select(runs).where(runs.c.id == run_id, runs.c.sweep == self.sweep))
            .mappings()
            .one_or_none()
        )
        if row is None:
            raise UnknownRun(f"run {run_id}: sweep {self.sweep} has {self.before['next_run']} runs, numbered from 0")
        return row

    def held_run(self, run_id: str, fence: int, *states: RunState) -> RowMapping:
        """The run, whose fence and state must be these. Raises `Fenced`, `IllegalTransition`."""
        run = self.run(run_id)
        if run["fence"] != fence:
            raise Fenced(
                f"run {run_id}: fence {fence} is old, the run is at {run['fence']} and somebody else's now; drop it"
            )
        if run["state"] not in states:
            raise IllegalTransition(f"run {run_id}: is {run['state']}, this needs {' or '.join(states)}")
        return run

    def change_run(self, run_id: str, **values: Any) -> RowMapping:
        """The run after the change."""
        changed = self.connection.execute(update(runs).where(runs.c.id == run_id).values(**values).returning(runs))
        return changed.mappings().one()

    def close_attempt(self, run: RowMapping, *, ended_at: float, costs: JsonObject, exit_reason: str) -> None:
        self.connection.execute(
            update(attempts)
            .where(attempts.c.run_id == run["id"], attempts.c.number == run["attempts"])
            .values(ended_at=ended_at, costs=costs, exit_reason=exit_reason)
        )
