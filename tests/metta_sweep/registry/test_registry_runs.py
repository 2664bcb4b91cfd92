"""What every registry promises of a run from its start to its end; runs over each implementation."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from metta_sweep.errors import Fenced, IllegalTransition, UnknownRun, UnknownSweep
from metta_sweep.registry.api import Registry
from metta_sweep.registry.records import RunState
from tests.metta_sweep.registry.registry_backends import HERE, THERE, Backend, reserve
from tests.metta_sweep.registry.registry_examples import BROKEN, DONE, running


def test_start_opens_an_attempt(registry: Registry) -> None:
    run_id, fence = running(registry)
    registry.record_nodes(run_id, fence, ["n0", "n1"])
    (attempt,) = registry.attempts("s")
    assert (attempt.run_id, attempt.number, attempt.nodes, attempt.num_gpus) == ("s.r.0", 1, ("n0", "n1"), 2.0)
    assert (attempt.ended_at, attempt.exit_reason) == (None, "")
    assert registry.get_run(run_id).state == RunState.RUNNING


def test_finish_stores_observation_curve_and_attempt(registry: Registry, backend: Backend) -> None:
    run_id, fence = running(registry)
    backend.clock.now += 12
    stored = registry.finish(run_id, fence, DONE, key="f")
    assert stored is not None
    assert registry.observations("s") == [stored]
    assert (stored.sequence, stored.run_id, stored.run_number, stored.params, stored.observation) == (
        1,
        run_id,
        0,
        {"x": 0.5},
        DONE,
    )
    assert registry.curve(run_id) == list(DONE.curve)
    (attempt,) = registry.attempts("s")
    assert (attempt.ended_at, attempt.costs, attempt.exit_reason) == (1_000_012.0, DONE.attempt_costs, "completed")
    run = registry.get_run(run_id)
    assert (run.state, run.owner, run.lease_until, run.ended_at) == (RunState.COMPLETED, None, None, 1_000_012.0)


def test_a_finished_run_cannot_finish_again_but_its_key_repeats_the_answer(registry: Registry) -> None:
    run_id, fence = running(registry)
    first = registry.finish(run_id, fence, DONE, key="f")
    assert registry.finish(run_id, fence, DONE, key="f") == first
    with pytest.raises(IllegalTransition, match="is completed"):
        registry.finish(run_id, fence, DONE, key="f2")
    assert len(registry.observations("s")) == 1


def test_a_reserved_run_cannot_finish(registry: Registry) -> None:
    run = reserve(registry)
    with pytest.raises(IllegalTransition, match="is reserved, this needs running"):
        registry.finish(run.id, run.fence, DONE, key="f")


def test_observations_are_numbered_in_the_order_of_their_arrival_and_paged(registry: Registry) -> None:
    held = [running(registry) for _ in range(4)]
    for run_id, fence in reversed(held):
        registry.finish(run_id, fence, DONE, key=f"f{run_id}")
    assert [(o.sequence, o.run_number) for o in registry.observations("s")] == [(1, 3), (2, 2), (3, 1), (4, 0)]
    assert [o.sequence for o in registry.observations("s", after=1, limit=2)] == [2, 3]


def test_curve_points_are_kept_once_and_the_final_curve_replaces_them(registry: Registry) -> None:
    run_id, fence = running(registry)
    registry.record_progress(run_id, fence, [{"env_steps": 100, "score": 0.4}])
    registry.record_progress(run_id, fence, [{"env_steps": 100, "score": 0.9}, {"env_steps": 150, "score": 0.6}])
    assert registry.curve(run_id) == [{"env_steps": 100, "score": 0.4}, {"env_steps": 150, "score": 0.6}]
    registry.record_progress(run_id, fence, [{"env_steps": 150, "score": 0.1}])
    assert registry.curve(run_id)[-1] == {"env_steps": 150, "score": 0.6}
    registry.finish(run_id, fence, DONE, key="f")
    assert registry.curve(run_id) == list(DONE.curve)


def test_a_failed_run_without_a_final_curve_keeps_what_it_reported(registry: Registry) -> None:
    run_id, fence = running(registry)
    registry.record_progress(run_id, fence, [{"env_steps": 100, "score": 0.4}])
    stored = registry.finish(run_id, fence, BROKEN, key="f")
    assert stored is not None
    assert stored.observation.curve == ({"env_steps": 100, "score": 0.4},)


def test_a_failure_is_told_with_the_end_of_its_log(registry: Registry) -> None:
    run_id, fence = running(registry)
    log = "start" + "x" * 9000 + "end\0\ud800"
    registry.finish(run_id, fence, replace(BROKEN, log_tail=log), key="f")
    run = registry.get_run(run_id)
    assert (run.state, run.failure, run.signature, run.message) == (
        RunState.FAILED,
        "hyperparameters",
        "NaN@ppo.py",
        "loss is NaN",
    )
    assert len(run.log_tail) == 8192
    assert run.log_tail.startswith("x")
    assert "end" in run.log_tail


def test_a_metric_that_is_not_a_number_is_stored_as_null(registry: Registry) -> None:
    run_id, fence = running(registry)
    metrics = {"a": math.nan, "b": math.inf, "c": 1.0}
    stored = registry.finish(run_id, fence, replace(DONE, metrics=metrics), key="f")
    assert stored is not None
    assert stored.observation.metrics == {"a": None, "b": None, "c": 1.0}


def test_interrupt_closes_the_attempt_and_gives_the_run_up(registry: Registry) -> None:
    run_id, fence = running(registry)
    run = registry.interrupt(run_id, fence, reason="preempted", costs={"train": {"wall_seconds": 1.0}}, key="i")
    assert (run.state, run.owner, run.lease_until, run.fence) == (RunState.INTERRUPTED, None, None, fence + 1)
    (attempt,) = registry.attempts("s")
    assert (attempt.exit_reason, attempt.costs) == ("preempted", {"train": {"wall_seconds": 1.0}})
    with pytest.raises(Fenced):
        registry.start(run_id, fence, num_gpus=0, key="again")
    with pytest.raises(Fenced, match="claim it"):
        registry.start(run_id, fence + 1, num_gpus=0, key="again")


def test_requeue_closes_the_attempt_and_the_owner_goes_on_with_the_next(registry: Registry) -> None:
    run_id, fence = running(registry)
    before = registry.get_run(run_id)
    run = registry.requeue(run_id, fence, reason="lost", costs={"train": {"wall_seconds": 1.0}}, key="q")
    assert (run.state, run.owner, run.lease_until, run.fence) == (
        RunState.INTERRUPTED,
        HERE,
        before.lease_until,
        fence + 1,
    )
    assert registry.requeue(run_id, fence, reason="lost", costs={}, key="q") == run
    assert registry.claim("s", THERE, lease_seconds=300, key="c") == []
    assert registry.heartbeat(HERE, [run_id], lease_seconds=300) == []
    assert registry.finish(run_id, fence, DONE, key="late") is None
    assert registry.start(run_id, run.fence, num_gpus=1, key="again").number == 2
    assert [(attempt.exit_reason, attempt.costs) for attempt in registry.attempts("s")] == [
        ("lost", {"train": {"wall_seconds": 1.0}}),
        ("", {}),
    ]


def test_only_a_running_run_is_requeued_and_only_by_its_owner(registry: Registry) -> None:
    run_id, fence = running(registry)
    run = registry.requeue(run_id, fence, reason="lost", costs={}, key="q")
    with pytest.raises(Fenced):
        registry.requeue(run_id, fence, reason="again", costs={}, key="q2")
    with pytest.raises(IllegalTransition):
        registry.requeue(run_id, run.fence, reason="again", costs={}, key="q3")


def test_a_run_that_nobody_holds_is_given_up_without_effect(registry: Registry) -> None:
    run_id, fence = running(registry)
    run = registry.interrupt(run_id, fence, reason="preempted", costs={}, key="i")
    events = registry.events("s")
    assert registry.interrupt(run_id, run.fence, reason="again", costs={}, key="i2") == run
    assert registry.release(run_id, run.fence, key="r") == run
    assert registry.events("s") == events


def test_an_interrupted_run_goes_on_under_its_id_as_the_next_attempt(registry: Registry) -> None:
    run_id, fence = running(registry)
    registry.interrupt(run_id, fence, reason="preempted", costs={}, key="i")
    (run,) = registry.claim("s", THERE, lease_seconds=300, key="c")
    attempt = registry.start(run.id, run.fence, num_gpus=1, key="again")
    assert (run.id, run.state, run.owner, attempt.number) == (run_id, RunState.INTERRUPTED, THERE, 2)
    assert registry.finish(run_id, run.fence, DONE, key="f") is not None
    assert [attempt.exit_reason for attempt in registry.attempts("s")] == ["preempted", "completed"]


def test_retry_takes_a_failed_run_up_again_and_withdraws_its_observation(registry: Registry) -> None:
    run_id, fence = running(registry)
    registry.finish(run_id, fence, BROKEN, key="f")
    run = registry.retry(run_id, by="me", key="r")
    assert (run.state, run.failure, run.message, run.ended_at) == (RunState.INTERRUPTED, None, "", None)
    assert registry.observations("s") == []
    (claimed,) = registry.claim("s", HERE, lease_seconds=300, key="c")
    registry.start(run_id, claimed.fence, num_gpus=0, key="again")
    stored = registry.finish(run_id, claimed.fence, DONE, key="f2")
    assert stored is not None
    assert stored.sequence == 2


def test_only_failed_runs_are_retried(registry: Registry) -> None:
    run_id, fence = running(registry)
    registry.finish(run_id, fence, DONE, key="f")
    with pytest.raises(IllegalTransition, match="is completed; only failed runs"):
        registry.retry(run_id, by="me", key="r")


@pytest.mark.parametrize("run_id", ["s.r.7", "s", "s.r.x", "other.r.0", "s.r.99999999999999999999"])
def test_unknown_runs_are_named(registry: Registry, run_id: str) -> None:
    with pytest.raises((UnknownRun, UnknownSweep), match=r"run|sweep"):
        registry.start(run_id, 1, num_gpus=0, key="k")
    with pytest.raises(UnknownRun):
        registry.get_run(run_id)


def test_runs_are_listed_by_number_and_filtered_by_state(registry: Registry) -> None:
    running(registry)
    reserve(registry)
    assert [run.number for run in registry.runs("s")] == [0, 1]
    assert [run.number for run in registry.runs("s", states=[RunState.RUNNING])] == [0]
    assert registry.runs("s", states=[RunState.FAILED]) == []
