"""The registry, for reading only: a database file is opened so that SQLite itself refuses to write or to hold a lock."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote

from sqlalchemy import Column, Connection, create_engine, inspect
from sqlalchemy.pool import NullPool

from metta_sweep.errors import UnknownSweep
from metta_sweep.registry import queries
from metta_sweep.registry.database import translated_errors
from metta_sweep.registry.open import open_registry
from metta_sweep.registry.records import AttemptRecord, EventRecord, JsonObject, ObservationRecord, RunRecord, RunState, SweepRecord
from metta_sweep.registry.schema import sweeps

BUSY_SECONDS = 5.0
READER_PATIENCE_SECONDS = 5.0  # somebody waits for the answer, and nothing is lost by asking again


class Reader(Protocol):
    """The reading half of `Registry`."""

    def list_sweeps(self) -> list[SweepRecord]: ...

    def get_sweep(self, name: str) -> SweepRecord: ...

    def runs(self, sweep: str, *, states: Sequence[RunState] = ()) -> list[RunRecord]: ...

    def get_run(self, run_id: str) -> RunRecord: ...

    def attempts(self, sweep: str) -> list[AttemptRecord]: ...

    def observations(self, sweep: str, *, after: int = 0, limit: int | None = None) -> list[ObservationRecord]: ...

    def curve(self, run_id: str) -> list[JsonObject]: ...

    def events(self, sweep: str, *, after: int = 0, limit: int | None = None) -> list[EventRecord]: ...

    def close(self) -> None: ...


class SqliteReader:
    """A registry file, opened with `mode=ro`. A file that is not there yet, or still without tables, reads as a registry
    without sweeps.

    Every call is one short read of its own connection, so that a sweep's writer is never kept from tidying its log.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._engine = create_engine("sqlite://", creator=self._connect, poolclass=NullPool)

    def _connect(self) -> sqlite3.Connection:
        return sqlite3.connect(f"file:{quote(str(self._path))}?mode=ro", uri=True, timeout=BUSY_SECONDS, check_same_thread=False)

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        with translated_errors(), self._engine.connect() as connection:
            yield connection

    def list_sweeps(self) -> list[SweepRecord]:
        if not self._path.exists():
            return []
        with self._reading() as connection:
            columns = _columns(connection)
            return queries.list_sweeps(connection, columns) if columns else []

    def get_sweep(self, name: str) -> SweepRecord:
        if not self.list_sweeps():
            raise UnknownSweep(f"sweep_name={name[:120]!r}: no such sweep; {self._path} holds none")
        with self._reading() as connection:
            return queries.get_sweep(connection, name, _columns(connection))

    def runs(self, sweep: str, *, states: Sequence[RunState] = ()) -> list[RunRecord]:
        with self._reading() as connection:
            return queries.list_runs(connection, sweep, states)

    def get_run(self, run_id: str) -> RunRecord:
        with self._reading() as connection:
            return queries.get_run(connection, run_id)

    def attempts(self, sweep: str) -> list[AttemptRecord]:
        with self._reading() as connection:
            return queries.list_attempts(connection, sweep)

    def observations(self, sweep: str, *, after: int = 0, limit: int | None = None) -> list[ObservationRecord]:
        with self._reading() as connection:
            return queries.list_observations(connection, sweep, after, limit)

    def curve(self, run_id: str) -> list[JsonObject]:
        with self._reading() as connection:
            return queries.curve(connection, run_id)

    def events(self, sweep: str, *, after: int = 0, limit: int | None = None) -> list[EventRecord]:
        with self._reading() as connection:
            return queries.list_events(connection, sweep, after, limit)

    def close(self) -> None:
        self._engine.dispose()


def _columns(connection: Connection) -> list[Column[Any]]:
    """What the file knows of sweeps: one of an older schema is read as it is, for whoever reads must not upgrade it."""
    tables = inspect(connection)
    known = {column["name"] for column in tables.get_columns(sweeps.name)} if tables.has_table(sweeps.name) else set()
    return [column for column in sweeps.c if column.name in known]


def open_reader(data_dir: Path, sweep_server_uri: str | None) -> Reader:
    """The service at `sweep_server_uri`, or `{data_dir}/registry.db`, for reading."""
    if sweep_server_uri is None:
        return SqliteReader(data_dir / "registry.db")
    return open_registry(data_dir, sweep_server_uri, patience_seconds=READER_PATIENCE_SECONDS)
