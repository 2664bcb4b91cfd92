"""The registry, for reading only: a database file is opened so that SQLite itself refuses to write or hold a lock."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sqlalchemy import URL, Column, Connection, create_engine, inspect
from sqlalchemy.pool import NullPool

from metta_sweep.errors import ConfigError, InvalidRequest, SweepError, UnknownSweep, UnreadableSweep
from metta_sweep.registry import queries
from metta_sweep.registry.api import Reader as Reader
from metta_sweep.registry.database import parse_url
from metta_sweep.registry.open import open_registry
from metta_sweep.registry.operation import Operation
from metta_sweep.registry.schema import remarks, sweeps
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
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, RecursionError) as error:
        if isinstance(error, SweepError) and not isinstance(error, InvalidRequest | ConfigError):
            raise  # says already what is wrong, as UnknownSweep does
        lines = str(error).strip().splitlines() or [""]
        told = f"{type(error).__name__}: {lines[0]}".removeprefix("InvalidRequest: ")[:300]
        raise UnreadableSweep(sweep, "".join(one if one.isprintable() else "?" for one in told)) from error


class SqliteReader(Reader):
    """A registry file, opened with `mode=ro`; one that is not there yet, or without tables, has no sweeps.

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
        """Whether there is anything to read. Raises `RegistryError` for another's, a newer, or a damaged database."""
        if self._is_checked:
            return True
        with translated_errors(self._url):
            if not self._path.exists():
                return False
            with self._engine.connect() as connection:
                self._is_checked = schema_of(connection, self._url) != ""
        return self._is_checked

    def _perform(self, operation: Operation, arguments: dict[str, Any]) -> Any:
        if operation.name == "list_sweeps" and not self._has_tables():
            return []
        with self._reading(arguments.get("name", "")) as connection:
            if operation.name in ("get_sweep", "list_sweeps"):
                arguments["columns"] = _columns(connection)
            if operation.name == "remarks" and not inspect(connection).has_table(remarks.name):
                return []  # a file of an older schema
            if operation.name == "get_sweep" and not queries.list_sweeps(connection, columns=arguments["columns"]):
                raise UnknownSweep(f"sweep_name={arguments['name'][:120]!r}: no such sweep; {self._path} holds none")
            return getattr(queries, operation.name)(connection, **arguments)

    def _holding(self) -> str:
        is_empty = self._path.exists() and not self._path.stat().st_size
        return "is empty; bring back a copy of it if there were sweeps" if is_empty else "holds none"

    def close(self) -> None:
        self._engine.dispose()


def _columns(connection: Connection) -> list[Column[Any]]:
    """What the file knows of sweeps: one of an older schema is read as it is, for whoever reads must not upgrade it."""
    known = {column["name"] for column in inspect(connection).get_columns(sweeps.name)}
    return [column for column in sweeps.c if column.name in known]


def open_reader(data_dir: Path, sweep_server_uri: str | None) -> Reader:
    """The service at `sweep_server_uri`, or `{data_dir}/registry.db`, for reading."""
    if sweep_server_uri is None:
        return SqliteReader(data_dir / "registry.db")
    if sweep_server_uri.startswith("sqlite:"):
        return SqliteReader(Path(parse_url(sweep_server_uri).database or ""))
    return open_registry(data_dir, sweep_server_uri, patience_seconds=READER_PATIENCE_SECONDS)
