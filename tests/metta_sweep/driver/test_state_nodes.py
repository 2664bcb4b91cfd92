"""Stories of one driver and its nodes, events in and commands out."""

from __future__ import annotations

import pytest

from metta_sweep.capacity import Node
from metta_sweep.driver import messages as ms
from metta_sweep.errors import ClusterError
from tests.metta_sweep.driver.world import World, result, settings
from trainables.result import Costs, Outcome, RunResult

SOON = settings(infrastructure_retry_delay=0.0, rollout_retry_delay=0.0)
ENDLESS = settings(max_consecutive_failures=0, rollout_retry_delay=0.0, infrastructure_retry_delay=0.0)


# Nodes.

TWO_NODES = {"a": Node({"CPU": 1.0}), "b": Node({"CPU": 1.0})}


def lose_on(world: World, node: str, after: float = 1.0) -> None:
    world.hear(ms.RunEnded(world.ask(), None, frozenset({node}), is_error=True), after=after)
    world.settle()


def test_a_node_that_loses_three_runs_in_a_row_at_their_start_is_avoided_and_told_once() -> None:
    world = World(nodes=TWO_NODES, settings=settings(infrastructure_retry_delay=0.0, fast_loss_seconds=60.0))
    for _ in range(4):
        lose_on(world, "a")
    assert world.state.capacity.cordoned == ("a",)
    told = "node a takes no more runs: it lost 3 runs in a row within 60 s of their start"
    assert world.told == [told]
    world.hear(ms.CapacitySeen(TWO_NODES, frozenset()))
    assert world.told[1:] == ["1 run at a time"]


def test_a_node_that_died_with_many_young_runs_is_not_avoided() -> None:
    """It gets no more runs anyway, and another request for a place would cost every warm process."""
    nodes = {"a": Node({"CPU": 4.0}), "b": Node({"CPU": 4.0})}
    world = World(nodes=nodes, settings=settings(infrastructure_retry_delay=0.0))
    runs = [world.ask() for _ in range(8)]
    world.hear(ms.CapacitySeen({"b": nodes["b"]}, frozenset()), after=10.0)
    for run_id in runs[:4]:
        world.hear(ms.RunEnded(run_id, None, frozenset({"a"}), is_error=True))
    assert world.state.capacity.cordoned == ()
    assert world.state.capacity.fast_losses == {}


@pytest.mark.parametrize("interlude", ["well", "late"])
def test_a_run_that_went_well_or_was_lost_late_begins_the_count_anew(interlude: str) -> None:
    world = World(nodes=TWO_NODES, settings=settings(infrastructure_retry_delay=0.0, fast_loss_seconds=60.0))
    for _ in range(2):
        lose_on(world, "a")
    if interlude == "late":
        lose_on(world, "a", after=61.0)
    else:
        world.hear(ms.RunEnded(world.ask(), result(), frozenset({"a"})))
    for _ in range(2):
        lose_on(world, "a")
    assert world.state.capacity.cordoned == ()


def test_nodes_are_counted_apart_and_the_last_one_stays() -> None:
    world = World(nodes=TWO_NODES, settings=settings(infrastructure_retry_delay=0.0, max_infrastructure_failures=0))
    for node in "abab":
        lose_on(world, node)
    assert world.state.capacity.cordoned == ()
    for node in "aabbbb":
        lose_on(world, node)
    assert world.state.capacity.cordoned == ("a",)


def test_zero_fast_losses_cordon_nothing() -> None:
    world = World(
        nodes=TWO_NODES,
        settings=settings(infrastructure_retry_delay=0.0, max_infrastructure_failures=0, max_fast_losses=0),
    )
    for _ in range(6):
        lose_on(world, "a")
    assert world.state.capacity.cordoned == ()


def test_a_node_that_joins_or_leaves_changes_the_slots_and_is_told_once() -> None:
    world = World(nodes={"a": Node({"CPU": 2.0})})
    more = {"a": Node({"CPU": 2.0}), "b": Node({"CPU": 4.0})}
    for _ in range(2):
        world.hear(ms.CapacitySeen(more, frozenset()))
    assert (world.state.capacity.slots, world.told) == (6, ["6 runs at a time"])
    world.hear(ms.CapacitySeen({}, frozenset()))
    assert (world.state.capacity.slots, world.state.capacity.wanted) == (0, 1)
    assert world.told[1] == "no node can hold a run now: waiting for one"


def test_a_node_that_ray_drains_has_no_slots_and_costs_no_warm_process_elsewhere() -> None:
    """Tune reuses a process for a run that asks for the same place only; Ray itself places nothing on such a node."""
    world = World(nodes=TWO_NODES)
    world.hear(ms.CapacitySeen(TWO_NODES, frozenset({"a"})))
    assert world.state.capacity.slots == 1
    world.hear(ms.CapacitySeen({"b": TWO_NODES["b"]}, frozenset()))
    world.hear(ms.SlotFree())
    world.settle()
    (answer,) = world.answers
    assert isinstance(answer, ms.Start)
    assert answer.avoid_nodes == ()


def test_a_run_that_left_a_node_in_order_goes_on_at_once_and_is_no_loss() -> None:
    """Though its process ended with an error, so that Tune starts no other run in it."""
    no_patience = settings(infrastructure_retry_delay=1000.0, max_infrastructure_failures=1, max_fast_losses=1)
    world = World(settings=no_patience, nodes=TWO_NODES)
    world.ask()
    left = RunResult(Outcome.INTERRUPTED, None, Costs(), Costs(), message="node a will be taken away")
    world.hear(ms.RunEnded("s.r.0", left, frozenset({"a"}), is_error=True))
    assert world.written[-1].payload["reason"] == "node a will be taken away"
    assert world.ask() == "s.r.0"
    assert world.state.stop.error is None
    assert world.state.capacity.cordoned == ()


def test_a_run_without_a_place_is_told_once_with_what_is_missing() -> None:
    world = World(settings=settings(placement_warning_seconds=60.0))
    for _ in range(100):
        world.hear(ms.LoopTurned(("s.r.3",), 0), after=1.0)
    (told,) = world.told
    assert told.startswith("s.r.3: waited 1 min for a place: 1 node can hold 1 run,")


def test_of_many_runs_without_a_place_a_line_names_three() -> None:
    world = World(settings=settings(placement_warning_seconds=60.0))
    waiting = tuple(f"s.r.{number}" for number in range(40))
    for _ in range(100):
        world.hear(ms.LoopTurned(waiting, 0), after=1.0)
    assert world.told[0].startswith("s.r.0, s.r.1, s.r.2 and 37 more: waited 1 min for a place: ")


def test_a_wait_for_a_place_that_ended_is_forgotten() -> None:
    world = World(settings=settings(placement_warning_seconds=60.0))
    for waiting in ([("s.r.3",)] * 59, [()], [("s.r.3",)] * 59):
        for runs in waiting:
            world.hear(ms.LoopTurned(runs, 0), after=1.0)
    assert world.told == []


@pytest.mark.parametrize(("timeout", "gives_up"), [(600.0, True), (0.0, False)])
def test_the_sweep_gives_up_when_nothing_runs_for_long_and_zero_waits_for_ever(timeout: float, gives_up: bool) -> None:
    world = World(settings=settings(placement_timeout_seconds=timeout))
    for _ in range(900):
        world.hear(ms.LoopTurned(("s.r.3",), 1), after=1.0)
    assert world.state.stop.error is None
    for _ in range(601):
        world.hear(ms.LoopTurned(("s.r.3",), 0), after=1.0)
    assert isinstance(world.state.stop.error, ClusterError) is gives_up
