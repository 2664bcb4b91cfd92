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
    print("Reading the configuration.", flush=True)  # what is imported for it alone takes a second or two
    from metta_sweep.config import load_sweep_job
    from metta_sweep.config.registered import address_of
    from metta_sweep.driver.display import new_console, say
    from metta_sweep.driver.memory import register
    from metta_sweep.driver.plan import plan_from
    from metta_sweep.driver.summary import print_plan, print_summary
    from metta_sweep.ray_cluster.cluster import slots_of
    from metta_sweep.registry.open import open_registry

    job = load_sweep_job(args.overrides, config_dirs=args.config_dirs, environ=os.environ)
    os.umask(job.umask)
    console = new_console(sys.stdout, plain=args.verbose)
    for note in job.notes:
        console.print(f"note: {note}", highlight=False, markup=False)
    is_local = not os.environ.get("RAY_ADDRESS")
    slots = slots_of(job.resources, job.machine, os.environ) if is_local else 1  # what fits nowhere leaves no trace
    with closing(open_registry(job.data_dir, job.settings.sweep_server_uri)) as registry:
        job = register(job, registry, update=args.update)
        if is_local:
            print_plan(plan_from(registry, job, max(slots, 1)), console)
        say("Starting Ray on this machine." if is_local else "Connecting to Ray.", console)
        from metta_sweep.driver.sweep import RunCommand, run_sweep  # Ray takes seconds to import: after the plan

        command = RunCommand(may_restart=True, begun=process_began(), is_planned=is_local)
        ending = run_sweep(job, registry, os.environ, console, command)
        place = job.data_dir, job.settings.sweep_server_uri
        address = address_of(*place, args.overrides, os.environ, args.config_dirs)
        print_summary(job.sweep_name, registry, ending, console, address)
    return ending.exit_code


def process_began() -> float:
    """When this process was started, as `time.monotonic` counts."""
    import psutil

    return time.monotonic() - (time.time() - psutil.Process().create_time())
