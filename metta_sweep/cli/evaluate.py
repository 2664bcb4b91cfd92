"""`evaluate`: play a simulation suite with a trained policy."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from metta_sweep.cli.commands import add_config_arguments


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_config_arguments(parser)
    parser.add_argument("--json", action="store_true", help="print the result as JSON for programs")


def run(args: argparse.Namespace) -> int:
    from metta_sweep.cli.train import finish, show_notes
    from metta_sweep.config import load_train_job
    from metta_sweep.driver.display import new_console
    from metta_sweep.driver.single import evaluate_one

    job = load_train_job(args.overrides, config_dirs=[Path(path) for path in args.config_dir], environ=os.environ)
    os.umask(job.umask)
    console = new_console(sys.stderr if args.json else sys.stdout)
    show_notes(job, console)
    result = evaluate_one(job, os.environ)
    if not args.json:
        for name, value in sorted(result.metrics.items()):
            console.print(f"  {name:<40} {value:.4g}", highlight=False)
    return finish(job, result, console, as_json=args.json)
