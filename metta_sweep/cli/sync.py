"""`sync`: bring WandB up to date from what is on disk."""

from __future__ import annotations

import argparse
import os
from dataclasses import asdict

from metta_sweep.cli.readers import add_reader_arguments, print_json, reading


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_reader_arguments(parser)
    parser.add_argument("--replay", action="store_true", help="send everything again, as after a project was deleted")


def run(args: argparse.Namespace) -> int:
    from metta_sweep.tracking.job import MirrorJob, resolve_mode
    from metta_sweep.tracking.mirror_process import sync

    with reading(args) as source:
        wandb = source.location.wandb
    mode = resolve_mode(wandb.mode, os.environ)
    location = source.location
    job = MirrorJob(
        source.sweep_name, location.data_dir, location.sweep_server_uri, mode, wandb.entity, wandb.project, wandb.tags
    )
    report = sync(job, replay=args.replay)
    if args.json:
        print_json({"sweep": source.sweep_name, **asdict(report)})
    else:
        print(
            f"{source.sweep_name} ({report.mode}): {len(report.mirrored)} runs sent, {report.up_to_date} were up to "
            f"date, {len(report.failed)} failed"
        )
        for run_id, reason in report.failed.items():
            print(f"  {run_id}: {reason}")
    return 1 if report.failed else 0
