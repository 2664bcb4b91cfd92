"""What a shell asks while somebody types: commands, flags, config groups and their options, sweeps of the registry."""

from __future__ import annotations

import argparse
import importlib
import os
import shlex
from collections.abc import Callable, Iterable
from contextlib import closing
from pathlib import Path

from metta_sweep.cli.commands import COMMANDS, add_common_arguments, module_of
from metta_sweep.errors import SweepError

SWEEP_KEYS = ("sweep_name", "run")
# Words for groups that the pages know.
GROUP_ALIASES = {"sim_name": "sim"}


def complete() -> None:
    """Answer the shell through argcomplete, which speaks with bash, zsh and fish; ends the process."""
    import argcomplete

    argcomplete.autocomplete(parser_for(os.environ.get("COMP_LINE", "")), always_complete_options=False)


def parser_for(line: str) -> argparse.ArgumentParser:
    """A parser that knows all commands, and the arguments of the one on the line: the others need not be imported."""
    words = set(split(line))
    parser = argparse.ArgumentParser(prog="metta-sweep")
    commands = parser.add_subparsers()
    for name, text in COMMANDS.items():
        command = commands.add_parser(name, help=text)
        if name in words:
            importlib.import_module(module_of(name)).add_arguments(command)
            add_common_arguments(command)
            attach(command, split(line))
    return parser


def split(line: str) -> list[str]:
    """Words of a line that may end within a quoted word."""
    try:
        return shlex.split(line)
    except ValueError:
        return line.split()


def attach(parser: argparse.ArgumentParser, words: list[str]) -> None:
    """Give the arguments that are more than fixed choices what completes them."""
    completers: dict[str, Callable[..., Iterable[str]]] = {
        "overrides": lambda prefix, parsed_args, **_: override_words(
            prefix, words, getattr(parsed_args, "config_dirs", None) or []
        ),
        "sweep_name": lambda prefix, **_: sweep_names(words),
    }
    for action in parser._actions:
        if action.dest in completers:
            action.completer = completers[action.dest]  # type: ignore[attr-defined]  # where argcomplete looks


def override_words(prefix: str, words: list[str], own: list[Path]) -> list[str]:
    """Words in Hydra's grammar that begin like `prefix`: `key=` for groups and the sweep's name, then their values."""
    from metta_sweep.config import files

    directories = files.search_directories([path for path in own if path.is_dir()])
    marks = prefix[: len(prefix) - len(prefix.lstrip("+~"))]
    key, equals, _ = prefix.lstrip("+~").partition("=")
    if not equals:
        names = sorted({*files.groups(directories), *SWEEP_KEYS, *GROUP_ALIASES})
        return [f"{marks}{name}=" for name in names if not is_shadowed(name)]
    values = sweep_names(words) if key in SWEEP_KEYS else files.options(directories, GROUP_ALIASES.get(key, key))
    return [f"{marks}{key}={value}" for value in values]


def is_shadowed(group: str) -> bool:
    """Directories inside a group only sort its options (`env/mettagrid`); a patch is a group of its own."""
    return "/" in group and group != "trainer/patch"


def sweep_names(words: list[str]) -> list[str]:
    """Sweeps of the registry that the line names; none when it cannot be reached: a completion never complains."""
    from metta_sweep.config.registered import load_location
    from metta_sweep.registry.reader import open_reader

    where = [word for word in words if word.lstrip("+").startswith(("data_dir=", "settings.sweep_server_uri="))]
    try:
        location = load_location(where, os.environ, need_sweep=False)
        with closing(open_reader(location.data_dir, location.sweep_server_uri)) as reader:
            return [sweep.name for sweep in reader.list_sweeps()]
    except SweepError:
        return []
