"""`stop`: let a sweep's running runs finish, or end them now; every driver of the sweep obeys within seconds."""

from __future__ import annotations

import argparse
import time
from typing import TYPE_CHECKING

from metta_sweep.cli.readers import add_reader_arguments, opened, print_json
from metta_sweep.registry.records import SweepState

if TYPE_CHECKING:
    from metta_sweep.analysis.overview import Overview


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_reader_arguments(parser)
    now = parser.add_argument("--now", action="store_true")
    now.help = "end running runs now, each with a checkpoint; `run` continues them"


def run(args: argparse.Namespace) -> int:
    from metta_sweep.analysis.overview import overview

    state = SweepState.STOPPED if args.now else SweepState.DRAINING
    with opened(args) as source:
        now = overview(source.registry, source.sweep_name, time.time(), recommends=False)
        if now.ending is not None and now.ending.is_finished:
            return say_finished(now, as_json=args.json)
        source.registry.set_sweep_state(source.sweep_name, state, by="stop", reason="stop command")
    what = "running runs write a checkpoint and end" if args.now else "running runs finish; no new ones start"
    if not now.drivers:
        what = "nothing runs, and nothing new starts"
    if args.json:
        print_json({"sweep": source.sweep_name, "state": state.value})
    else:
        print(f"{source.sweep_name}: {what}. `run` with the same words continues the sweep.")
    return 0


def say_finished(now: Overview, *, as_json: bool) -> int:
    """There is nothing to stop."""
    name, reason = now.sweep.name, now.ending.reason if now.ending is not None else ""
    if as_json:
        print_json({"sweep": name, "state": now.sweep.state.value, "finished": reason})
    else:
        print(f"{name}: nothing runs; it is finished: {reason}")
    return 0
