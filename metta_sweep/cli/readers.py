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
    from metta_sweep.config.registered import Location
    from metta_sweep.registry.api import Registry
    from metta_sweep.registry.reader import Reader

Store = TypeVar("Store")


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

    location = locate(args, need_sweep=need_sweep)
    with closing(open_reader(location.data_dir, location.sweep_server_uri)) as reader:
        if location.sweep_name:
            reader.get_sweep(location.sweep_name)
        yield OpenSweep(reader, location)


@contextmanager
def opened(args: argparse.Namespace, *, must_exist: bool = True) -> Iterator[OpenSweep[Registry]]:
    """The same for writing.

    Raises:
        ConfigError: no sweep is named.
        UnknownSweep: it does not exist; names the nearest.
    """
    from metta_sweep.registry.open import open_registry

    location = locate(args, need_sweep=True)
    with closing(open_registry(location.data_dir, location.sweep_server_uri)) as registry:
        if must_exist:
            registry.get_sweep(location.sweep_name)
        yield OpenSweep(registry, location)


def locate(args: argparse.Namespace, *, need_sweep: bool, environ: Mapping[str, str] = os.environ) -> Location:
    """Which sweep in which registry the words and flags name; from now on `share_files` says who reads our files."""
    from metta_sweep.config.registered import load_location

    overrides = [*args.overrides, *([f"sweep_name={args.sweep_name}"] if args.sweep_name else [])]
    location = load_location(overrides, config_dirs=args.config_dirs, environ=environ, need_sweep=need_sweep)
    os.umask(location.umask)
    return location


def print_json(value: Any) -> None:
    """One JSON document on standard output."""
    print(json.dumps(value, indent=2, default=str))
