"""`evaluate`: play a simulation suite with a trained policy."""

from __future__ import annotations

import argparse
import os

from metta_sweep.cli.train import add_arguments as add_arguments  # the same as those of `train`
from metta_sweep.cli.train import begin, finish


def run(args: argparse.Namespace) -> int:
    from metta_sweep.driver.single import evaluate_one

    job, console = begin(args)
    result = evaluate_one(job, os.environ)
    if not args.json:
        for name, value in sorted(result.metrics.items()):
            console.print(f"  {name:<40} {value:.4g}", highlight=False)
    return finish(job, result, console, as_json=args.json)
