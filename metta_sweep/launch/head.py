"""The registry of a sweep whose data directory is a network file system: on the head's own disk, and copied.

SQLite cannot trust the locks of a network file system, and a head's own disk goes with the head. So the registry lives
on the head's disk while the sweep runs, is copied to the data directory with SQLite's backup every few seconds, and
comes back from there on the next head.
"""

from __future__ import annotations

import hashlib
import logging
import shutil
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from metta_sweep.errors import RegistryError
from trainables.disk import replacing

logger = logging.getLogger(__name__)

BACKUP_SECONDS = 10.0


def local_registry(data_dir: Path) -> Path:
    """Where the registry of this data directory lives on this machine."""
    name = hashlib.sha256(str(data_dir).encode()).hexdigest()[:12]
    return Path.home() / ".metta_sweep" / name / "registry.db"


@contextmanager
def kept_registry(local: Path, copy: Path, every_seconds: float = BACKUP_SECONDS) -> Iterator[Path]:
    """A registry on this machine's disk that is copied elsewhere again and again, and once more at the end.

    Args:
        local: the database; taken from the copy when missing.
        copy: where it is kept.
    """
    local.parent.mkdir(parents=True, exist_ok=True)
    if not local.exists() and copy.exists():
        shutil.copy2(copy, local)
    ended = threading.Event()

    def keep() -> None:
        while not ended.wait(every_seconds):
            try:
                back_up(local, copy)
            except (OSError, sqlite3.Error) as error:
                logger.warning("the registry was not copied to %s: %s; the next copy may succeed", copy, error)

    thread = threading.Thread(target=keep, name="registry-backup", daemon=True)
    thread.start()
    try:
        yield local
    finally:
        ended.set()
        thread.join()
        try:
            back_up(local, copy)
        except (OSError, sqlite3.Error) as error:
            advice = "copy it yourself before this machine goes"
            raise RegistryError(f"registry {local}: was not copied to {copy}: {error}; {advice}") from error


def back_up(local: Path, copy: Path) -> None:
    """Copy a database that is in use; a reader of the copy sees the old one or the new one, never a half."""
    if not local.exists():
        return
    snapshot = local.with_suffix(".snapshot")
    with closing(sqlite3.connect(local)) as source, closing(sqlite3.connect(snapshot)) as target:
        source.backup(target)
        target.execute("PRAGMA journal_mode=DELETE")  # one file, without a log that the next copy would not fit
    with snapshot.open("rb") as whole, replacing(copy) as file:
        shutil.copyfileobj(whole, file)
