"""`train`: train and evaluate one policy, for example with the patch that `best` wrote."""

from __future__ import annotations

import argparse
import os
import sys
from typing import TYPE_CHECKING

from metta_sweep.cli.commands import add_config_arguments

if TYPE_CHECKING:
    from rich.console import Console

    from metta_sweep.config import TrainJob
    from trainables.result import Progress, RunResult


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_config_arguments(parser)
    parser.add_argument("--json", action="store_true", help="print the result as JSON for programs")


def run(args: argparse.Namespace) -> int:
    from metta_sweep.driver.single import train_one

    job, console = begin(args)
    console.print(f"run {job.run}: files in {job.directory}", highlight=False, soft_wrap=True)

    def say(text: str) -> None:
        console.print(text, highlight=False, soft_wrap=True, markup=False)

    result = train_one(job, os.environ, Reporter(console), say)
    return finish(job, result, console, as_json=args.json)


def begin(args: argparse.Namespace) -> tuple[TrainJob, Console]:
    """The run that the words describe, and where to talk about it; says what is configured to no effect."""
    from metta_sweep.config import load_train_job
    from metta_sweep.driver.display import new_console

    job = load_train_job(args.overrides, config_dirs=args.config_dirs, environ=os.environ)
    os.umask(job.umask)
    console = new_console(sys.stderr if args.json else sys.stdout)
    for note in job.notes:
        console.print(f"note: {note}", highlight=False, markup=False, soft_wrap=True)
    return job, console


class Reporter:
    """One line now and then, and one for each point of the learning curve."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._said_share = -1

    def __call__(self, progress: Progress) -> None:
        tenths = int(10 * progress.env_steps / progress.total_env_steps) if progress.total_env_steps else 0
        if progress.point is None and tenths == self._said_share:
            return
        self._said_share = tenths
        score = f"  score {progress.point.score:.4g}" if progress.point else ""
        done = f"{progress.env_steps:>12,} / {progress.total_env_steps:,} steps"
        self._console.print(f"{done}  {progress.steps_per_second:,.0f} steps/s{score}", highlight=False)


def finish(job: TrainJob, result: RunResult, console: Console, *, as_json: bool) -> int:
    """Show the result; exit code 1 when the run failed."""
    from metta_sweep.analysis.duration import elapsed
    from metta_sweep.cli.readers import print_json
    from metta_sweep.driver.summary import score_line

    if as_json:
        print_json(result.to_dict())
    elif result.score is None:
        line = f"{result.outcome}: {result.message}; see {job.directory}/train.log"
        console.print(line, highlight=False, soft_wrap=True, markup=False)
    else:
        total = result.costs.total
        console.print(f"{result.outcome}: {score_line(result.score, result.standard_error)}", highlight=False)
        steps = f"{result.env_steps:,} steps, " if result.env_steps else ""
        console.print(f"  {steps}wall {elapsed(total.wall_seconds)}, CPU {elapsed(total.cpu_seconds)}", highlight=False)
    return 0 if result.outcome.is_good else 1
