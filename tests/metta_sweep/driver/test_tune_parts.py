"""What Tune calls, without Ray: when its loop ends, which answers it gets, and what its snapshot holds."""

from __future__ import annotations

import pickle
import queue
import time
from dataclasses import replace

import pytest

from metta_sweep.driver import messages as ms
from metta_sweep.driver.rules import STOPPED_BY_USER
from metta_sweep.driver.state import Stop
from metta_sweep.driver.tune import FINISHED, Link, LoopCallback, MetricsCallback, SweepScheduler, SweepSearch
from tests.metta_sweep.driver.drive import wait_for
from tests.metta_sweep.driver.test_machine import machine_of
from tests.metta_sweep.driver.without_ray import OneNode
from tests.metta_sweep.driver.world import Row


@pytest.fixture
def link() -> Link:
    """Of one slot, to a machine whose thread was not started."""
    return Link(machine_of(lambda command: None), queue.SimpleQueue(), OneNode())


def start_of(number: int) -> ms.Start:
    return ms.Start(ms.ReservedRun(Row(number).record, None, {"id": f"s.r.{number}"}), ())


def test_the_loop_ends_after_running_runs_were_asked_for_checkpoints_and_not_before(link: Link) -> None:
    loop = LoopCallback(link, lambda: None)
    loop.on_step_end(1, [])
    assert not loop.stop_all()
    link.machine.state = replace(link.machine.state, stop=Stop(STOPPED_BY_USER, now=True))
    loop.on_step_end(2, [])
    assert loop.stop_all()


def test_the_machine_hears_that_the_loop_turns(link: Link) -> None:
    loop, before = LoopCallback(link, lambda: None), link.machine.state.loop_seen_at
    link.machine.start()

    def heard() -> bool:
        loop.on_step_end(1, [])
        return link.machine.state.loop_seen_at > before

    wait_for(heard)
    for event in (ms.LoopEnded(), ms.Idle(), ms.Polled()):
        link.machine.post(event)
    link.machine.close()


def test_what_ended_a_thread_of_the_driver_ends_tunes_loop(link: Link) -> None:
    link.machine.state = replace(link.machine.state, error=RuntimeError("the optimiser's thread is dead"))
    link.answers.put(ms.NoRun())
    with pytest.raises(RuntimeError, match="the optimiser's thread is dead"):
        LoopCallback(link, lambda: None).on_step_end(1, [])
    with pytest.raises(RuntimeError, match="the optimiser's thread is dead"):
        SweepSearch(link).suggest("trial 0")


def test_an_answer_that_comes_late_goes_to_the_next_call(link: Link) -> None:
    search = SweepSearch(link)
    assert search.suggest("trial 0") is None
    link.answers.put(start_of(0))
    assert search.suggest("trial 1") == {"run": {"id": "s.r.0", "avoid_nodes": []}}


def test_no_slot_is_asked_for_while_as_many_runs_are_under_way_as_there_are_slots(link: Link) -> None:
    search = SweepSearch(link)
    link.answers.put(start_of(0))
    search.suggest("trial 0")
    link.answers.put(start_of(1))
    assert search.suggest("trial 1") is None
    search.on_trial_complete("trial 0")
    assert search.suggest("trial 1") == {"run": {"id": "s.r.1", "avoid_nodes": []}}


def test_when_there_are_no_more_runs_tune_is_told_so(link: Link) -> None:
    link.answers.put(ms.NoRun(for_good=True))
    assert SweepSearch(link).suggest("trial 0") == FINISHED


def test_tunes_snapshot_holds_nothing_of_ours(link: Link) -> None:
    parts = (
        SweepSearch(link),
        SweepScheduler(link),
        LoopCallback(link, time.monotonic),
        MetricsCallback(link.machine, 1),
    )
    assert [vars(pickle.loads(pickle.dumps(part))) for part in parts] == [{}] * len(parts)
