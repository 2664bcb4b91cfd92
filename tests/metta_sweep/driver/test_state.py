"""Stories of one driver, events in and commands out: slots, failures, delays, what is written."""

from __future__ import annotations

import pickle

import pytest

from metta_sweep.driver import messages as ms
from metta_sweep.driver.rules import StopReason
from metta_sweep.driver.runs import MAX_LOSSES
from metta_sweep.driver.state import Stop, Transition
from metta_sweep.errors import SweepAborted
from tests.metta_sweep.driver.world import World, progress, result, settings

SOON = settings(infrastructure_retry_delay=0.0, rollout_retry_delay=0.0)
ENDLESS = settings(max_consecutive_failures=0, rollout_retry_delay=0.0, infrastructure_retry_delay=0.0)


# What waits, and what a slot gets.


def test_a_driver_reserves_a_point_per_slot_before_anybody_asks() -> None:
    world = World(slots=3)
    world.hear(ms.TimePassed())
    world.settle()
    assert [run.id for run in world.state.ready] == ["s.r.0", "s.r.1", "s.r.2"]


def test_a_run_is_started_only_after_its_start_is_on_disk() -> None:
    world = World()
    world.hear(ms.TimePassed())
    world.settle()
    commands = world.hear(ms.SlotFree())
    kinds = [command.kind if isinstance(command, ms.WriteMessage) else type(command).__name__ for command in commands]
    assert kinds[:2] == ["start", "Start"]


def test_each_slot_that_tune_offers_is_answered_once() -> None:
    world = World(num_samples=1)
    assert [world.ask(), world.ask(), world.ask()] == ["s.r.0", "declined", "declined"]
    world.end("s.r.0")
    assert world.ask() == "finished"
    assert world.answers == []


def test_with_one_slot_every_point_knows_every_result_before_it() -> None:
    world = World()
    cursors = []
    for number in range(4):
        assert world.ask() == f"s.r.{number}"
        cursors.append(world.state.live[f"s.r.{number}"].record.cursor)
        world.end(f"s.r.{number}")
    assert cursors == [0, 1, 2, 3]


def test_a_slot_waits_a_second_for_a_fresh_point_and_then_takes_the_one_that_is_there() -> None:
    world = World()
    world.ask()
    world.settle()
    world.end("s.r.0")
    assert world.ask(wait=False) == ""  # the registry is slow: its result is not numbered yet
    world.hear(ms.TimePassed(), after=0.9)
    assert world.answer() == ""
    world.hear(ms.TimePassed(), after=0.1)
    assert world.answer() == "s.r.1"


def test_slots_that_come_free_faster_than_points_are_made_wait_half_of_the_time_together() -> None:
    world = World(slots=40)
    world.settle()
    for _ in range(40):
        world.ask()
    world.settle()
    waited = 0.0
    for number in range(20):
        world.end(f"s.r.{number}")
        asked_at = world.now
        if (run_id := world.ask(wait=False)) == "":  # its result is not numbered yet, and never will be here
            world.hear(ms.TimePassed(), after=world.state.may_wait)
            run_id = world.answer()
        assert run_id
        waited += world.now - asked_at
        world.hear(ms.TimePassed(), after=0.1)
    assert 1.0 <= waited <= 1.0 + 0.5 * 20 * 0.1


def test_a_result_makes_one_point_anew_however_many_wait_and_the_others_in_their_turn() -> None:
    world = World(slots=8)
    world.ask()
    world.end("s.r.0")
    world.settle()
    assert [run.cursor for run in world.state.ready] == [1, *[0] * 7]
    assert world.ask() == "s.r.1"
    world.settle()
    assert [run.cursor for run in world.state.ready] == [1, *[0] * 6, 1]


def test_a_run_whose_point_is_being_replaced_does_not_start() -> None:
    world = World()
    world.ask()
    world.settle()
    world.end("s.r.0")
    world.hear(ms.SlotFree())
    while not (isinstance(world.asked, ms.Reserve) and world.asked.instead_of):
        world.deliver() if world.outbox else world.think()
    world.hear(ms.TimePassed(), after=1.0)
    assert world.answer() == "declined"
    world.think()
    assert world.ask() == "s.r.1"


def test_a_number_that_another_driver_took_is_computed_again() -> None:
    world = World(num_samples=2)
    world.hear(ms.TimePassed())
    while not isinstance(world.asked, ms.Reserve):
        world.think()
    world.add_row(owner="other")
    assert world.ask() == "s.r.1"


def test_a_registry_that_is_away_stops_no_slot_that_has_a_point() -> None:
    world = World(slots=2)
    world.hear(ms.TimePassed())
    world.settle()
    world.hear(ms.TimePassed(), after=1.0)
    world.asked = None
    world.hear(ms.Idle())  # could not be asked
    assert {world.ask(wait=False), world.ask(wait=False)} == {"s.r.0", "s.r.1"}


# Failures.


def test_a_failure_delays_its_own_slot_only() -> None:
    world = World(slots=2, settings=settings(rollout_retry_delay=5.0))
    world.ask(), world.ask()
    world.end("s.r.0", "hyperparameters")
    world.end("s.r.1")
    world.settle()
    assert world.ask() == "s.r.2"  # in the slot of s.r.1
    assert world.ask(wait=False) == "declined"  # the slot of s.r.0 rests
    world.hear(ms.TimePassed(), after=5.0)
    assert world.ask() == "s.r.3"


def test_a_lost_run_waits_itself_and_its_slot_goes_on() -> None:
    world = World(settings=settings(rollout_retry_delay=1000.0, infrastructure_retry_delay=1000.0))
    world.ask()
    world.end("s.r.0", "infrastructure")
    assert world.ask() == "s.r.1"


def test_a_slot_does_not_wait_for_lost_runs_whose_time_has_not_come() -> None:
    world = World(settings=settings(infrastructure_retry_delay=1000.0))
    for _ in range(2):
        world.lose(world.ask())
        world.settle()
    assert world.ask(wait=False) == "declined"


def test_a_sweep_whose_last_run_failed_ends_without_the_rest_of_its_slot() -> None:
    world = World(num_samples=1, settings=settings(rollout_retry_delay=1000.0))
    world.ask()
    world.end("s.r.0", "hyperparameters")
    world.settle()
    assert world.ask() == "finished"


def test_a_lost_run_comes_back_first_under_its_own_id_and_keeps_its_lease() -> None:
    world = World(num_samples=2, settings=SOON)
    world.ask()
    world.lose("s.r.0")
    world.settle()
    row = world.rows["s.r.0"]
    assert (row.owner, row.fence, row.state) == ("me", 2, "interrupted")
    assert world.ask() == "s.r.0"
    assert world.kinds("s.r.0") == ["start", "requeue", "start"]


def test_a_lost_run_that_a_service_of_before_made_anybodys_is_claimed_and_waits_its_pause() -> None:
    world = World(num_samples=1, settings=settings(infrastructure_retry_delay=10.0))
    world.ask()
    world.settle()
    world.lose("s.r.0")
    row, requeue = world.rows["s.r.0"], world.outbox.pop()
    row.state, row.fence = "interrupted", 3  # by `interrupt` and `claim` in place of `requeue`
    world.hear(ms.Polled(resumed=(world.reserved(row),)))
    world.hear(ms.Delivered(requeue.kind, row.id, 1))
    world.settle()
    assert (world.ask(wait=False), world.state.held) == ("declined", ("s.r.0",))
    world.hear(ms.TimePassed(), after=10.0)
    assert world.ask() == "s.r.0"


def test_the_last_run_of_a_sweep_comes_back_after_it_was_lost() -> None:
    world = World(num_samples=1, settings=SOON)
    world.ask()
    world.lose("s.r.0")
    assert world.ask(wait=False) != "finished"
    world.settle()
    assert world.answer() or world.ask() == "s.r.0"


def test_the_pause_of_a_lost_run_doubles_each_time() -> None:
    world = World(settings=settings(infrastructure_retry_delay=1.0, max_infrastructure_failures=0), num_samples=1)
    pauses = []
    for _ in range(4):
        world.ask()
        world.lose("s.r.0")
        world.settle()
        pauses.append(world.state.ready[0].not_before - world.now)
        world.now += 100.0
    assert pauses == [1.0, 2.0, 4.0, 8.0]


def test_a_run_that_was_lost_eight_times_is_given_up_as_infrastructure() -> None:
    world = World(
        num_samples=1,
        settings=settings(infrastructure_retry_delay=0.0, max_infrastructure_failures=0, rollout_retry_delay=0.0),
    )
    for _ in range(MAX_LOSSES):
        assert world.ask() == "s.r.0"
        world.lose("s.r.0")
        world.settle()
    finish = world.written[-1]
    assert (finish.kind, finish.payload["observation"]["failure"]) == ("finish", "infrastructure")
    assert finish.payload["observation"]["message"] == "lost its trial driver or node 8 times"


def test_losses_in_a_row_end_the_sweep_and_what_it_held_is_free_for_others() -> None:
    world = World(settings=settings(infrastructure_retry_delay=0.0, max_infrastructure_failures=1))
    for _ in range(2):
        world.lose(world.ask())
    assert isinstance(world.state.stop.error, SweepAborted)
    assert world.kinds("s.r.0") == ["start", "requeue", "start", "interrupt"]
    world.hear(ms.LoopEnded())
    world.settle()
    assert {row.owner for row in world.rows.values()} == {""}


def test_losses_are_not_held_against_the_point_or_the_count_of_failures() -> None:
    world = World(settings=settings(max_consecutive_failures=1, infrastructure_retry_delay=0.0))
    for _ in range(3):
        world.lose(world.ask())
    assert world.state.stop.error is None
    assert "finish" not in [message.kind for message in world.written]


@pytest.mark.parametrize("failure", ["hyperparameters", "code"])
def test_failures_in_a_row_end_the_sweep(failure: str) -> None:
    world = World(settings=settings(max_consecutive_failures=3, rollout_retry_delay=0.0))
    for number in range(4):
        assert world.state.stop.error is None
        world.end(world.ask(), failure, signature=f"line {number}")
    assert "max_consecutive_failures=3" in str(world.state.stop.error)
    assert world.ask() == "finished"


def test_a_run_that_ends_well_sets_both_counters_to_zero() -> None:
    world = World(
        settings=settings(
            max_consecutive_failures=2,
            max_infrastructure_failures=2,
            rollout_retry_delay=0.0,
            infrastructure_retry_delay=0.0,
        )
    )
    for number in range(3):
        world.end(world.ask(), "hyperparameters", signature=f"line {number}")
        world.lose(world.ask())
        world.end(world.ask())
    assert world.state.stop.error is None


def test_the_first_two_runs_failing_in_the_same_line_say_that_the_code_is_broken() -> None:
    world = World(settings=settings(max_consecutive_failures=9, rollout_retry_delay=0.0))
    for _ in range(2):
        world.end(world.ask(), "code", signature="KeyError train.py:7")
    assert "KeyError train.py:7" in str(world.state.stop.error)


def test_a_worker_that_ended_itself_twice_in_the_same_way_is_the_codes_fault() -> None:
    world = World(settings=SOON)
    for _ in range(2):
        world.hear(ms.RunEnded(world.ask(), result("infrastructure", signature="ended with exit code 7 at mine.py:3")))
        world.settle()
    finish = world.written[-1] if world.written[-1].kind == "finish" else world.written[-2]
    assert world.kinds("s.r.0") == ["start", "requeue", "start", "finish"]
    assert (finish.payload["observation"]["failure"], finish.payload["observation"]["message"]) == (
        "code",
        "no, twice in a row",
    )


# What is written.


def test_where_a_run_is_is_written_once_and_again_when_its_workers_moved() -> None:
    world = World()
    world.ask()
    for nodes in (("x",), ("x",), ("y",)):
        world.hear(ms.Progressed("s.r.0", progress(1, nodes=nodes)))
    assert [message.payload["nodes"] for message in world.written if message.kind == "record_nodes"] == [("x",), ("y",)]


def test_an_interrupted_attempt_is_paid_for_when_its_run_goes_on() -> None:
    world = World(num_samples=1, settings=SOON)
    for seconds in (30.0, 12.0):
        world.ask()
        world.hear(ms.Progressed("s.r.0", progress(1, seconds=seconds)))
        world.lose("s.r.0")
        world.settle()
    (run,) = world.state.runs
    assert run.spent.wall_seconds == 42.0


def test_a_thread_that_died_is_the_sweeps_error_and_starts_nothing_more() -> None:
    world = World()
    world.hear(ms.TimePassed())
    world.settle()
    world.hear(ms.WorkerFailed(RuntimeError("bug")))
    assert world.ask() == "declined"
    assert str(world.state.error) == "bug"


def test_steps_never_change_the_state_they_began_with() -> None:
    world = World(slots=2)
    world.ask()
    before = world.state
    kept = repr(before)
    world.end("s.r.0")
    world.settle()
    assert repr(before) == kept


def test_a_late_result_of_a_run_that_is_gone_changes_nothing() -> None:
    world = World()
    world.hear(ms.RunEnded("s.r.7", result()))
    world.hear(ms.Progressed("s.r.7", progress(1)))
    assert world.written == []


def test_the_first_reason_to_stop_stays_and_a_later_one_may_hurry_it() -> None:
    first, second = StopReason("enough", is_cap=True), StopReason("at once", is_cap=False)
    before = World().state
    turn = Transition(before, 0.0)
    turn.drain(first)
    turn.drain(second, now=True)
    turn.abort(SweepAborted("broken"))
    turn.abort(SweepAborted("broken again"))
    assert (turn.state.stop.reason, turn.state.stop.now, str(turn.state.stop.error)) == (first, True, "broken")
    assert before.stop == Stop()


def test_a_state_is_as_small_after_many_runs_as_after_few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each step copies it, and the table looks through it twice a second."""
    monkeypatch.setattr("metta_sweep.driver.past.NUM_NEWEST", 8)
    world = World(settings=SOON)

    def size_after(number: int) -> int:
        for _ in range(number):
            run_id = world.ask()
            if world.state.live[run_id].record.number % 5 == 4:
                world.lose(run_id)
                world.settle()
                assert world.ask() == run_id
            world.end(run_id)
            world.settle()
        return len(pickle.dumps(world.state))

    few = size_after(20)
    assert size_after(80) < 1.1 * few
    assert sum(world.state.past.counts.values()) == 100
