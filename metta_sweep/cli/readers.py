"""What commands that read a sweep share: which sweep, which registry, and both as JSON when asked."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from metta_sweep.cli.commands import add_config_arguments

if TYPE_CHECKING:
    from pathlib import Path

    from metta_sweep.config.registered import Location
    from metta_sweep.errors import UnreadableSweep
    from metta_sweep.registry.api import Registry
    from metta_sweep.registry.reader import Reader
    from metta_sweep.typed_commands import Address

Store = TypeVar("Store")
MAX_NAMES = 10  # of sweeps in a message; a round number


@dataclass(frozen=True, slots=True)
class OpenSweep(Generic[Store]):
    """An open registry, the sweep that the user named ("" for all), and what else is configured about where."""

    registry: Store
    location: Location

    @property
    def sweep_name(self) -> str:
        return self.location.sweep_name


def add_reader_arguments(parser: argparse.ArgumentParser) -> None:
    """`sweep_name=s` in Hydra's grammar, or `--sweep-name s`; `--json` for programs."""
    add_config_arguments(parser)
    parser.add_argument("--sweep-name", default="", metavar="NAME", help="same as sweep_name=NAME")
    parser.add_argument("--json", action="store_true", help="print JSON for programs")


@contextmanager
def reading(args: argparse.Namespace, *, need_sweep: bool = True) -> Iterator[OpenSweep[Reader]]:
    """The registry that the configuration names, for reading: nothing is made or changed.

    Raises:
        ConfigError: no sweep is named although one is needed.
        UnknownSweep: it does not exist; names the nearest.
    """
    from metta_sweep.registry.reader import open_reader

    location = locate(args, need_sweep=False)
    with closing(open_reader(location.data_dir, location.sweep_server_uri)) as reader:
        if need_sweep or location.sweep_name:
            check_exists(reader, location)
        with told_how_to_remove(args, location):
            yield OpenSweep(reader, location)


@contextmanager
def opened(args: argparse.Namespace, *, must_exist: bool = True) -> Iterator[OpenSweep[Registry]]:
    """The same for writing.

    Raises:
        ConfigError: no sweep is named.
        UnknownSweep: it does not exist; names the nearest.
    """
    from metta_sweep.registry.open import open_registry

    location = locate(args, need_sweep=not must_exist)
    with closing(open_registry(location.data_dir, location.sweep_server_uri)) as registry:
        if must_exist:
            check_exists(registry, location)
        with told_how_to_remove(args, location):
            yield OpenSweep(registry, location)


@contextmanager
def told_how_to_remove(args: argparse.Namespace, location: Location) -> Iterator[None]:
    """What cannot be read is told with the command that removes it."""
    from metta_sweep.errors import UnreadableSweep

    try:
        yield
    except UnreadableSweep as error:
        raise with_removal(error, address(args, location)) from error


def with_removal(error: UnreadableSweep, at: Address) -> UnreadableSweep:
    """The same, with the command that removes it as it works from here."""
    return type(error)(error.sweep, error.reason, at.command("delete", f"sweep_name={error.sweep}"))


def address(args: argparse.Namespace, location: Location) -> Address:
    """What is added to the commands that are printed, so that they find the same sweeps."""
    from metta_sweep.config.registered import address_of

    place = location.data_dir, location.sweep_server_uri
    return address_of(*place, args.overrides, os.environ, args.config_dirs)


def locate(args: argparse.Namespace, *, need_sweep: bool, environ: Mapping[str, str] = os.environ) -> Location:
    """Which sweep in which registry the words and flags name; from now on `share_files` says who reads our files."""
    from metta_sweep.config.registered import load_location

    overrides = [*args.overrides, *([f"sweep_name={args.sweep_name}"] if args.sweep_name else [])]
    location = load_location(overrides, config_dirs=args.config_dirs, environ=environ, need_sweep=need_sweep)
    os.umask(location.umask)
    return location


def check_exists(registry: Reader, location: Location) -> None:
    """Raises `ConfigError` when no sweep is named, `UnknownSweep` when there is no such sweep; both say which are."""
    from metta_sweep.errors import ConfigError, UnknownSweep

    if not location.sweep_name:
        raise ConfigError(f"Which sweep? Add sweep_name=NAME. {found_text(registry, location)}")
    try:
        registry.get_sweep(location.sweep_name)
    except UnknownSweep:
        if not registry.list_sweeps():
            raise  # it says why there are none
        raise UnknownSweep(no_such_sweep(registry, location)) from None


def no_such_sweep(registry: Reader, location: Location) -> str:
    """One line for a sweep that is not there: where it was looked for, and what is there."""
    return f"sweep_name={location.sweep_name[:120]!r}: no such sweep. {found_text(registry, location)}"


def found_text(registry: Reader, location: Location) -> str:
    """`In ./train_dir there are: demo, pend`: the nearest to what was asked for first, then the newest."""
    import difflib

    from metta_sweep.registry.trouble import without_password

    names = [sweep.name for sweep in reversed(registry.list_sweeps())]
    near = difflib.get_close_matches(location.sweep_name, names, n=3)
    shown = list(dict.fromkeys([*near, *names]))[:MAX_NAMES]
    more = f" and {len(names) - len(shown)} more" if len(names) > len(shown) else ""
    where = without_password(location.sweep_server_uri) if location.sweep_server_uri else short_path(location.data_dir)
    if not names:
        return f"There are no sweeps in {where}; data_dir=DIRECTORY looks elsewhere"
    return f"In {where} there {'is' if len(names) == 1 else 'are'}: {', '.join(shown)}{more}"


def short_path(path: Path) -> str:
    """`./train_dir` below the current directory, else the whole path."""
    from pathlib import Path

    return f"./{path.relative_to(Path.cwd())}" if path.is_relative_to(Path.cwd()) else str(path)


def print_json(value: Any) -> None:
    """One JSON document on standard output."""
    print(json.dumps(value, indent=2, default=str))
