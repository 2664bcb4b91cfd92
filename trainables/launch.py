"""One run without a sweep: its own placement group, the same group of workers. For `train` and `evaluate`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import ray
from ray.util.placement_group import PlacementGroup, placement_group, remove_placement_group

from trainables.disk import PRIVATE
from trainables.errors import InfrastructureFailure, Problem, SpecError
from trainables.messages import RunRequest
from trainables.resources import Resources
from trainables.result import Progress, RunResult
from trainables.runner import Runner
from trainables.spec import RunSpec

PLACE_SECONDS = 60.0  # somebody waits in front of it: a minute without a place is said; not tuned


def run_once(
    spec: RunSpec,
    directory: Path,
    on_progress: Callable[[Progress], None],
    attempt: int = 1,
    umask: int = PRIVATE,
) -> RunResult:
    """Trains and evaluates one run on the Ray that is connected; goes on from a checkpoint in the directory.

    Args:
        spec: what to run.
        directory: absolute; everything is written below it.
        on_progress: called about five times a second with progress.
        attempt: names `dist_{attempt}.yaml`.
        umask: of the processes that write.

    Raises:
        SpecError: the cluster has no room for it.
    """
    with _runner(spec.resources) as runner:
        return runner.run(RunRequest(spec, directory.absolute(), attempt, umask), on_progress).given_up()


def evaluate_once(spec: RunSpec, directory: Path, umask: int = PRIVATE) -> RunResult:
    """Evaluates the newest checkpoint of a run; the suite may be another than that of training.

    Args:
        spec: of the run, with the suite to play.
        directory: of the run, absolute.
        umask: of the processes that write.

    Raises:
        SpecError: the cluster has no room for it.
    """
    with _runner(spec.resources) as runner:
        return runner.evaluate(RunRequest(spec, directory.absolute(), umask=umask)).given_up()


@contextmanager
def _runner(resources: Resources) -> Iterator[Runner]:
    """On a placement group of its own."""
    with _reserved(resources) as group:
        runner = Runner(group)
        try:
            yield runner
        finally:
            runner.close()


@contextmanager
def _reserved(resources: Resources) -> Iterator[PlacementGroup]:
    """A placement group with one bundle per rank."""
    have = ray.cluster_resources()
    for name, amount in resources.bundle.items():
        if amount * resources.world_size > have.get(name, 0.0):
            raise SpecError(
                Problem(
                    "resources",
                    f"{resources.world_size} x {amount:g} {name} do not fit the cluster, which has "
                    f"{have.get(name, 0.0):g}; ask for less",
                )
            )
    selector = [resources.labels] * resources.world_size
    group = placement_group(
        [resources.bundle] * resources.world_size, strategy=resources.strategy, bundle_label_selector=selector
    )
    try:
        if not group.wait(PLACE_SECONDS):
            raise InfrastructureFailure(
                f"no room for the run within {PLACE_SECONDS:.0f} s: the cluster is busy, or no node is large enough"
            )
        yield group
    finally:
        remove_placement_group(group)
