"""`run`: start a sweep, or continue it."""

from __future__ import annotations

import argparse
import os
import sys
import time
from contextlib import closing

from metta_sweep.cli.commands import add_config_arguments


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_config_arguments(parser)
    parser.add_argument("--update", action="store_true", help="continue the sweep with a changed specification")


def run(args: argparse.Namespace) -> int:

    from metta_sweep.config import load_sweep_job
    from metta_sweep.driver.display import new_console
    from metta_sweep.driver.summary import print_summary
    from metta_sweep.driver.sweep import RunCommand, run_sweep
    from metta_sweep.ray_cluster.cluster import slots_of
    from metta_sweep.registry.open import open_registry

    job = load_sweep_job(args.overrides, config_dirs=args.config_dirs, environ=os.environ)
    os.umask(job.umask)
    console = new_console(sys.stdout, plain=args.verbose)
    for note in job.notes:
        console.print(f"note: {note}", highlight=False, markup=False)
    if not os.environ.get("RAY_ADDRESS"):
        slots_of(job.resources, job.machine, os.environ)  # what fits nowhere leaves no trace
    with closing(open_registry(job.data_dir, job.settings.sweep_server_uri)) as registry:
        mirror = {"wandb_entity": job.wandb.entity, "wandb_project": job.wandb.project}
        registry.create_sweep(job.sweep_name, job.spec_yaml, **mirror, update=args.update)
        ending = run_sweep(job, registry, os.environ, console, RunCommand(may_restart=True, begun=process_began()))
        print_summary(job.sweep_name, registry, ending, console)
    return ending.exit_code


def process_began() -> float:
    """When this process was started, as `time.monotonic` counts."""
    import psutil

    return time.monotonic() - (time.time() - psutil.Process().create_time())
