"""The registry, for reading only: a database file is opened so that SQLite itself refuses to write or to hold a
lock.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote

from sqlalchemy import URL, Column, Connection, create_engine, inspect
from sqlalchemy.pool import NullPool

from metta_sweep.errors import ConfigError, InvalidRequest, SweepError, UnknownSweep, UnreadableSweep
from metta_sweep.registry import queries
from metta_sweep.registry.database import parse_url
from metta_sweep.registry.open import open_registry
from metta_sweep.registry.records import (
    AttemptRecord,
    EventRecord,
    JsonObject,
    ObservationRecord,
    RunRecord,
    RunState,
    SweepRecord,
)
from metta_sweep.registry.schema import sweeps
from metta_sweep.registry.trouble import schema_of, translated_errors

BUSY_SECONDS = 5.0
# How SQLite says that it cannot write the index of its log.
NO_INDEX = ("SQLITE_CANTOPEN", "SQLITE_IOERR", "SQLITE_FULL", "SQLITE_READONLY")
READER_PATIENCE_SECONDS = 5.0  # somebody waits for the answer, and nothing is lost by asking again


@contextmanager
def readable(sweep: str) -> Iterator[None]:
    """Records that make no sense are the trouble of their own sweep: whatever they break while it is read here says so.

    Raises:
        UnreadableSweep: a specification, run, result or event that is not what a driver writes.
    """
    try:
        yield
    except (
        InvalidRequest,
        LookupError,
        TypeError,
        ValueError,
        AttributeError,
        ArithmeticError,
        RecursionError,
    ) as error:
        if isinstance(error, SweepError) and not isinstance(error, InvalidRequest | ConfigError):
            raise  # says already what is wrong, as UnknownSweep does
        lines = str(error).strip().splitlines() or [""]
        reason = "".join(
            character if character.isprintable() else "?" for character in f"{type(error).__name__}: {lines[0]}"
        )
        raise UnreadableSweep(sweep, reason.removeprefix("InvalidRequest: ")[:300]) from error


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
    """A registry file, opened with `mode=ro`. A file that is not there yet, or still without tables, reads as a
    registry without sweeps.

    Every call is one short read of its own connection, so that a sweep's writer is never kept from tidying its log.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._url = URL.create("sqlite", database=str(path))
        self._is_checked = False
        self._engine = create_engine("sqlite://", creator=self._connect, poolclass=NullPool)

    def _connect(self) -> sqlite3.Connection:
        try:
            return self._opened("mode=ro")
        except sqlite3.OperationalError as error:
            log = self._path.with_name(f"{self._path.name}-wal")
            if not error.sqlite_errorname.startswith(NO_INDEX) or (log.exists() and log.stat().st_size):
                raise
            # The disk is full or read-only. Without a log nobody writes now, and its index is not needed.
            return self._opened("mode=ro&immutable=1")

    def _opened(self, options: str) -> sqlite3.Connection:
        address = f"file:{quote(str(self._path))}?{options}"
        connection = sqlite3.connect(address, uri=True, timeout=BUSY_SECONDS, check_same_thread=False)
        try:
            connection.execute("SELECT 1 FROM sqlite_master LIMIT 1")  # to connect alone reads nothing
        except sqlite3.Error:
            connection.close()
            raise
        return connection

    @contextmanager
    def _reading(self, name: str = "") -> Iterator[Connection]:
        """A connection to a database that is ours. Raises `UnknownSweep` when it holds no sweep at all."""
        if not self._has_tables():
            asked = f"sweep_name={name[:120]!r}: no such sweep" if name else "no sweep is here"
            raise UnknownSweep(f"{asked}; {self._path} {self._holding()}")
        with translated_errors(self._url), self._engine.connect() as connection:
            yield connection

    def _has_tables(self) -> bool:
        """Whether there is anything to read.

        Raises:
            RegistryError: it is another program's, of a newer metta_sweep, damaged, or may not be read.
        """
        if self._is_checked:
            return True
        with translated_errors(self._url):
            if not self._path.exists():
                return False
            with self._engine.connect() as connection:
                self._is_checked = schema_of(connection, self._url) != ""
        return self._is_checked

    def list_sweeps(self) -> list[SweepRecord]:
        if not self._has_tables():
            return []
        with self._reading() as connection:
            return queries.list_sweeps(connection, _columns(connection))

    def _holding(self) -> str:
        is_empty = self._path.exists() and not self._path.stat().st_size
        return "is empty; bring back a copy of it if there were sweeps" if is_empty else "holds none"

    def get_sweep(self, name: str) -> SweepRecord:
        with self._reading(name) as connection:
            columns = _columns(connection)
            if not queries.list_sweeps(connection, columns):
                raise UnknownSweep(f"sweep_name={name[:120]!r}: no such sweep; {self._path} holds none")
            return queries.get_sweep(connection, name, columns)

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
    known = {column["name"] for column in tables.get_columns(sweeps.name)}
    return [column for column in sweeps.c if column.name in known]


def open_reader(data_dir: Path, sweep_server_uri: str | None) -> Reader:
    """The service at `sweep_server_uri`, or `{data_dir}/registry.db`, for reading."""
    if sweep_server_uri is None:
        return SqliteReader(data_dir / "registry.db")
    if sweep_server_uri.startswith("sqlite:"):
        return SqliteReader(Path(parse_url(sweep_server_uri).database or ""))
    return open_registry(data_dir, sweep_server_uri, patience_seconds=READER_PATIENCE_SECONDS)
