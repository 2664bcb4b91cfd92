"""What a run asks Ray for, and what is said to be missing when it finds no place; `test_state.py` says when."""

from __future__ import annotations

from pathlib import Path

import pytest
from ray.core.generated.common_pb2 import ActorDiedErrorContext
from ray.exceptions import ActorDiedError, ActorUnavailableError

from metta_sweep.capacity import Node, missing
from metta_sweep.driver.tune import dead_actor, placement
from trainables.resources import Resources


def test_a_dead_actor_is_found_in_the_text_of_its_error(tmp_path: Path) -> None:
    died, unavailable = bytes(range(16)), bytes(range(16, 32))
    named = "actor 00000000000000000000000000000000"
    context = ActorDiedErrorContext(
        actor_id=died, class_name="RunTrainable", pid=4, name=named, error_message="it died"
    )
    errors = (ActorUnavailableError("gone", unavailable), ActorDiedError(context))
    for number, (error, actor) in enumerate(zip(errors, (unavailable, died), strict=True), start=1):
        with (tmp_path / "error.txt").open("a") as file:  # as Tune writes it
            file.write(f"Failure # {number} (occurred at 2026-01-01_00-00-00)\n{error}\n")
        assert dead_actor(tmp_path / "error.txt") == actor.hex()
    assert dead_actor(tmp_path / "nothing.txt") is None


@pytest.mark.parametrize(
    ("resources", "nodes", "reason"),
    [
        (
            Resources(gpus_per_worker=1.0),
            [Node({"CPU": 8.0})],
            "resources.gpus_per_worker: 1 GPUs per rank, but no node has more than 0",
        ),
        (Resources(), [Node({"CPU": 0.0})], "the cluster has no node that offers a CPU or GPU"),
        (Resources(world_size=3), [Node({"CPU": 2.0})], "resources.world_size: 3 ranks"),
        (Resources(), [Node({"CPU": 2.0})], "1 node can hold 2 runs, but something else uses their resources"),
    ],
)
def test_what_is_missing_is_named(resources: Resources, nodes: list[Node], reason: str) -> None:
    assert missing(resources, nodes).startswith(reason)


def test_a_gang_avoids_cordoned_nodes_on_every_rank() -> None:
    assert placement(Resources(world_size=2), {"run": {"avoid_nodes": []}}) == placement(Resources(world_size=2), {})
    request = placement(Resources(world_size=2), {"run": {"avoid_nodes": ["a", "b"]}})
    assert request._bound.kwargs["bundle_label_selector"] == [{"ray.io/node-id": "!in(a,b)"}] * 2
