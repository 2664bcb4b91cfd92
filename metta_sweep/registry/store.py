"""The registry in a database: SQLite in process, PostgreSQL or SQLite behind the service."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import URL, Connection, select

from metta_sweep.registry import queries, writes
from metta_sweep.registry.api import Registry
from metta_sweep.registry.codec import decode
from metta_sweep.registry.database import open_engine, parse_url, reading
from metta_sweep.registry.lease_clock import Tick, tick
from metta_sweep.registry.migrate import prepare
from metta_sweep.registry.names import check_sweep_name, sweep_of
from metta_sweep.registry.operation import Operation
from metta_sweep.registry.records import Owner, SweepRecord, SweepState
from metta_sweep.registry.schema import sweeps
from metta_sweep.registry.specs import check_spec
from metta_sweep.registry.transaction import Transaction
from metta_sweep.registry.trouble import translated_errors
from metta_sweep.registry.turns import Turns
from trainables import faults

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Write:
    """One call of a method that writes; `key` is "" where it has none."""

    operation: Operation
    key: str
    arguments: Mapping[str, Any]


class SqlRegistry(Registry):
    """The registry over SQLAlchemy; safe to share between threads, and a database between processes.

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
        self._reading = reading(self.engine)
        self._clock = clock
        self._ticks = ticks or (tick if clock is faults.now else lambda: Tick("", clock()))
        self._turns = Turns(self._commit)
        # SQLite has one writer; threads that queue here wait less than threads that poll its file lock.
        self._writing: contextlib.AbstractContextManager[Any] = (
            threading.Lock() if self.engine.dialect.name == "sqlite" else contextlib.nullcontext()
        )

    def close(self) -> None:
        self.engine.dispose()

    def _perform(self, operation: Operation, arguments: dict[str, Any]) -> Any:
        if operation.verb == "GET":
            with translated_errors(self._url), self._reading.connect() as connection:
                # Of what is not known, nothing is not an answer.
                if operation.cursor and "sweep" in arguments:
                    queries.next_number(connection, arguments["sweep"])
                if operation.name == "curve":
                    queries.get_run(connection, arguments["run_id"])
                return getattr(queries, operation.name)(connection, **arguments)
        sweep = arguments.pop("sweep", None) or sweep_of(arguments["run_id"])
        return self._turns.take(sweep, Write(operation, operation.key_of(arguments), arguments))

    def _commit(self, sweep: str, batch: Sequence[Write]) -> list[Any]:
        with self._changing(sweep, batch) as tx:
            return [_once(tx, write) for write in batch]

    @contextlib.contextmanager
    def _writable(self, num_writes: int = 1) -> Iterator[Connection]:
        with (
            translated_errors(self._url),
            self._writing,
            self.engine.connect().execution_options(is_write=True) as connection,
            connection.begin(),
        ):
            yield connection
            for _ in range(num_writes):
                faults.point("registry.commit")
        for _ in range(num_writes):
            faults.point("registry.committed")

    @contextlib.contextmanager
    def _changing(self, sweep: str, batch: Sequence[Write] = ()) -> Iterator[Transaction]:
        with self._writable(len(batch) or 1) as connection, self._locked(connection, sweep) as tx:
            tx.recall([write.key for write in batch if write.key])
            yield tx

    @contextlib.contextmanager
    def _locked(self, connection: Connection, sweep: str) -> Iterator[Transaction]:
        """Hold the sweep's row until the commit (PostgreSQL; SQLite's writer holds all)."""
        lock = select(sweeps).where(sweeps.c.name == sweep).with_for_update()
        row = connection.execute(lock).mappings().one_or_none()
        if row is None:
            raise queries.unknown_sweep(connection, sweep)
        tx = Transaction(connection, row, self._clock(), self._ticks())
        yield tx
        tx.write_down()

    def create_sweep(self, name: str, spec_yaml: str, *, update: bool = False, **wandb: str) -> SweepRecord:
        return self.register_sweep(name, spec_yaml, update=update, **wandb)[0]

    def register_sweep(
        self, name: str, spec_yaml: str, *, update: bool = False, **wandb: str
    ) -> tuple[SweepRecord, bool]:
        """`create_sweep`, and whether it was new."""
        check_sweep_name(name)
        check_spec(spec_yaml)
        with self._writable() as connection:
            is_new = writes.insert_sweep(connection, name, self._clock(), spec_yaml, wandb)
            with self._locked(connection, name) as tx:
                if is_new:
                    tx.event("created", detail={"spec_hash": tx.before["spec_hash"]})
                return writes.adopt_spec(tx, spec_yaml, update), is_new

    def set_sweep_state(
        self, name: str, state: SweepState, *, by: str, reason: str, age_seconds: float = 0.0
    ) -> SweepRecord:
        decided_at = self._clock() - age_seconds  # before the wait for our turn
        with self._changing(name) as tx:
            return writes.set_sweep_state(tx, state, by, reason, decided_at)

    def heartbeat(self, owner: Owner, run_ids: Sequence[str], *, lease_seconds: float) -> list[str]:
        held: set[str] = set()
        for sweep in sorted({sweep_of(run_id) for run_id in run_ids}):
            with self._changing(sweep) as tx:
                held |= writes.heartbeat(tx, owner, run_ids, lease_seconds)
        return [run_id for run_id in run_ids if run_id not in held]

    def delete_from(self, name: str, dead: Sequence[Owner], *, force: bool = False) -> None:
        with self._changing(name) as tx:
            writes.delete_sweep(tx, dead, force)
        log.info("sweep %s: deleted", name)


def _once(tx: Transaction, write: Write) -> Any:
    """Do the write, or give the answer that its key was given before."""
    operation, key = write.operation, write.key
    for answer in tx.answer(key, operation.name) if key else ():
        return decode(operation.result, answer)
    result = getattr(writes, operation.name)(tx, **write.arguments)
    if key:
        tx.remember(key, operation.name, result)
    return result
