"""What is wrong with a database, where it is, and what to do about it, in one line and without passwords."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from sqlalchemy import URL, Connection, inspect, text
from sqlalchemy.exc import InterfaceError, InternalError, OperationalError, StatementError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from metta_sweep.errors import InvalidRequest, RegistryError, RegistryUnavailable, advice, first_line
from metta_sweep.registry.schema import SCHEMA_VERSION, metadata

COPY = "bring back a copy of it, or move it away to begin anew"
# By the beginning of SQLite's own name of the error. The damaged ones are for good.
DAMAGED = {
    "SQLITE_NOTADB": f"is not a database; {COPY}",
    "SQLITE_CORRUPT": f"is damaged; {COPY} (`sqlite3 FILE .recover` saves what can be read)",
}
PASSING = {
    "SQLITE_BUSY": "locked by another process; wait, or end that process (`fuser FILE` names it)",
    "SQLITE_LOCKED": "locked by another process; wait, or end that process (`fuser FILE` names it)",
    "SQLITE_FULL": "the disk is full; free some space and go on, nothing is damaged",
    "SQLITE_READONLY": "may not be written; make it writable for this user, or choose another data_dir=",
    "SQLITE_IOERR": "the disk does not read or write; is it full, or failing?",
}


PASSING_ERRORS = (OperationalError, InterfaceError, InternalError, PoolTimeout, sqlite3.OperationalError)


def shown(url: URL) -> str:
    """The database as messages name it: the file, or the address without password and options."""
    if url.get_backend_name() == "sqlite":
        return url.database or "sqlite"
    return url.set(query={}).render_as_string(hide_password=True)


def secrets_of(url: URL) -> list[str]:
    """Passwords in an address, wherever it may hold them."""
    options = [value for key, value in url.query.items() if "password" in key]
    given = [url.password, *(text for value in options for text in ([value] if isinstance(value, str) else value))]
    return [str(secret) for secret in given if secret]


def without_password(address: str) -> str:
    """A web address or database URL for messages, also one that cannot be parsed."""
    scheme, separator, rest = address.partition("://")
    place, slash, path = rest.partition("/")
    user = "***@" if "@" in place else ""
    return f"{scheme}{separator}{user}{place.rpartition('@')[2]}{slash}{path}".partition("?")[0]


@contextlib.contextmanager
def translated_errors(url: URL) -> Iterator[None]:
    """Database errors as the registry's own.

    Raises:
        RegistryUnavailable: another try may succeed.
        InvalidRequest: it takes a value that no database takes.
        RegistryError: the database is damaged, or none.
    """
    try:
        yield
    except (StatementError, PoolTimeout, sqlite3.Error, OverflowError, UnicodeError) as error:
        cause = getattr(error, "orig", None) or error
        if isinstance(cause, InvalidRequest):  # one of our own column types refused it
            raise cause from error
        name = str(getattr(cause, "sqlite_errorname", ""))
        for code, what in DAMAGED.items():
            if name.startswith(code):
                raise RegistryError(f"registry {shown(url)}: {what}") from error
        if isinstance(error, PASSING_ERRORS):
            raise RegistryUnavailable(f"registry {shown(url)}: {_reason(url, name, cause)}") from error
        raise InvalidRequest(f"database refused a value: {first_line(cause)}") from error
    except OSError as error:
        raise RegistryUnavailable(f"registry {error.filename or shown(url)}: {advice(error)}") from error


def _reason(url: URL, name: str, cause: BaseException) -> str:
    path = Path(url.database or "")
    if name.startswith("SQLITE_CANTOPEN") or (name and path.is_dir()):
        return _why_closed(path)
    if known := next((what for code, what in PASSING.items() if name.startswith(code)), ""):
        return known
    told = first_line(cause)
    for secret in secrets_of(url):
        told = told.replace(secret, "***")
    return told


def _why_closed(path: Path) -> str:
    """SQLite says of everything that it is "unable to open database file"."""
    if path.is_dir():
        return "is a directory; move it away, or choose another data_dir="
    if not path.parent.is_dir():
        return "its directory is not there; choose another data_dir="
    if path.exists() and not os.access(path, os.R_OK):
        return "this user may not read it; ask its owner (share_files=group lets a group), or choose another data_dir="
    if path.with_name(f"{path.name}-wal").exists():
        return "its log (-wal) needs a disk that may be written; copy both files to one and name it with data_dir="
    return "cannot be opened; may this user write into its directory?"


def schema_of(connection: Connection, url: URL) -> str:
    """Version of our schema in this database, "" when there is none yet.

    Raises:
        RegistryError: the tables are another program's, or a newer metta_sweep's.
    """
    tables = set(inspect(connection).get_table_names())
    ours = set(metadata.tables)
    if {"alembic_version", "sweeps", "runs"} <= tables:
        found = str(connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one())
        if found > SCHEMA_VERSION:
            reason = f"has schema {found}, this metta_sweep knows {SCHEMA_VERSION}; use the newer metta_sweep"
            raise RegistryError(f"registry {shown(url)}: {reason}")
        return found
    if tables and (url.get_backend_name() == "sqlite" or tables & {*ours, "alembic_version"}):
        some = ", ".join(sorted(tables)[:3])
        whose = f"belongs to another program (it has the tables {some})"
        raise RegistryError(f"registry {shown(url)}: {whose}; choose another data_dir= or database")
    return ""
