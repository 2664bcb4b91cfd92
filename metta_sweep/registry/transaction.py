"""One write to one sweep: its row is locked until the commit, so that writes to a sweep come one after the other."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, RowMapping, insert, select, update

from metta_sweep.errors import Fenced, IllegalTransition, InvalidRequest, UnknownRun
from metta_sweep.registry.codec import decode, encode
from metta_sweep.registry.lease_clock import Tick
from metta_sweep.registry.records import STOP_EVENTS, JsonObject, Owner, RunState
from metta_sweep.registry.schema import answers, attempts, events, runs, sweeps

Author = Owner | JsonObject | str
COUNTERS = ("next_run", "next_observation", "next_event")


@dataclass(slots=True)
class Transaction:
    """What writes work with. Counters, events and answers are kept here and written down together before the commit.

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
    _next: dict[str, int] = field(init=False)
    _events: list[dict[str, Any]] = field(init=False, default_factory=list)
    _known: dict[str, Mapping[Any, Any]] = field(init=False, default_factory=dict)
    _answers: list[dict[str, Any]] = field(init=False, default_factory=list)

    def __post_init__(self) -> None:
        self._next = {counter: self.before[counter] for counter in COUNTERS}

    @property
    def sweep(self) -> str:
        """Its name."""
        return str(self.before["name"])

    @property
    def next_run(self) -> int:
        """Number of the next run."""
        return self._next["next_run"]

    def take(self, counter: str) -> int:
        """Next value of one of the sweep's counters."""
        self._next[counter] += 1
        return self._next[counter] - 1

    def recall(self, keys: Collection[str]) -> None:
        """Read what these keys were answered."""
        if keys:
            asked = select(answers).where(answers.c.sweep == self.sweep, answers.c.key.in_(keys))
            self._known = {row["key"]: row for row in self.connection.execute(asked).mappings()}

    def answer(self, key: str, method: str) -> list[Any]:
        """What this key was answered, in a list; empty when it is new."""
        if key not in self._known:
            return []
        known = self._known[key]
        if known["method"] != method:
            raise InvalidRequest(f"key={key!r} was used for {known['method']}; a {method} needs its own")
        return [known["answer"]]

    def remember(self, key: str, method: str, answer: object) -> None:
        self._known[key] = {"sweep": self.sweep, "key": key, "method": method, "answer": encode(answer)}
        self._answers.append(dict(self._known[key]))

    def event(self, kind: str, run_id: str | None = None, *, by: Author = "", detail: JsonObject | None = None) -> None:
        """`by` a person, an owner, or one as a row has it."""
        owner = decode(Owner, by) if isinstance(by, Mapping) else by
        author = owner if isinstance(owner, str) else f"{owner.host}:{owner.pid}"
        row = {"sweep": self.sweep, "sequence": self.take("next_event"), "at": self.now, "kind": kind}
        self._events.append({**row, "run_id": run_id, "by": author, "detail": detail or {}})

    def write_down(self) -> None:
        """One statement for all counters, one for all events and one for all answers."""
        if any(self._next[counter] != self.before[counter] for counter in COUNTERS):
            self.connection.execute(update(sweeps).where(sweeps.c.name == self.sweep), self._next)
        for table, rows in ((events, self._events), (answers, self._answers)):
            if rows:
                self.connection.execute(insert(table), rows)

    def was_stopped_since(self, moment: float) -> bool:
        """Whether somebody asked to stop the sweep since then (epoch seconds); by a clock that was set back, nobody."""
        of_sweep = (events.c.sweep == self.sweep, events.c.kind.in_(STOP_EVENTS))
        stops = select(events.c.sequence).where(*of_sweep, events.c.at > moment, events.c.at <= self.now)
        return self.connection.execute(stops.limit(1)).first() is not None

    def run(self, run_id: str) -> RowMapping:
        of_sweep = select(runs).where(runs.c.id == run_id, runs.c.sweep == self.sweep)
        row = self.connection.execute(of_sweep).mappings().one_or_none()
        if row is None:
            raise UnknownRun(f"run {run_id}: sweep {self.sweep} has {self.next_run} runs, numbered from 0")
        return row

    def held_run(self, run_id: str, fence: int, *states: RunState) -> RowMapping:
        """The run, whose fence and state must be these. Raises `Fenced`, `IllegalTransition`."""
        run = self.run(run_id)
        if run["fence"] != fence:
            now = f"the run is at {run['fence']} and somebody else's now"
            raise Fenced(f"run {run_id}: fence {fence} is old, {now}; drop it")
        if run["state"] not in states:
            raise IllegalTransition(f"run {run_id}: is {run['state']}, this needs {' or '.join(states)}")
        return run

    def change_run(self, run_id: str, **values: Any) -> RowMapping:
        """The run after the change."""
        changed = self.connection.execute(update(runs).where(runs.c.id == run_id).values(**values).returning(runs))
        return changed.mappings().one()

    def close_attempt(self, run: RowMapping, *, ended_at: float, costs: JsonObject, exit_reason: str) -> None:
        last = update(attempts).where(attempts.c.run_id == run["id"], attempts.c.number == run["attempts"])
        self.connection.execute(last.values(ended_at=ended_at, costs=costs, exit_reason=exit_reason))
