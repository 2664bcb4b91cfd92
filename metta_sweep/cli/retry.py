"""`retry`: run failed runs again, under their own ids and with their own parameters."""

from __future__ import annotations

import argparse
import time

from metta_sweep.cli.readers import add_reader_arguments, opened, print_json
from metta_sweep.registry.records import RunState


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_reader_arguments(parser)
    chosen = parser.add_argument("--run", action="append", default=[], metavar="ID")
    chosen.help = "only this run (repeat for several); default: all failed ones"


def run(args: argparse.Namespace) -> int:
    with opened(args) as source:
        chosen = args.run or [record.id for record in source.registry.runs(source.sweep_name, states=[RunState.FAILED])]
        for run_id in chosen:
            source.registry.retry(run_id, by="retry", key=f"{run_id}:retry:{time.time_ns()}")
    if args.json:
        print_json({"sweep": source.sweep_name, "retried": chosen})
    elif chosen:
        print(
            f"{', '.join(chosen)}: will run again when a driver works on the sweep; the words that started it start one"
        )
    else:
        print(f"{source.sweep_name}: no failed runs")
    return 0
