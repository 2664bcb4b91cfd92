"""Stories of how a driver's sweep ends, events in and commands out: all runs, a target, caps."""

from __future__ import annotations

from metta_sweep.config.job import Budget
from metta_sweep.driver import messages as ms
from tests.metta_sweep.driver.world import World, progress, settings

SOON = settings(infrastructure_retry_delay=0.0, rollout_retry_delay=0.0)
ENDLESS = settings(max_consecutive_failures=0, rollout_retry_delay=0.0, infrastructure_retry_delay=0.0)


def test_the_sweep_ends_when_all_runs_are_done_and_not_before() -> None:
    world = World(slots=2, num_samples=3)
    world.ask(), world.ask()
    world.end("s.r.0")
    assert world.ask() == "s.r.2"
    world.end("s.r.1")
    assert world.ask() == "declined"
    world.end("s.r.2")
    assert world.ask() == "finished"
    world.hear(ms.LoopEnded())
    assert world.state.stop.reason is not None
    assert world.state.stop.reason.reason == "all 3 runs are done (sweep.num_samples)"


def test_a_target_ends_the_sweep() -> None:
    world = World(target_score=5.0)
    world.end(world.ask(), score=5.5)
    world.settle()
    if world.state.ready:
        world.end(world.ask())
    world.settle()
    assert world.ask() == "finished"


def test_a_target_that_another_driver_reached_ends_the_sweep_too() -> None:
    world = World(target_score=5.0)
    world.hear(ms.Learned(1, 6.0, world.tally))
    world.hear(ms.TimePassed())
    assert world.ask() == "finished"


def test_a_cap_of_money_counts_what_is_committed() -> None:
    world = World(slots=4, cost=10.0, budget=Budget(dollars=25.0, hourly_cost=3600.0))
    world.hear(ms.TimePassed())
    world.settle()
    assert len(world.rows) == 2  # a third would reach 30 of 25 seconds
    assert world.state.optimiser.limit is not None
    assert world.state.optimiser.limit.is_cap


def test_runs_that_cost_less_than_predicted_leave_room_for_more() -> None:
    world = World(cost=10.0, budget=Budget(dollars=25.0, hourly_cost=3600.0))
    ended = []
    while (answer := world.ask()) not in ("finished", "declined"):
        ended.append(answer)
        world.end(answer, seconds=1.0)
        world.settle()
    assert len(ended) > 10


def test_running_runs_are_cut_when_the_cap_is_overspent() -> None:
    world = World(cost=10.0, budget=Budget(dollars=25.0, hourly_cost=3600.0))
    run_id = world.ask()
    world.hear(ms.Progressed(run_id, progress(1, seconds=30.0)))
    world.hear(ms.TimePassed(), after=2.0)
    world.see()
    assert world.state.stop.now
    assert world.state.stop.reason is not None
    assert world.state.stop.reason.is_cap


def test_wall_clock_ends_the_sweep_as_a_cap() -> None:
    world = World(budget=Budget(wall_clock=60.0))
    world.now = 61.0
    assert world.ask() == "finished"
    assert world.state.stop.reason is not None
    assert world.state.stop.reason.is_cap
