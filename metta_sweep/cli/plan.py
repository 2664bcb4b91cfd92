"""`plan`: what a sweep will do and cost; starts nothing and writes nothing."""

from __future__ import annotations

import argparse
import sys
from contextlib import closing
from dataclasses import asdict

from metta_sweep.cli.commands import add_config_arguments
from metta_sweep.cli.validate import add_cluster_argument, place_of


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_config_arguments(parser)
    add_cluster_argument(parser)
    parser.add_argument("--json", action="store_true", help="print JSON for programs")


def run(args: argparse.Namespace) -> int:
    if not args.json:
        print("Reading the configuration.", flush=True)  # what is imported for it alone takes a second or two
    from metta_sweep.cli.readers import print_json
    from metta_sweep.config import load_sweep_job
    from metta_sweep.driver.display import new_console
    from metta_sweep.driver.memory import decided
    from metta_sweep.driver.plan import plan_from
    from metta_sweep.driver.summary import print_plan
    from metta_sweep.registry.reader import open_reader

    place = place_of(args)
    job = load_sweep_job(args.overrides, config_dirs=args.config_dirs, environ=place.environ)
    slots = place.slots(job)
    with closing(open_reader(job.data_dir, job.settings.sweep_server_uri)) as reader:
        plan = plan_from(reader, decided(job, reader), slots)
    if args.json:
        print_json(asdict(plan))
        return 0
    console = new_console(sys.stdout)
    for note in job.notes:
        console.print(f"note: {note}", highlight=False, markup=False)
    print_plan(plan, console)
    return 0
