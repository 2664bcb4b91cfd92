"""`import-wandb`: bring a sweep that lives only in WandB into the registry."""

from __future__ import annotations

import argparse
from dataclasses import asdict

from metta_sweep.cli.readers import add_reader_arguments, opened, print_json


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_reader_arguments(parser)
    parser.add_argument("--entity", default="", help="WandB entity (default: the configuration's, else the key's own)")
    parser.add_argument("--project", default="", help="WandB project (default: the configuration's)")
    parser.add_argument("--goal", choices=("maximize", "minimize"), default="maximize", help="which scores are better")


def run(args: argparse.Namespace) -> int:
    from metta_sweep.tracking.wandb_import import import_wandb

    with opened(args, must_exist=False) as source:
        location = source.location
        entity, project = args.entity or location.wandb.entity, args.project or location.wandb.project
        limit = location.max_observations_to_load
        report = import_wandb(entity, project, source.sweep_name, source.registry, limit, goal=args.goal)
    if args.json:
        print_json({"sweep": source.sweep_name, **asdict(report)})
        return 0
    counts = f"{len(report.imported)} runs imported, {report.known} known already, {len(report.skipped)} skipped"
    print(f"{source.sweep_name}: {counts}")
    for run_id, reason in report.skipped.items():
        print(f"  {run_id}: {reason}")
    return 0
