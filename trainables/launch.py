"""One run without a sweep: its own placement group, the same gang. For `train` and `evaluate`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ray
from ray.util.placement_group import PlacementGroup, placement_group, remove_placement_group

from trainables.disk import PRIVATE
from trainables.errors import InfrastructureFailure, Problem, SpecError
from trainables.resources import Resources
from trainables.result import Progress, RunResult
from trainables.runner import Runner, RunRequest
from trainables.spec import RunSpec

PLACE_SECONDS = 60.0  # somebody waits in front of it: a minute without a place is said; not tuned


def run_once(
    mapping: Mapping[str, Any],
    directory: Path,
    on_progress: Callable[[Progress], None],
    attempt: int = 1,
    umask: int = PRIVATE,
) -> RunResult:
    """Trains and evaluates one run on the Ray that is connected; goes on from a checkpoint in the directory.

    Args:
        mapping: resolved configuration, as `RunSpec.from_mapping` takes it; checked strictly.
        directory: absolute; everything is written below it.
        on_progress: called about five times a second with news.
        attempt: names `dist_{attempt}.yaml`.
        umask: of the processes that write.

    Raises:
        SpecError: the configuration is wrong, or the cluster has no room for it.
    """
    spec = RunSpec.from_mapping(mapping)
    with _reserved(spec.resources) as group:
        runner = Runner(group)
        try:
            return runner.run(
                RunRequest(spec.run, attempt, directory.absolute(), mapping, umask), on_progress
            ).given_up()
        finally:
            runner.close()


def evaluate_once(mapping: Mapping[str, Any], directory: Path, umask: int = PRIVATE) -> RunResult:
    """Evaluates the newest checkpoint of a run; the suite may be another than that of training.

    Args:
        mapping: resolved configuration with the suite to play.
        directory: of the run, absolute.
        umask: of the processes that write.

    Raises:
        SpecError: the configuration is wrong, or there is no checkpoint.
    """
    spec = RunSpec.from_mapping(mapping)
    with _reserved(spec.resources) as group:
        runner = Runner(group)
        try:
            return runner.evaluate(RunRequest(spec.run, 1, directory.absolute(), mapping, umask)).given_up()
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
