"""Which commands there are, where each lives, and the arguments that they share."""

from __future__ import annotations

import argparse
from pathlib import Path

COMMANDS = {
    "run": "start a sweep, or continue it",
    "plan": "show what a sweep will do and cost; nothing is started",
    "validate": "check a sweep file or overrides; asks the program for its --help, starts no run",
    "status": "show what a sweep is doing and what it has found",
    "best": "show the best configurations; write a patch file to train with",
    "dashboard": "serve a page that shows where the money goes and what it bought",
    "report": "write the dashboard's figures of one sweep into a single HTML file",
    "stop": "let a sweep's running runs finish, or end them now",
    "retry": "run failed runs again, under their own ids",
    "delete": "remove a sweep from the registry, for good",
    "train": "train one policy, for example with the patch that `best` wrote",
    "evaluate": "evaluate a trained policy on a simulation suite",
    "serve": "serve the registry to several drivers",
    "token": "create, list and revoke the tokens of a registry service",
    "sync": "send WandB what it lacks, from the files on disk",
    "cluster": "start or end a Ray cluster, and submit sweeps to it",
    "import-wandb": "copy a sweep that only WandB has into the registry",
    "convert": "rewrite a W&B sweep file as one of ours, on standard output",
    "completion": "let a shell complete commands, flags, configs and sweeps",
}
OVERRIDES_HELP = "configuration in Hydra's grammar: key=value, +key=value, ++key=value, ~key, group=option"


def module_of(name: str) -> str:
    """Where a command lives."""
    return f"metta_sweep.cli.{name.replace('-', '_')}"


CONFIG_DIR_HELP = "a directory with your own configs; it is searched first"
VERBOSE_HELP = "show the log on standard error"


def add_common_arguments(parser: argparse.ArgumentParser, name: str = "") -> None:
    """What every command takes; `name` is the command's."""
    more = ", and lines instead of a live table" if name == "run" else ""
    parser.add_argument("-v", "--verbose", action="store_true", help=f"{VERBOSE_HELP}{more}")


def add_config_arguments(parser: argparse.ArgumentParser) -> None:
    """What every command that composes a configuration takes."""
    parser.add_argument("overrides", nargs="*", metavar="key=value", help=OVERRIDES_HELP)
    parser.add_argument(
        "--config-dir", action="append", type=Path, default=[], metavar="DIR", help=CONFIG_DIR_HELP, dest="config_dirs"
    )
