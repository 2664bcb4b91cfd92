"""`stop`: let a sweep's running runs finish, or end them now; every driver of the sweep obeys within seconds."""

from __future__ import annotations

import argparse

from metta_sweep.cli.readers import add_reader_arguments, opened, print_json
from metta_sweep.registry.records import SweepState


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_reader_arguments(parser)
    now = parser.add_argument("--now", action="store_true")
    now.help = "running runs write a checkpoint and end; `run` continues them"


def run(args: argparse.Namespace) -> int:
    state = SweepState.STOPPED if args.now else SweepState.DRAINING
    with opened(args) as source:
        source.registry.set_sweep_state(source.sweep_name, state, by="stop", reason="stop command")
    what = "running runs write a checkpoint and end" if args.now else "running runs finish, no new ones start"
    if args.json:
        print_json({"sweep": source.sweep_name, "state": state.value})
    else:
        print(f"{source.sweep_name}: {what}; `run` with the same words continues it")
    return 0
