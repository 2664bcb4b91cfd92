"""`delete`: remove a sweep from the registry, for good; it need not be readable. Its files are moved aside."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from metta_sweep.cli.readers import add_reader_arguments, no_such_sweep, opened, print_json
from metta_sweep.errors import ConfigError, IllegalTransition, SweepError, UnknownSweep


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_reader_arguments(parser)
    parser.add_argument("--yes", action="store_true", help="do not ask")
    parser.add_argument("--force", action="store_true", help="delete it even while a driver works on it")


def run(args: argparse.Namespace) -> int:
    with opened(args, must_exist=False) as source, told_how_to_force():
        name = source.sweep_name
        try:
            count = source.registry.next_number(name)  # reads nothing else of this sweep
        except UnknownSweep:
            raise UnknownSweep(no_such_sweep(source.registry, source.location)) from None
        if not args.yes:
            confirm(name, count)
        # It was there: an answer was lost on the way, or somebody else was faster.
        with contextlib.suppress(UnknownSweep):
            source.registry.delete_sweep(name, force=args.force)
        aside = move_aside(source.location.data_dir, name)
    if args.json:
        print_json({"sweep": name, "runs": count, "files": str(aside) if aside else None})
    else:
        print(f"{name}: deleted with its {count} runs" + (f"; its files are now in {aside}" if aside else ""))
    return 0


@contextlib.contextmanager
def told_how_to_force() -> Iterator[None]:
    """A refusal while somebody works on the sweep is an answer, no trouble with the registry."""
    try:
        yield
    except IllegalTransition as error:
        raise ConfigError(f"{error}: --force") from error


def confirm(name: str, count: int) -> None:
    """Let the user type the sweep's name.

    Raises:
        ConfigError: another answer, or nobody to ask.
    """
    if not sys.stdin.isatty():
        raise ConfigError(f"sweep_name={name}: {count} runs would be deleted for good; add --yes to do it")
    what = f"This deletes sweep {name} with its {count} runs from the registry, for good."
    print(f"{what} Type its name to go on: ", end="", flush=True)
    if sys.stdin.readline().strip() != name:
        raise ConfigError(f"sweep_name={name}: nothing was deleted")


def move_aside(data_dir: Path, name: str) -> Path | None:
    """Keep the sweep's files where no later sweep of this name finds them.

    Returns where; None when there are none here.

    Raises:
        SweepError: the disk does not allow it.
    """
    directory = data_dir / "sweep" / name
    if not directory.is_dir():
        return None
    aside = data_dir / "deleted" / f"{name}.{time.strftime('%Y%m%dT%H%M%S')}.{os.getpid()}"
    try:
        aside.parent.mkdir(exist_ok=True)
        directory.rename(aside)
    except OSError as error:
        advice = f"sweep {name} is deleted from the registry, but its files are still there; move them away yourself"
        raise SweepError(f"{directory}: {error.strerror or error}; {advice}") from error
    return aside
