"""`validate`: check a sweep file or overrides without starting anything."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from metta_sweep.cli.commands import add_config_arguments

if TYPE_CHECKING:
    from metta_sweep.capacity import Node
    from metta_sweep.config import SweepJob


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_config_arguments(parser)
    add_cluster_argument(parser)


def add_cluster_argument(parser: argparse.ArgumentParser) -> None:
    """For commands that say something of a place where nothing is started."""
    place = parser.add_argument("--for-cluster", default="", metavar="NODESxGPUS|FILE")
    place.help = "check it for a cluster instead of this machine: 4x8 means 4 nodes with 8 GPUs each; or a cluster file"


def run(args: argparse.Namespace) -> int:
    from metta_sweep.config import load_sweep_job, validate_file
    from metta_sweep.config.files import is_file_word

    files = [text for text in args.overrides if is_file_word(text)]
    overrides = [text for text in args.overrides if text not in files]
    place = place_of(args)
    for file in files:
        job = validate_file(Path(file), overrides, config_dirs=args.config_dirs, environ=place.environ)
        show_notes(job.notes)
        check_program(job, file)
        print(f"{file}: valid")
    if not files:
        job = load_sweep_job(overrides, config_dirs=args.config_dirs, environ=place.environ)
        show_notes(job.notes)
        place.slots(job)  # a file is valid anywhere, a job has to fit where it would run
        check_program(job, "command line")
        print(f"{job.sweep_name}: valid{place.name}")
    return 0


def check_program(job: SweepJob, where: str) -> None:
    """Run a command that takes flags once, with `--help`, or as `trainable.check` says.

    Raises:
        ConfigError: it does not know what it would be told.
    """
    import tempfile

    from metta_sweep.config import resolve_run
    from metta_sweep.errors import ConfigError
    from trainables.command_check import check_command
    from trainables.spec import RunSpec

    center = job.sweep.phases[0].space.center()
    spec = RunSpec.from_mapping(resolve_run(job.train, "check", center, seed=job.seed), strict=False)
    with tempfile.TemporaryDirectory() as directory:
        answer = check_command(spec.trainable, spec.parameters, job.seed, Path(directory))
    show_notes([answer.note] if answer.note else [])
    if answer.problems:
        raise ConfigError(*(f"{where}: {problem}" for problem in answer.problems))


@dataclass(frozen=True, slots=True)
class Destination:
    """Where the runs would be: this machine or the cluster of RAY_ADDRESS, or one that `--for-cluster` describes.

    Attributes:
        environ: what decides about `auto` there.
        nodes: of the described cluster; empty for this machine.
    """

    environ: Mapping[str, str]
    nodes: Sequence[Node] = ()

    @property
    def name(self) -> str:
        """How a message names it; "" for this machine."""
        from metta_sweep.launch.described import nodes_text

        return f" for {nodes_text(self.nodes)}" if self.nodes else ""

    def slots(self, job: SweepJob) -> int:
        """How many runs fit at once.

        Raises:
            ConfigError: not even one does.
        """
        from metta_sweep.capacity import count_slots
        from metta_sweep.ray_cluster.cluster import slots_of

        if self.nodes:
            return count_slots(job.resources, self.nodes)
        return slots_of(job.resources, job.machine, self.environ)


def place_of(args: argparse.Namespace) -> Destination:
    """The place that the flags name.

    Raises:
        ConfigError: a description that cannot be read.
    """
    if not args.for_cluster:
        return Destination(os.environ)
    from metta_sweep.launch.described import described_nodes
    from metta_sweep.launch.jobs import environment_of

    nodes = described_nodes(args.for_cluster)
    return Destination(os.environ | environment_of(nodes), nodes)


def show_notes(notes: Iterable[str]) -> None:
    for note in notes:
        print(f"note: {note}")
