"""The sweep's directory belongs to the sweep that the registry knows, not to whatever had its name before."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from metta_sweep.config.job import SweepJob
from metta_sweep.errors import ConfigError
from metta_sweep.registry.api import Registry
from metta_sweep.registry.outbox import has_living_owner
from metta_sweep.registry.records import SweepRecord
from trainables.ownership import claim, moved_text

MOVED_ASIDE = "moved_aside"


def claim_sweep_directory(job: SweepJob, registry: Registry, say: Callable[[str], None]) -> None:
    """Mark the directory with the sweep's id.

    What another sweep of this name left (runs, checkpoints, undelivered results) is moved aside and said.

    Raises:
        ConfigError: a driver of that other sweep is at work in it.
    """
    sweep = registry.get_sweep(job.sweep_name)

    def refuse_while_in_use() -> None:
        if has_living_owner(job.directory / "outbox"):
            raise ConfigError(
                f"data_dir={job.data_dir}: a driver of another sweep {job.sweep_name!r}, in another registry, "
                f"is at work in {job.directory}; use another data_dir or sweep_name"
            )

    def fits() -> bool:
        return has_events_of(job.directory, sweep, registry)

    mark = {"sweep": sweep.id, "sweep_name": sweep.name}
    aside = claim(job.directory, mark, fits=fits, before_moving=refuse_while_in_use)
    if aside is None:
        return
    text = moved_text(job.directory, aside, f"another sweep was called {sweep.name} before, in another registry")
    say(text)
    registry.add_event(sweep.name, MOVED_ASIDE, run_id=None, by="run", detail={"text": text, "directory": str(aside)})


def has_events_of(directory: Path, sweep: SweepRecord, registry: Registry) -> bool:
    """Whether the log of a directory without a mark, as the version before left it, begins as the sweep's own."""
    try:
        with (directory / "events.jsonl").open(encoding="utf-8") as file:
            first = json.loads(file.readline())
    except (FileNotFoundError, json.JSONDecodeError):
        return False
    return any((event.at, event.kind) == (first["at"], first["kind"]) for event in registry.events(sweep.name, limit=1))
