"""`validate`: check a sweep file or overrides without starting anything."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterable
from pathlib import Path

from metta_sweep.cli.main import add_config_arguments


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_config_arguments(parser)


def run(args: argparse.Namespace) -> int:
    from metta_sweep.config import load_sweep_job, validate_file
    from metta_sweep.driver.cluster import slots_of

    config_dirs = [Path(path) for path in args.config_dir]
    files = [text for text in args.overrides if "=" not in text and Path(text).suffix in (".yaml", ".yml")]
    overrides = [text for text in args.overrides if text not in files]
    for file in files:
        show_notes(validate_file(Path(file), overrides, config_dirs=config_dirs, environ=os.environ).notes)
        print(f"{file}: valid")
    if not files:
        job = load_sweep_job(overrides, config_dirs=config_dirs, environ=os.environ)
        show_notes(job.notes)
        slots_of(job.resources, job.machine, os.environ)  # a file is valid anywhere, a job has to fit where it would run
        print(f"{job.sweep_name}: valid")
    return 0


def show_notes(notes: Iterable[str]) -> None:
    for note in notes:
        print(f"note: {note}")
