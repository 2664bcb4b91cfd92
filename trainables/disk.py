"""Files that are whole or not there, and for whom they are; needs only the standard library."""

from __future__ import annotations

import os
import stat
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

PRIVATE = 0o077  # umask: what this program writes is for its user
SHARED = 0o007  # and for the group of the directory
PARTIAL = ".partial"  # ends the name of a file that is still being written


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """Write a file so that a reader, and a machine that lost its power, find the old one or the new one, never a half.

    A temporary file beside it is written, synced and renamed; its directory must be there. A link stays a link: the
    file that it means is replaced. What is no file (a pipe, `/dev/stdout`) is written into.

    Raises:
        OSError: the disk is full, read-only, or not ours; the old file stays as it was.
    """
    if path.exists() and not path.is_file() and not path.is_dir():
        with path.open("wb") as stream:
            yield stream
        return
    target = path.resolve()
    temporary = target.with_name(f".{target.name[:20]}.{uuid.uuid4().hex[:12]}{PARTIAL}")
    try:
        with temporary.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(target)
        sync_directory(target.parent)
    except BaseException as error:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        if isinstance(error, OSError):  # who reads it knows the file, not its temporary name
            error.filename, error.filename2 = str(path), None
        raise


def is_partial(path: Path) -> bool:
    """Whether a file is one that `replacing` writes now, or that a crash left: it is gone at any moment."""
    return path.name.startswith(".") and path.name.endswith(PARTIAL)


def write_whole(path: Path, content: str | bytes) -> None:
    """The content as a whole file, see `replacing`; text in UTF-8."""
    with replacing(path) as file:
        file.write(content.encode() if isinstance(content, str) else content)


def sync_directory(directory: Path) -> None:
    """Names in it are on the disk when this returns."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def allot(path: Path, umask: int, *, below: bool = True) -> bool:
    """Give a file or directory of ours, and all below it, the rights that a new one would get; returns whether they
    were others.

    A directory that is right already is not walked through: nobody gets past it. What belongs to another user is left
    alone.
    """
    if not _is_ours(path) or _mode(path) == _wanted(path, umask):
        return False
    inner = [Path(directory, name) for directory, _, files in os.walk(path) for name in ("", *files)] if below else []
    for one in (*inner, path):
        with suppress(PermissionError):  # of a file system that knows no rights
            if _is_ours(one):
                one.chmod(_wanted(one, umask))
    return True


def _is_ours(path: Path) -> bool:
    try:
        found = path.lstat()
    except FileNotFoundError:
        return False
    return found.st_uid == os.geteuid() and not stat.S_ISLNK(found.st_mode)


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def _wanted(path: Path, umask: int) -> int:
    """Rights of the owner, given to the group as well where the umask lets it; set-group-id of a directory, which hands
    the group down, stays.
    """
    mode = _mode(path)
    owner = mode & stat.S_IRWXU
    return (mode & stat.S_ISGID) | owner | (owner >> 3 if umask == SHARED else 0)
