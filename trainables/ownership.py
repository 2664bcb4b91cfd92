"""Whose files lie in a directory: a mark in it says so.

What is somebody else's is moved aside, never taken for one's own.

Directories are named after runs, and names come back: a registry is deleted or another one is used, `train` gets
another configuration.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

import yaml

from trainables.disk import is_partial
from trainables.run_files import RunFiles

MARK = "belongs_to.json"  # file that says whose directory it is
ASIDE = "earlier-"  # begins the name of what another run left there
# Say where and how fast a run trains, and not what: another machine may go on with it.
NOT_TRAINED = ("device", "resources", "code_version", "trainer.num_workers", "trainer.checkpoint")


def run_mark(sweep_id: str, run: str, mapping: Mapping[str, Any]) -> dict[str, str]:
    """What a run's directory and its checkpoints are marked with.

    Args:
        sweep_id: id of the sweep in its registry; "" for a run of its own.
        run: id of the run.
        mapping: its resolved configuration, the searched values in it.
    """
    trained = _without(mapping, NOT_TRAINED)
    text = json.dumps({"sweep": sweep_id, "run": run, "trained": trained}, sort_keys=True, default=str)
    return {"sweep": sweep_id, "run": run, "hash": hashlib.sha256(text.encode()).hexdigest()}


def claim(
    directory: Path,
    mark: Mapping[str, str],
    *,
    keep: Collection[str] = (),
    fits: Callable[[], bool] = lambda: False,
    before_moving: Callable[[], None] = lambda: None,
) -> Path | None:
    """Makes the directory ours: with another mark than ours, its content is moved into `earlier-1` (-2, ...) below it.

    Args:
        directory: made when missing.
        mark: ours.
        keep: names that stay where they are.
        fits: whether the content of a directory without a mark, as the version before left it, is ours.
        before_moving: called when there is something to move; may raise to leave everything as it is.

    Returns:
        Where the content is now; None when nothing was moved.

    Raises:
        OSError: the disk is full, or not ours to write.
    """
    directory.mkdir(parents=True, exist_ok=True)
    with (directory / MARK).open("a+", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # drivers that start together take turns
        file.seek(0)
        known = file.read()
        if known and _read(known) == dict(mark):
            return None
        foreign = [] if not known and fits() else _content(directory, keep)
        if foreign:
            before_moving()
        aside = _move_aside(directory, foreign) if foreign else None
        file.truncate(0)
        file.write(json.dumps(dict(mark)) + "\n")
        file.flush()
        os.fsync(file.fileno())
    return aside


def claim_run(directory: Path, mark: Mapping[str, str], mapping: Mapping[str, Any]) -> Path | None:
    """`claim` for a run: what its driver writes stays.

    A directory without a mark is ours when it was trained with the same configuration.
    """

    def fits() -> bool:
        earlier = _configuration_in(directory)
        return earlier is not None and run_mark("", "", earlier) == run_mark("", "", mapping)

    return claim(directory, mark, keep=RunFiles.OF_DRIVER, fits=fits)


def moved_text(directory: Path, aside: Path, why: str) -> str:
    """One line for a person."""
    return f"{directory}: {why}; what was there is now in {aside.name}, and nothing of it is used"


def _configuration_in(directory: Path) -> Mapping[str, Any] | None:
    """What an earlier driver noted as the run's configuration."""
    try:
        content = yaml.safe_load(RunFiles(directory).configuration.read_text(encoding="utf-8"))
    except (FileNotFoundError, yaml.YAMLError):
        return None
    return content if isinstance(content, Mapping) else None


def _read(text: str) -> Any:
    """A mark that a crash cut short is nobody's."""
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return None


def _content(directory: Path, keep: Collection[str]) -> list[Path]:
    """What may be somebody else's; not what is written at this moment: a driver notes a run while its worker begins."""
    entries = sorted(path for path in directory.iterdir() if not is_partial(path))
    return [path for path in entries if path.name not in (MARK, *keep) and not path.name.startswith(ASIDE)]


def _move_aside(directory: Path, content: list[Path]) -> Path:
    number = 1
    while (aside := directory / f"{ASIDE}{number}").exists():
        number += 1
    aside.mkdir()
    for path in content:
        path.rename(aside / path.name)
    return aside


def _without(mapping: Mapping[str, Any], keys: Collection[str]) -> dict[str, Any]:
    """The mapping without these dotted keys."""
    inner = {name: [key.partition(".")[2] for key in keys if key.startswith(f"{name}.")] for name in mapping}
    return {
        name: _without(value, inner[name]) if inner[name] and isinstance(value, Mapping) else value
        for name, value in mapping.items()
        if name not in keys
    }
