"""SQLAlchemy engines as the registry needs them: durable, patient, and loud about disks that cannot keep a promise."""

from __future__ import annotations

import contextlib
import fcntl
import math
import os
import re
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.exc import ArgumentError, InvalidatePoolError, NoSuchModuleError
from sqlalchemy.pool import ConnectionPoolEntry

from metta_sweep.errors import RegistryError, RegistryUnavailable
from metta_sweep.registry.trouble import shown
from trainables.disk import PRIVATE, SHARED, allot

BUSY_TIMEOUT_SECONDS = 60.0
REST_SECONDS = 1.0
NETWORK_FILE_SYSTEM = re.compile("nfs4?|cifs|smb3|smbfs|afs|afpfs|lustre|gpfs|beegfs|ceph|davfs|webdav|9p")
NETWORK_FUSE = re.compile("sshfs|s3fs|gcsfuse|goofys|mount(point)?-s3|rclone|juicefs|glusterfs|ceph|blobfuse2|davfs")
ADVISORY_LOCK = 0x6D657474  # "mett": whoever prepares the schema holds it


def parse_url(url: str | URL) -> URL:
    """The address of a database. Raises `RegistryError`, without its password, for what is none, or of another kind."""
    try:
        address = make_url(url)
        kind = address.get_backend_name()
    except (ArgumentError, ValueError) as error:
        need = "sqlite:////absolute/file.db or postgresql+psycopg://user@host/database"
        raise RegistryError(f"database URL: cannot be read; need {need}") from error
    if kind not in ("sqlite", "postgresql"):
        raise RegistryError(f"database {shown(address)}: need sqlite:///... or postgresql+psycopg://...")
    if "@" in (address.host or ""):
        raise RegistryError("database URL: more than one @; write the one that belongs to the password as %40")
    return address


def open_engine(address: URL) -> Engine:
    """Engine for `sqlite:///file` or `postgresql+psycopg://...`.

    Raises:
        RegistryError: its driver is not installed, or an SQLite file on a network file system.
        OSError: the directory cannot be made.
    """
    try:
        if address.get_backend_name() == "postgresql":
            return _open_postgresql(address)
        return _open_sqlite(Path(address.database or ""))
    except (ImportError, NoSuchModuleError) as error:
        raise RegistryError(f"database {address.drivername}: {error}; pip install 'metta_sweep[postgres]'") from error


def _open_postgresql(address: URL) -> Engine:
    """Connections are asked whether they live only after a rest: each question is another way to the server."""
    engine = create_engine(address, pool_size=16, max_overflow=48)

    def note(_connection: object, record: ConnectionPoolEntry) -> None:
        record.info["rests_since"] = time.monotonic()

    def ask(connection: Any, record: ConnectionPoolEntry, _proxy: object) -> None:
        if time.monotonic() - record.info.get("rests_since", math.inf) > REST_SECONDS:
            try:
                engine.dialect.do_ping(connection)
            except engine.dialect.loaded_dbapi.Error as error:
                raise InvalidatePoolError from error

    event.listen(engine, "checkin", note)
    event.listen(engine, "checkout", ask)
    return engine


def reading(engine: Engine) -> Engine:
    """For reads: on PostgreSQL each statement is one way to the server, with no transaction around it."""
    is_postgresql = engine.dialect.name == "postgresql"
    return engine.execution_options(isolation_level="AUTOCOMMIT") if is_postgresql else engine


def _open_sqlite(path: Path) -> Engine:
    refuse_network_file_system(path.parent)
    path.parent.mkdir(parents=True, exist_ok=True)
    address = URL.create("sqlite", database=str(path))
    engine = create_engine(address, pool_size=16, max_overflow=48, connect_args={"timeout": BUSY_TIMEOUT_SECONDS})
    event.listen(engine, "connect", _set_pragmas)
    event.listen(engine, "begin", _begin)
    return engine


def _set_pragmas(connection: sqlite3.Connection, _record: object) -> None:
    connection.isolation_level = None  # sqlite3 would begin late and deferred; `_begin` does it
    connection.execute("PRAGMA synchronous = FULL")  # WAL's default, NORMAL, may lose the last commits with the power
    connection.execute("PRAGMA foreign_keys = ON")


def _begin(connection: Connection) -> None:
    # A write that begins as a read can find the database changed under it, and that error no timeout cures.
    is_write = connection.get_execution_options().get("is_write", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if is_write else "BEGIN")


@contextlib.contextmanager
def schema_lock(engine: Engine) -> Iterator[None]:
    """Only one process at a time prepares the schema of a database. SQLite: also switches the file to WAL, once."""
    if engine.dialect.name == "postgresql":
        with engine.connect() as connection:
            connection.execute(text("SELECT pg_advisory_lock(:lock)"), {"lock": ADVISORY_LOCK})
            try:
                yield
            finally:
                connection.execute(text("SELECT pg_advisory_unlock(:lock)"), {"lock": ADVISORY_LOCK})
        return
    path = Path(engine.url.database or "")
    with path.with_name(f"{path.name}.lock").open("w") as lock:
        _take(lock.fileno(), path)
        _make_file(path)
        with contextlib.closing(sqlite3.connect(path, timeout=BUSY_TIMEOUT_SECONDS)) as connection:
            connection.execute("PRAGMA journal_mode = WAL")
        yield


def _take(lock: int, path: Path) -> None:
    deadline = time.monotonic() + BUSY_TIMEOUT_SECONDS
    while True:
        try:
            return fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            if time.monotonic() > deadline:
                text = f"another process prepares it and does not end; end that (`fuser {path}.lock`)"
                raise RegistryUnavailable(f"registry {path}: {text}") from error
            time.sleep(0.05)


def _make_file(path: Path) -> None:
    """A new database. Raises `RegistryError` for an empty one with sweeps beside it: it was cut off, and is not new."""
    if not path.exists():
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o666 & ~umask_of_files()))
    elif path.stat().st_size == 0 and any(path.parent.glob("sweep/*/config.yaml")):
        advice = "bring back a copy of it, or delete it to begin them anew"
        raise RegistryError(f"registry {path}: is empty, though sweeps lie beside it; {advice}")


def keep_private(engine: Engine) -> None:
    """An SQLite file, its log and its index are for their user, and for the group where the umask shares with it."""
    path = Path(engine.url.database or "")
    for suffix in ("", "-wal", "-shm", ".lock") if engine.dialect.name == "sqlite" else ():
        allot(path.with_name(path.name + suffix), umask_of_files())


def umask_of_files() -> int:
    """Of this process, but never looser than `share_files` can make it."""
    given = os.umask(PRIVATE)
    os.umask(given)
    return PRIVATE if given & (PRIVATE ^ SHARED) else SHARED


def refuse_network_file_system(directory: Path) -> None:
    """Raises `RegistryError` for a directory on a network file system, whose locks SQLite cannot trust."""
    kind = _file_system(directory.resolve(), psutil.disk_partitions(all=True))
    if NETWORK_FILE_SYSTEM.fullmatch(kind) or NETWORK_FUSE.fullmatch(kind.removeprefix("fuse.")):
        why = f"on {kind}, a network file system, whose locks SQLite cannot trust"
        advice = "use a local disk, or one registry for all machines: settings.sweep_server_uri=http://..."
        raise RegistryError(f"data_dir={directory}: {why}; {advice}")


def _file_system(path: Path, partitions: list[Any]) -> str:
    """Type of the file system that holds the path, "" when unknown."""
    holding = [partition for partition in partitions if path.is_relative_to(partition.mountpoint)]
    # Of several on one place the last covers the others.
    return max(reversed(holding), key=lambda partition: len(partition.mountpoint)).fstype if holding else ""
