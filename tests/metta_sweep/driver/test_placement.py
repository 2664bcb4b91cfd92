"""Runs that find no place are told of, with what is missing, and not waited for without end."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from ray.core.generated.common_pb2 import ActorDiedErrorContext
from ray.exceptions import ActorDiedError, ActorUnavailableError

from metta_sweep.capacity import Node, missing
from metta_sweep.driver.placement import PlacementLimits, PlacementWatch, dead_actor, gang
from trainables.resources import Resources


class Waiting:
    """A watch that warns after a minute and gives up after ten, with a clock that the test moves."""

    def __init__(self, give_up_after: float = 600.0) -> None:
        self.now = 0.0
        self.told: list[str] = []
        self.ends: list[str] = []
        self.watch = PlacementWatch(
            PlacementLimits(60.0, give_up_after),
            lambda: "no GPU",
            self.note,
            lambda error: self.ends.append(str(error)),
            clock=lambda: self.now,
        )

    def note(self, kind: str, text: str, detail: Mapping[str, Any]) -> None:
        self.told.append(text)

    def pass_seconds(self, seconds: int, *, waiting: str = "s.r.3", running: int = 0) -> None:
        for _ in range(seconds):
            self.now += 1.0
            self.watch.look([waiting] if waiting else [], running)


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


def test_it_is_told_once_what_is_missing_and_for_how_long() -> None:
    driver = Waiting()
    driver.pass_seconds(60)
    assert driver.told == []
    driver.pass_seconds(100)
    assert driver.told == ["s.r.3: no place for 60 s: no GPU"]


def test_a_wait_that_ended_is_forgotten() -> None:
    driver = Waiting()
    driver.pass_seconds(59)
    driver.pass_seconds(1, waiting="")
    driver.pass_seconds(59)
    assert driver.told == []


def test_the_sweep_gives_up_only_when_nothing_runs() -> None:
    driver = Waiting()
    driver.pass_seconds(900, running=1)
    assert driver.ends == []
    driver.pass_seconds(601)
    assert driver.ends[0] == "s.r.3: no place for 600 s: no GPU (settings.placement_timeout_seconds)"


def test_zero_waits_for_ever() -> None:
    driver = Waiting(give_up_after=0.0)
    driver.pass_seconds(5000)
    assert driver.ends == []


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
        (Resources(), [Node({"CPU": 2.0})], "1 node(s) can hold 2 run(s): their resources are in use"),
    ],
)
def test_what_is_missing_is_named(resources: Resources, nodes: list[Node], reason: str) -> None:
    assert missing(resources, nodes).startswith(reason)


def test_a_gang_avoids_cordoned_nodes_on_every_rank() -> None:
    assert gang(Resources(world_size=2), {"run": {"avoid_nodes": []}}) == gang(Resources(world_size=2), {})
    request = gang(Resources(world_size=2), {"run": {"avoid_nodes": ["a", "b"]}})
    assert request._bound.kwargs["bundle_label_selector"] == [{"ray.io/node-id": "!in(a,b)"}] * 2
