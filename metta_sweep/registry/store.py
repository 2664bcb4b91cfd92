"""The registry in a database: SQLite in process, PostgreSQL or SQLite behind the service."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any, Concatenate, ParamSpec, TypeVar, cast, get_type_hints

from sqlalchemy import URL, Connection, select

from metta_sweep.registry import queries, writes
from metta_sweep.registry.codec import decode
from metta_sweep.registry.database import open_engine, parse_url
from metta_sweep.registry.lease_clock import Tick, tick
from metta_sweep.registry.migrate import prepare
from metta_sweep.registry.names import check_sweep_name, sweep_of
from metta_sweep.registry.owner import is_dead
from metta_sweep.registry.records import (
    AttemptRecord,
    EventRecord,
    JsonObject,
    NewObservation,
    ObservationRecord,
    Owner,
    Reservation,
    RunRecord,
    RunState,
    SweepRecord,
    SweepState,
)
from metta_sweep.registry.schema import sweeps
from metta_sweep.registry.specs import check_spec
from metta_sweep.registry.transaction import Transaction
from metta_sweep.registry.trouble import translated_errors
from trainables import faults

log = logging.getLogger(__name__)
P = ParamSpec("P")
T = TypeVar("T")


class SqlRegistry:
    """The `Registry` protocol over SQLAlchemy; safe to share between threads, and a database between processes.

    Args:
        url: `sqlite:////absolute/file.db` or `postgresql+psycopg://user@host/database`. The schema is made or upgraded.
        clock: epoch seconds.
        ticks: what leases go by; the clock where that is a test's, else this machine's monotonic clock.

    Raises:
        RegistryError: the database cannot be used.
        RegistryUnavailable: it cannot be reached now; every method raises this, too.
    """

    def __init__(
        self, url: str | URL, clock: Callable[[], float] = faults.now, ticks: Callable[[], Tick] | None = None
    ) -> None:
        self._url = parse_url(url)
        with translated_errors(self._url):
            self.engine = open_engine(self._url)
            prepare(self.engine)
        self._clock = clock
        self._ticks = ticks or (tick if clock is faults.now else lambda: Tick("", clock()))
        # SQLite has one writer; threads that queue here wait less than threads that poll its file lock.
        self._writing: contextlib.AbstractContextManager[Any] = (
            threading.Lock() if self.engine.dialect.name == "sqlite" else contextlib.nullcontext()
        )

    def close(self) -> None:
        self.engine.dispose()

    @contextlib.contextmanager
    def _reading(self) -> Iterator[Connection]:
        with translated_errors(self._url), self.engine.connect() as connection:
            yield connection

    @contextlib.contextmanager
    def _writable(self) -> Iterator[Connection]:
        with (
            translated_errors(self._url),
            self._writing,
            self.engine.connect().execution_options(is_write=True) as connection,
            connection.begin(),
        ):
            yield connection
            faults.point("registry.commit")
        faults.point("registry.committed")

    @contextlib.contextmanager
    def _changing(self, sweep: str) -> Iterator[Transaction]:
        with self._writable() as connection:
            yield self._lock(connection, sweep)

    def _lock(self, connection: Connection, sweep: str) -> Transaction:
        """Hold the sweep's row until the commit (PostgreSQL; SQLite's writer holds all)."""
        row = (
            connection.execute(select(sweeps).where(sweeps.c.name == sweep).with_for_update()).mappings().one_or_none()
        )
        if row is None:
            raise queries.unknown_sweep(connection, sweep)
        return Transaction(connection, row, self._clock(), self._ticks())

    def _once(
        self, sweep: str, key: str, write: Callable[Concatenate[Transaction, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Do the write, or give the answer that its key was given before."""
        with self._changing(sweep) as tx:
            for answer in tx.answer(key, write.__name__):
                return cast("T", decode(get_type_hints(write)["return"], answer))
            result = write(tx, *args, **kwargs)
            tx.remember(key, write.__name__, result)
            return result

    def create_sweep(
        self,
        name: str,
        spec_yaml: str,
        *,
        wandb_entity: str = "",
        wandb_project: str = "",
        wandb_sweep_id: str = "",
        update: bool = False,
    ) -> SweepRecord:
        wandb = {"wandb_entity": wandb_entity, "wandb_project": wandb_project, "wandb_sweep_id": wandb_sweep_id}
        return self.register_sweep(name, spec_yaml, wandb, update=update)[0]

    def register_sweep(
        self, name: str, spec_yaml: str, wandb: Mapping[str, str], *, update: bool = False
    ) -> tuple[SweepRecord, bool]:
        """`create_sweep`, and whether it was new."""
        check_sweep_name(name)
        check_spec(spec_yaml)
        with self._writable() as connection:
            is_new = writes.insert_sweep(connection, name, self._clock(), spec_yaml, wandb)
            tx = self._lock(connection, name)
            if is_new:
                tx.event("created", detail={"spec_hash": tx.before["spec_hash"]})
            return writes.adopt_spec(tx, spec_yaml, update), is_new

    def get_sweep(self, name: str) -> SweepRecord:
        with self._reading() as connection:
            return queries.get_sweep(connection, name)

    def list_sweeps(self) -> list[SweepRecord]:
        with self._reading() as connection:
            return queries.list_sweeps(connection)

    def set_sweep_state(
        self, name: str, state: SweepState, *, by: str, reason: str, age_seconds: float = 0.0
    ) -> SweepRecord:
        decided_at = self._clock() - age_seconds  # before the wait for our turn
        with self._changing(name) as tx:
            return writes.set_sweep_state(tx, state, by, reason, decided_at)

    def next_number(self, sweep: str) -> int:
        with self._reading() as connection:
            return queries.next_number(connection, sweep)

    def reserve(
        self, sweep: str, reservation: Reservation, owner: Owner, *, lease_seconds: float, key: str
    ) -> RunRecord:
        return self._once(sweep, key, writes.reserve, reservation, owner, lease_seconds)

    def replace_suggestion(self, run_id: str, fence: int, reservation: Reservation, *, key: str) -> RunRecord:
        return self._once(sweep_of(run_id), key, writes.replace_suggestion, run_id, fence, reservation)

    def start(self, run_id: str, fence: int, *, num_gpus: float, key: str) -> AttemptRecord:
        return self._once(sweep_of(run_id), key, writes.start, run_id, fence, num_gpus)

    def record_nodes(self, run_id: str, fence: int, nodes: Sequence[str]) -> None:
        with self._changing(sweep_of(run_id)) as tx:
            writes.record_nodes(tx, run_id, fence, nodes)

    def record_progress(self, run_id: str, fence: int, curve: Sequence[JsonObject]) -> None:
        with self._changing(sweep_of(run_id)) as tx:
            writes.record_progress(tx, run_id, fence, curve)

    def heartbeat(self, owner: Owner, run_ids: Sequence[str], *, lease_seconds: float) -> list[str]:
        held: set[str] = set()
        for sweep in sorted({sweep_of(run_id) for run_id in run_ids}):
            with self._changing(sweep) as tx:
                held |= writes.heartbeat(tx, owner, run_ids, lease_seconds)
        return [run_id for run_id in run_ids if run_id not in held]

    def interrupt(self, run_id: str, fence: int, *, reason: str, costs: JsonObject, key: str) -> RunRecord:
        return self._once(sweep_of(run_id), key, writes.interrupt, run_id, fence, reason, costs)

    def requeue(self, run_id: str, fence: int, *, reason: str, costs: JsonObject, key: str) -> RunRecord:
        return self._once(sweep_of(run_id), key, writes.requeue, run_id, fence, reason, costs)

    def release(self, run_id: str, fence: int, *, key: str) -> RunRecord:
        return self._once(sweep_of(run_id), key, writes.release, run_id, fence)

    def finish(self, run_id: str, fence: int, observation: NewObservation, *, key: str) -> ObservationRecord | None:
        return self._once(sweep_of(run_id), key, writes.finish, run_id, fence, observation)

    def retry(self, run_id: str, *, by: str, key: str) -> RunRecord:
        return self._once(sweep_of(run_id), key, writes.retry, run_id, by)

    def claim(self, sweep: str, owner: Owner, *, lease_seconds: float, key: str) -> list[RunRecord]:
        return self.claim_from(
            sweep,
            owner,
            {holder for holder in self.owners(sweep) if is_dead(holder)},
            lease_seconds=lease_seconds,
            key=key,
        )

    def claim_from(
        self, sweep: str, owner: Owner, dead: Collection[Owner], *, lease_seconds: float, key: str
    ) -> list[RunRecord]:
        """`claim`, where somebody else found out which owners are dead: only their own host can tell."""
        return self._once(sweep, key, writes.claim, owner, lease_seconds, dead)

    def owners(self, sweep: str) -> set[Owner]:
        """Everybody who holds a lease that ends."""
        with self._reading() as connection:
            return queries.owners(connection, sweep)

    def runs(self, sweep: str, *, states: Sequence[RunState] = ()) -> list[RunRecord]:
        with self._reading() as connection:
            queries.get_sweep(connection, sweep)
            return queries.list_runs(connection, sweep, states)

    def get_run(self, run_id: str) -> RunRecord:
        with self._reading() as connection:
            return queries.get_run(connection, run_id)

    def attempts(self, sweep: str) -> list[AttemptRecord]:
        with self._reading() as connection:
            queries.get_sweep(connection, sweep)
            return queries.list_attempts(connection, sweep)

    def runs_page(self, sweep: str, states: Sequence[RunState], after: int, limit: int) -> list[RunRecord]:
        """The first `limit` runs with a number above `after`."""
        with self._reading() as connection:
            queries.get_sweep(connection, sweep)
            return queries.list_runs(connection, sweep, states, after, limit)

    def attempts_page(self, sweep: str, after: int, limit: int) -> list[AttemptRecord]:
        """Attempts of the `limit` runs from number `after` + 1 on."""
        with self._reading() as connection:
            queries.get_sweep(connection, sweep)
            return queries.list_attempts(connection, sweep, after, limit)

    def observations(self, sweep: str, *, after: int = 0, limit: int | None = None) -> list[ObservationRecord]:
        with self._reading() as connection:
            queries.get_sweep(connection, sweep)
            return queries.list_observations(connection, sweep, after, limit)

    def curve(self, run_id: str) -> list[JsonObject]:
        with self._reading() as connection:
            queries.get_run(connection, run_id)
            return queries.curve(connection, run_id)

    def add_event(
        self, sweep: str, kind: str, *, run_id: str | None, by: str, detail: JsonObject, key: str = ""
    ) -> None:
        with self._changing(sweep) as tx:
            if key and tx.answer(key, "add_event"):
                return
            writes.add_event(tx, kind, run_id, by, detail)
            if key:
                tx.remember(key, "add_event", None)

    def delete_sweep(self, name: str, *, force: bool = False) -> None:
        self.delete_from(name, {holder for holder in self.owners(name) if is_dead(holder)}, force=force)

    def delete_from(self, name: str, dead: Collection[Owner], *, force: bool) -> None:
        """`delete_sweep`, where somebody else found out which owners are dead: only their own host can tell."""
        with self._changing(name) as tx:
            writes.delete_sweep(tx, dead, force)
        log.info("sweep %s: deleted", name)

    def events(self, sweep: str, *, after: int = 0, limit: int | None = None) -> list[EventRecord]:
        with self._reading() as connection:
            queries.get_sweep(connection, sweep)
            return queries.list_events(connection, sweep, after, limit)
