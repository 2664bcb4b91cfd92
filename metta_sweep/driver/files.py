"""Files of a sweep that the driver writes (design: files of a sweep), and whose directory it is."""

from __future__ import annotations

import errno
import fcntl
import json
import logging
import os
from collections.abc import Callable, Mapping
from dataclasses import asdict
from functools import partial
from io import FileIO
from pathlib import Path
from typing import Any

import yaml

from metta_sweep.config.job import SweepJob
from metta_sweep.driver.messages import Tell
from metta_sweep.errors import ConfigError
from metta_sweep.registry.api import Registry
from metta_sweep.registry.outbox import has_living_owner
from metta_sweep.registry.records import RunRecord, SweepRecord
from trainables.disk import PRIVATE, allot, write_whole
from trainables.errors import SpecError
from trainables.ownership import claim, claim_run, moved_text, run_mark
from trainables.spec import RunSpec

logger = logging.getLogger(__name__)

RUN_CONFIG = "train_config_overrides.yaml"  # trainables know runs of earlier versions by it, too
# libyaml's is several times faster; both write the same.
DUMPER: type = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


def write_run_files(directory: Path, record: RunRecord, spec: RunSpec | SpecError) -> None:
    """Write suggestion, optimiser state and, of a point that makes one, the configuration of a run as reserved."""
    directory.mkdir(parents=True, exist_ok=True)
    suggestion = {"protein": {"run": record.id, "phase": record.phase, "suggestion": dict(record.params)}}
    state = {
        "protein": {
            "number": record.number,
            "phase": record.phase,
            "observations": record.cursor,
            "predicted_score": record.predicted_score,
            "predicted_cost_seconds": record.predicted_cost,
            "explanation": dict(record.explanation),
        }
    }
    write_yaml(directory / "protein_suggestion.yaml", suggestion)
    write_yaml(directory / "protein_state.yaml", state)
    if isinstance(spec, RunSpec):
        write_run_config(directory, spec.mapping)


def write_run_config(directory: Path, spec: Mapping[str, Any]) -> None:
    """`train_config_overrides.yaml`: what the run gets, sorted, so that `diff` shows how two runs differ."""
    write_yaml(directory / RUN_CONFIG, spec, sort_keys=True)


def write_yaml(path: Path, content: Mapping[str, Any], *, sort_keys: bool = False) -> None:
    """Write a YAML file, whole."""
    write_whole(path, yaml.dump(dict(content), Dumper=DUMPER, sort_keys=sort_keys, allow_unicode=True))


TAIL_BYTES = 1_048_576  # an event holds a log tail of 8 kB, a specification's difference, or a note of another's


def copy_events(registry: Registry, sweep: str, path: Path) -> int:
    """Append what the registry logged since the file's last line. Drivers that share the file take turns.

    Returns the sequence number of the registry's last event. Raises `RegistryError`; the file stays as it is then.
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


MOVED_ASIDE = "moved_aside"  # kind of the event in the registry


def prepare_directory(job: SweepJob, registry: Registry, say: Callable[[str], None]) -> None:
    """The sweep's directory, its own and for whom `share_files` says; what earlier versions left open is closed."""
    job.directory.mkdir(parents=True, exist_ok=True)
    allot(job.directory.parent, job.umask, below=False)
    if allot(job.directory, job.umask):
        who = "you" if job.umask == PRIVATE else "you and the directory's group"
        say(f"note: {job.directory}: its files are for {who} now (share_files)")
    claim_sweep_directory(job, registry, say)


def claim_sweep_directory(job: SweepJob, registry: Registry, say: Callable[[str], None]) -> None:
    """Mark the directory with the sweep's id.

    What another sweep of this name left (runs, checkpoints, undelivered results) is moved aside and said. Raises
    `ConfigError` when a driver of that other sweep is at work in it.
    """
    sweep = registry.get_sweep(job.sweep_name)

    def refuse_while_in_use() -> None:
        if has_living_owner(job.directory / "outbox"):
            who = f"a driver of another sweep {job.sweep_name!r}, in another registry, is at work in {job.directory}"
            raise ConfigError(f"data_dir={job.data_dir}: {who}; use another data_dir or sweep_name")

    mark = {"sweep": sweep.id, "sweep_name": sweep.name}
    fits = partial(has_events_of, job.directory, sweep, registry)
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


def set_aside(directory: Path, sweep_id: str, run_id: str, spec: Mapping[str, Any]) -> Tell | None:
    """What to tell when a run begins anew, because what lies in its directory is of another configuration."""
    try:
        aside = claim_run(directory, run_mark(sweep_id, run_id, spec), spec) if directory.exists() else None
    except OSError as error:
        logger.warning("%s: %s; its worker looks again", directory, error)
        return None
    if aside is None:
        return None
    text = moved_text(directory, aside, f"files of {run_id} with another configuration")
    return Tell(MOVED_ASIDE, text, {"run": run_id, "directory": str(aside)})
