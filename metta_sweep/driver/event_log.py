"""`events.jsonl`: the registry's log of a sweep as a file, for people and scripts."""

from __future__ import annotations

import fcntl
import json
from dataclasses import asdict
from pathlib import Path

from metta_sweep.registry.api import Registry


def copy_events(registry: Registry, sweep: str, path: Path) -> None:
    """Append what the registry logged since the file's last line. Drivers that share the file take turns.

    Raises:
        RegistryError: the registry cannot be read; the file stays as it is.
    """
    with path.open("a+", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        events = registry.events(sweep, after=last_sequence(path))
        file.writelines(json.dumps(asdict(event)) + "\n" for event in events)


def last_sequence(path: Path) -> int:
    """Sequence number on the file's last whole line; 0 when it has none."""
    size = path.stat().st_size
    with path.open("rb") as file:
        file.seek(max(size - 65_536, 0))  # an event holds a log tail of 8 kB at most
        lines = [line for line in file.read().split(b"\n") if line]
    return int(json.loads(lines[-1])["sequence"]) if lines else 0
