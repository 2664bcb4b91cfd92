"""What commands that read a sweep share: which sweep, which registry, and both as JSON when asked."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from metta_sweep.cli.main import add_config_arguments
from metta_sweep.registry.api import Registry


@dataclass(frozen=True, slots=True)
class Source:
    """An open registry and the sweep that the user named ("" for all)."""

    registry: Registry
    sweep_name: str
    data_dir: Path


def add_reader_arguments(parser: argparse.ArgumentParser) -> None:
    """`sweep_name=s` in Hydra's grammar, or `--sweep-name s`; `--json` for programs."""
    add_config_arguments(parser)
    parser.add_argument("--sweep-name", default="", metavar="NAME", help="same as sweep_name=NAME")
    parser.add_argument("--json", action="store_true", help="print JSON for programs")


@contextmanager
def opened(args: argparse.Namespace, *, need_sweep: bool = True) -> Iterator[Source]:
    """Open the registry that the configuration names.

    Raises:
        ConfigError: no sweep is named although one is needed.
        UnknownSweep: it does not exist; names the nearest.
    """
    from metta_sweep.config import load_location
    from metta_sweep.registry.open import open_registry

    overrides = [*args.overrides, *([f"sweep_name={args.sweep_name}"] if args.sweep_name else [])]
    location = load_location(overrides, config_dirs=[Path(path) for path in args.config_dir], environ=os.environ, need_sweep=need_sweep)
    registry = open_registry(location.data_dir, location.sweep_server_uri)
    try:
        if location.sweep_name:
            registry.get_sweep(location.sweep_name)
        yield Source(registry, location.sweep_name, location.data_dir)
    finally:
        registry.close()


def print_json(value: Any) -> None:
    """One JSON document on standard output."""
    print(json.dumps(value, indent=2, default=str))
