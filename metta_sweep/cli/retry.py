"""`retry`: run failed runs again, under their own ids and with their own parameters."""

from __future__ import annotations

import argparse
import time

from metta_sweep.cli.readers import add_reader_arguments, opened, print_json
from metta_sweep.registry.records import RunState


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_reader_arguments(parser)
    chosen = parser.add_argument("--run", action="append", default=[], metavar="ID")
    chosen.help = "run only this one again (repeat for several); default: all failed runs"


def run(args: argparse.Namespace) -> int:
    with opened(args) as source:
        chosen = args.run or [record.id for record in source.registry.runs(source.sweep_name, states=[RunState.FAILED])]
        for run_id in chosen:
            source.registry.retry(run_id, by="retry", key=f"{run_id}:retry:{time.time_ns()}")
    if args.json:
        print_json({"sweep": source.sweep_name, "retried": chosen})
    elif chosen:
        print(
            f"{', '.join(chosen)}: queued to run again. If no driver runs, start `run` with the same words as before."
        )
    else:
        print(f"{source.sweep_name}: no failed runs")
    return 0
