"""Stories of one driver and others, events in and commands out: people, early stopping, other drivers."""

from __future__ import annotations

from dataclasses import replace

import pytest

from metta_sweep.capacity import Node
from metta_sweep.driver import messages as ms
from metta_sweep.driver.rules import STOPPED_BY_USER
from metta_sweep.errors import SweepAborted
from tests.metta_sweep.driver.world import World, progress, settings

SOON = settings(infrastructure_retry_delay=0.0, rollout_retry_delay=0.0)
ENDLESS = settings(max_consecutive_failures=0, rollout_retry_delay=0.0, infrastructure_retry_delay=0.0)


# People.


def test_stop_lets_running_runs_finish_and_starts_no_more() -> None:
    world = World(slots=2)
    world.ask(), world.ask()
    world.requests.append("sweep_draining")
    world.hear(ms.TimePassed(), after=2.0)
    world.see()
    assert world.ask() == "declined"
    assert not world.state.stop.now
    for run_id in ("s.r.0", "s.r.1"):
        world.end(run_id)
    assert world.ask() == "finished"


def test_stop_now_checkpoints_running_runs_and_a_drain_may_become_one() -> None:
    world = World()
    world.ask()
    for request, is_now in (("sweep_draining", False), ("sweep_stopped", True)):
        world.requests.append(request)
        world.hear(ms.TimePassed(), after=2.0)
        world.see()
        assert world.state.stop.now is is_now
    world.hear(ms.Checkpointed({"s.r.0": {"train": {"wall_seconds": 7.0}}}))
    world.hear(ms.LoopEnded())
    (interrupt,) = [message for message in world.written if message.kind == "interrupt"]
    assert interrupt.payload["costs"] == {"train": {"wall_seconds": 7.0}}
    assert interrupt.payload["reason"] == "asked to stop"


def test_a_changed_specification_ends_the_driver_for_its_points_would_be_of_the_old_one() -> None:
    world = World()
    world.ask()
    world.hear(ms.Polled(("spec_updated", "started")))
    world.end("s.r.0")
    assert world.ask() == "finished"
    assert world.state.stop.reason is not None
    assert world.state.stop.reason.reason.startswith("`run --update` changed")


def test_ctrl_c_interrupts_what_runs_and_releases_what_never_started() -> None:
    world = World(slots=2)
    world.ask()
    world.settle()
    world.hear(ms.StopAsked(STOPPED_BY_USER, now=True, by_user=True))
    assert (world.state.stop.now, world.state.stop.by_user) == (True, True)
    assert world.ask() == "declined"
    world.hear(ms.LoopEnded())
    world.settle()
    assert [(row.state, row.owner) for row in world.rows.values()] == [
        ("interrupted", ""),
        ("reserved", ""),
        ("reserved", ""),
    ]
    assert world.kinds("s.r.1") == ["release"]


def test_what_is_resumed_or_reserved_while_the_driver_ends_is_given_back() -> None:
    world = World()
    world.hear(ms.TimePassed())
    while not isinstance(world.asked, ms.Reserve):
        world.think()
    other = world.add_row(owner="", state="interrupted")
    world.hear(ms.TimePassed(), after=2.0)
    world.hear(ms.LoopEnded())
    assert not world.state.is_settled
    world.asked = None
    world.hear(ms.Reserved(world.reserved(world.add_row())))
    world.see()
    world.settle()
    assert world.state.is_settled
    assert (other.owner, world.rows["s.r.1"].owner) == ("", "")


def test_a_run_that_is_lost_while_the_sweep_drains_is_left_for_other_drivers() -> None:
    world = World()
    world.ask()
    world.hear(ms.Polled(("sweep_draining",)))
    world.lose("s.r.0")
    world.settle()
    assert world.rows["s.r.0"].owner == ""
    assert world.ask() == "finished"


def test_a_driver_ends_once() -> None:
    world = World()
    world.ask()
    world.hear(ms.LoopEnded())
    world.hear(ms.LoopEnded())
    assert len(world.ends) == 1
    world.hear(ms.SlotFree())
    assert not [answer for answer in world.answers if isinstance(answer, ms.Start)]


# Early stopping.


def test_a_run_that_the_optimiser_gives_up_ends_with_its_last_score() -> None:
    world = World(early_stopping=True, advice=lambda advise: "hopeless")
    world.ask()
    world.settle()
    world.hear(ms.Progressed("s.r.0", progress(10, score=0.5)))
    world.settle()
    assert world.state.should_stop("s.r.0")
    world.hear(ms.RunEnded("s.r.0", None))
    finish = world.written[-1]
    assert (finish.kind, finish.payload["observation"]["outcome"], finish.payload["observation"]["score"]) == (
        "finish",
        "stopped_early",
        0.5,
    )
    assert finish.payload["observation"]["message"] == "hopeless"


@pytest.mark.parametrize(("told", "total"), [(100, 100), (0, 4000)])
def test_a_program_that_tells_no_length_has_that_of_the_parameter_that_sets_it(told: int, total: int) -> None:
    asked: list[int] = []
    advice = lambda advise: asked.append(advise.total_steps)  # noqa: E731 - one line says it
    world = World(early_stopping=True, lengths=frozenset({"episodes"}), advice=advice)
    world.add_row(owner="", state="interrupted", attempts=1, params={"episodes": 4000.0})
    world.hear(ms.TimePassed(), after=2.0)
    world.see()
    world.ask()
    world.hear(ms.Progressed("s.r.0", replace(progress(10, score=0.5), total_env_steps=told)))
    world.settle()
    (run,) = world.state.live.values()
    assert run.progress is not None
    assert (run.progress.total_env_steps, *asked) == (total, total)


# Other drivers.


def test_runs_that_lost_their_driver_are_resumed_first() -> None:
    world = World()
    world.add_row(owner="", state="interrupted", attempts=1)
    world.hear(ms.TimePassed(), after=2.0)
    world.see()
    assert world.ask() == "s.r.0"
    assert world.rows["s.r.0"].owner == "me"


def test_a_run_whose_point_is_not_of_this_sweep_fails_without_a_start() -> None:
    world = World()
    row = world.add_row(state="interrupted", attempts=1)
    world.hear(ms.Polled(refused=((row.record, "'x': not a parameter of the search space"),)))
    assert world.told == ["s.r.0: refused, outside the search space: 'x': not a parameter of the search space"]
    assert world.ask() == "s.r.1"
    assert (world.kinds("s.r.0"), row.state) == (["start", "finish"], "failed")
    assert world.state.failures.lost == 0


def test_a_sweep_that_somebody_deleted_is_aborted() -> None:
    world = World()
    world.ask()
    world.hear(ms.Polled(is_deleted=True))
    assert world.state.stop.now
    assert isinstance(world.state.stop.error, SweepAborted)
    assert str(world.state.stop.error) == "sweep s: somebody deleted it from the registry"


def test_a_run_never_overtakes_one_whose_point_only_knows_less() -> None:
    world = World(slots=2)
    world.ask(), world.ask()
    world.settle()
    for run_id in ("s.r.0", "s.r.1"):
        world.end(run_id)
        while world.outbox:
            world.deliver()
        world.think()  # one piece of work: the second result comes while the points of before are replaced
    assert [world.ask(), world.ask()] == ["s.r.2", "s.r.3"]


@pytest.mark.parametrize("sign", ["refused", "heartbeat"])
def test_a_run_that_another_driver_holds_is_dropped_and_may_come_back(sign: str) -> None:
    world = World(slots=2, settings=SOON)
    world.ask()
    world.settle()
    world.taken_by_another("s.r.0")
    if sign == "refused":
        world.hear(ms.Progressed("s.r.0", progress(10, score=0.5)))
        world.settle()
    else:
        world.hear(ms.LeasesLost(frozenset({"s.r.0"})))
    assert world.state.should_stop("s.r.0")
    world.hear(ms.RunEnded("s.r.0", None))
    world.settle()
    assert world.rows["s.r.0"].owner == "other"
    assert "s.r.0" not in world.state.held
    world.rows["s.r.0"].owner = ""  # the other one dies
    world.hear(ms.TimePassed(), after=2.0)
    world.see()
    assert world.ask() == "s.r.0"
    assert not world.state.should_stop("s.r.0")


def test_a_run_that_came_back_while_the_old_attempt_still_runs_starts_after_that_has_ended() -> None:
    world = World(num_samples=1)
    world.ask()
    world.settle()
    world.taken_by_another("s.r.0")
    world.rows["s.r.0"].owner = ""  # and that one died
    world.hear(ms.TimePassed(), after=2.0)
    world.see()
    assert world.state.should_stop("s.r.0")
    world.hear(ms.CapacitySeen({"a": Node({"CPU": 2.0})}, frozenset()))
    assert world.ask() == "declined"
    world.lose("s.r.0")
    world.settle()
    assert world.ask() == "s.r.0"
    world.settle()
    assert (world.rows["s.r.0"].state, world.rows["s.r.0"].fence) == ("running", 3)


def test_a_waiting_run_that_came_back_from_another_driver_waits_once_and_starts_as_the_registry_has_it() -> None:
    world = World()
    world.hear(ms.TimePassed())
    world.settle()
    world.taken_by_another("s.r.0")
    world.rows["s.r.0"].owner = ""
    world.hear(ms.TimePassed(), after=2.0)
    world.see()
    assert [run.id for run in world.state.ready] == ["s.r.0"]
    assert world.ask() == "s.r.0"
    world.settle()
    assert world.rows["s.r.0"].state == "running"


def test_a_lost_run_that_another_driver_took_and_left_is_held_once() -> None:
    world = World(settings=SOON)
    world.ask()
    world.settle()
    world.taken_by_another("s.r.0")
    world.lose("s.r.0")  # the requeue will be refused
    world.rows["s.r.0"].owner = ""  # the other one dies
    world.hear(ms.TimePassed(), after=2.0)
    world.see()
    assert world.state.held.count("s.r.0") == 1
    world.settle()
    assert world.ask() == "s.r.0"
    world.settle()
    assert world.rows["s.r.0"].state == "running"


def test_a_waiting_run_that_another_driver_holds_does_not_start() -> None:
    world = World()
    world.hear(ms.TimePassed())
    world.settle()
    world.hear(ms.LeasesLost(frozenset({"s.r.0"})))
    assert world.ask() == "s.r.1"


def test_leases_of_all_that_is_held_are_extended_while_the_loop_turns_and_not_longer() -> None:
    world = World(settings=settings(heartbeat_seconds=10.0, lease_seconds=60.0, infrastructure_retry_delay=0.0))
    world.ask()
    world.settle()
    world.lose("s.r.0")  # not answered: still ours
    for _ in range(3):
        world.hear(ms.LoopTurned((), 1), after=10.0)
    assert [set(run_ids) for run_ids in world.beats] == [{"s.r.0", "s.r.1"}] * 3
    for _ in range(6):
        world.hear(ms.TimePassed(), after=10.0)
    assert len(world.beats) == 3 + 2
