"""SQLAlchemy engines as the registry needs them: durable, patient, and loud about disks that cannot keep a promise."""

from __future__ import annotations

import contextlib
import fcntl
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
from sqlalchemy import Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.exc import DBAPIError, InterfaceError, InternalError, NoSuchModuleError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from metta_sweep.errors import InvalidRequest, RegistryError, RegistryUnavailable
from trainables.disk import PRIVATE, SHARED, allot

BUSY_TIMEOUT_SECONDS = 60.0
NETWORK_FILE_SYSTEMS = frozenset(
    {"nfs", "nfs4", "cifs", "smb3", "smbfs", "afs", "afpfs", "lustre", "gpfs", "beegfs", "ceph", "davfs", "webdav", "9p"}
)
NETWORK_FUSE = ("sshfs", "s3fs", "gcsfuse", "goofys", "mount-s3", "mountpoint-s3", "rclone", "juicefs", "glusterfs", "ceph", "blobfuse2", "davfs")
ADVISORY_LOCK = 0x6D657474  # "mett": whoever prepares the schema holds it


def open_engine(url: str) -> Engine:
    """Engine for `sqlite:///file` or `postgresql+psycopg://...`.

    Raises:
        RegistryError: another database, its driver is not installed, or an SQLite file on a network file system.
    """
    address = make_url(url)
    if address.get_backend_name() not in ("sqlite", "postgresql"):
        raise RegistryError(f"database {address.render_as_string()}: need sqlite:///... or postgresql+psycopg://...")
    try:
        if address.get_backend_name() == "postgresql":
            return create_engine(address, pool_size=16, max_overflow=48, pool_pre_ping=True)
        return _open_sqlite(Path(address.database or ""))
    except (ImportError, NoSuchModuleError) as error:
        raise RegistryError(f"database {address.drivername}: {error}; install metta_sweep[postgres]") from error


def _open_sqlite(path: Path) -> Engine:
    refuse_network_file_system(path.parent)
    path.parent.mkdir(parents=True, exist_ok=True)
    _make_private(path)
    engine = create_engine(f"sqlite:///{path}", pool_size=16, max_overflow=48, connect_args={"timeout": BUSY_TIMEOUT_SECONDS})
    event.listen(engine, "connect", _set_pragmas)
    event.listen(engine, "begin", _begin)
    return engine


def _make_private(path: Path) -> None:
    """The database is for its user, and for the group where the process's umask shares with it; its log and index get the same rights from SQLite."""
    given = os.umask(PRIVATE)
    os.umask(given)
    umask = PRIVATE if given & (PRIVATE ^ SHARED) else SHARED
    if not path.exists():
        with contextlib.suppress(FileExistsError):  # another process was first
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o666 & ~umask))
    for name in (path.name, f"{path.name}-wal", f"{path.name}-shm", f"{path.name}.lock"):
        allot(path.with_name(name), umask)


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
    with path.with_name(path.name + ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with contextlib.closing(sqlite3.connect(path, timeout=BUSY_TIMEOUT_SECONDS)) as connection:
            connection.execute("PRAGMA journal_mode = WAL")
        yield


@contextlib.contextmanager
def translated_errors() -> Iterator[None]:
    """Database errors as the registry's own: `RegistryUnavailable` when another try may succeed, `InvalidRequest` when none can."""
    try:
        yield
    except (OperationalError, InterfaceError, InternalError, PoolTimeout, sqlite3.OperationalError, OSError) as error:
        raise RegistryUnavailable(f"database: {_reason(error)}") from error
    except (DBAPIError, OverflowError) as error:
        raise InvalidRequest(f"database refused a value: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    message = str(getattr(error, "orig", None) or error).strip().split("\n")[0]
    if "disk is full" in message or "No space left" in message:
        return f"{message}; free some space and go on, nothing is damaged"
    return message


def refuse_network_file_system(directory: Path) -> None:
    """Raises `RegistryError` for a directory on a network file system, whose locks SQLite cannot trust."""
    kind = _file_system(directory.resolve(), psutil.disk_partitions(all=True))
    if kind in NETWORK_FILE_SYSTEMS or kind.removeprefix("fuse.") in NETWORK_FUSE:
        raise RegistryError(
            f"data_dir={directory}: on {kind}, a network file system, whose locks SQLite cannot trust; "
            "use a local disk, or one registry for all machines: settings.sweep_server_uri=http://..."
        )


def _file_system(path: Path, partitions: list[Any]) -> str:
    """Type of the file system that holds the path, "" when unknown."""
    holding = [partition for partition in partitions if path.is_relative_to(partition.mountpoint)]
    return max(reversed(holding), key=lambda partition: len(partition.mountpoint)).fstype if holding else ""  # the last mount covers others
