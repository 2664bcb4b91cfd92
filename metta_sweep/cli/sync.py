"""`sync`: bring WandB up to date from what is on disk."""

from __future__ import annotations

import argparse
import os
from dataclasses import asdict

from metta_sweep.cli.readers import add_reader_arguments, print_json, reading


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_reader_arguments(parser)
    parser.add_argument("--replay", action="store_true", help="send everything again, as after its project was deleted")


def run(args: argparse.Namespace) -> int:
    from metta_sweep.tracking.job import MirrorJob, check_wandb_answers, resolve_mode
    from metta_sweep.tracking.mirror_process import sync

    with reading(args) as source:
        location, wandb = source.location, source.location.wandb
    where = (source.sweep_name, location.data_dir, location.sweep_server_uri)
    mode = resolve_mode(wandb.mode, os.environ)
    if mode == "online":
        check_wandb_answers(os.environ)
    report = sync(MirrorJob(*where, mode, wandb.entity, wandb.project, wandb.tags), replay=args.replay)
    if args.json:
        print_json({"sweep": source.sweep_name, **asdict(report)})
    else:
        counts = f"{len(report.mirrored)} runs sent, {report.up_to_date} were up to date, {len(report.failed)} failed"
        print(f"{source.sweep_name} ({report.mode}): {counts}")
        for run_id, reason in report.failed.items():
            print(f"  {run_id}: {reason}")
    return 1 if report.failed else 0
