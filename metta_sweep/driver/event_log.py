"""`events.jsonl`: the registry's log of a sweep as a file, for people and scripts."""

from __future__ import annotations

import errno
import fcntl
import json
import os
from dataclasses import asdict
from io import FileIO
from pathlib import Path

from metta_sweep.registry.api import Registry

TAIL_BYTES = 1_048_576  # an event holds a log tail of 8 kB, a specification's difference, or a note of another's


def copy_events(registry: Registry, sweep: str, path: Path) -> int:
    """Append what the registry logged since the file's last line. Drivers that share the file take turns.

    Returns the sequence number of the last event that the registry has.

    Raises:
        RegistryError: the registry cannot be read; the file stays as it is.
    """
    with path.open("ab+", buffering=0) as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        sequence, size = last_event(file)
        file.truncate(size)
        events = registry.events(sweep, after=sequence)
        lines = "".join(json.dumps(asdict(event)) + "\n" for event in events).encode()
        if lines and file.write(lines) != len(lines):
            file.truncate(size)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        return events[-1].sequence if events else sequence


def last_event(file: FileIO) -> tuple[int, int]:
    """Sequence number of the file's last whole event, and where its line ends; (0, 0) when it has none.

    What stands behind it is left of a write that a full disk or a kill cut off, and is written again.
    """
    end = file.seek(0, os.SEEK_END)
    start = max(end - TAIL_BYTES, 0)
    file.seek(start)
    text = file.read(end - start)
    while (newline := text.rfind(b"\n")) >= 0:
        before = text.rfind(b"\n", 0, newline) + 1
        try:
            return int(json.loads(text[before:newline])["sequence"]), start + newline + 1
        except (ValueError, KeyError, TypeError):
            text = text[:before]
    return 0, 0
