"""The contract about leases: who holds a run, who may take it over, what comes too late. Every kind of registry keeps it."""

from __future__ import annotations

import math

import pytest
from registry_backends import HERE, THERE, Backend, reserve
from registry_examples import DONE, running

from metta_sweep.errors import Fenced, IllegalTransition, InvalidRequest
from metta_sweep.registry.api import Registry
from metta_sweep.registry.records import Reservation, RunState


def test_a_heartbeat_extends_leases_and_names_what_is_lost(registry: Registry, backend: Backend) -> None:
    mine, theirs = reserve(registry), reserve(registry, owner=THERE)
    backend.clock.now += 200
    assert registry.heartbeat(HERE, [mine.id, theirs.id], lease_seconds=300) == [theirs.id]
    assert registry.get_run(mine.id).lease_until == 1_000_500.0
    assert registry.get_run(theirs.id).lease_until == 1_000_300.0


def test_a_live_owners_runs_are_not_claimed(registry: Registry, backend: Backend) -> None:
    running(registry)
    backend.clock.now += 300
    assert registry.claim("s", THERE, lease_seconds=300, key="c") == []


def test_runs_are_claimed_when_their_lease_is_over(registry: Registry, backend: Backend) -> None:
    run_id, fence = running(registry)
    waiting = reserve(registry)
    registry.heartbeat(HERE, [run_id, waiting.id], lease_seconds=300)
    backend.clock.now += 301
    claimed = registry.claim("s", THERE, lease_seconds=300, key="c")
    assert [(run.id, run.state, run.owner, run.fence) for run in claimed] == [
        (run_id, RunState.INTERRUPTED, THERE, fence + 1),
        (waiting.id, RunState.RESERVED, THERE, 2),
    ]
    (attempt,) = registry.attempts("s")
    assert (attempt.exit_reason, attempt.ended_at) == ("lost", 1_000_000.0), "an attempt ends with its owner's last sign of life"
    assert registry.claim("s", THERE, lease_seconds=300, key="c") == claimed
    assert registry.claim("s", THERE, lease_seconds=300, key="c2") == []


def test_a_released_run_keeps_its_state_and_is_anybodys_at_once(registry: Registry) -> None:
    waiting = reserve(registry)
    released = registry.release(waiting.id, waiting.fence, key="r")
    assert (released.state, released.owner, released.fence) == (RunState.RESERVED, None, waiting.fence + 1)
    assert registry.release(waiting.id, waiting.fence, key="r") == released
    with pytest.raises(Fenced):
        registry.start(waiting.id, waiting.fence, num_gpus=0, key="s")
    (claimed,) = registry.claim("s", THERE, lease_seconds=300, key="c")
    assert (claimed.id, claimed.state, claimed.owner) == (waiting.id, RunState.RESERVED, THERE)


def test_a_running_run_is_interrupted_and_not_released(registry: Registry) -> None:
    run_id, fence = running(registry)
    with pytest.raises(IllegalTransition, match="is running"):
        registry.release(run_id, fence, key="r")


def test_a_lease_without_end_is_never_over(registry: Registry, backend: Backend) -> None:
    registry.reserve("s", Reservation(0, {}), HERE, lease_seconds=math.inf, key="k")
    backend.clock.now += 1e9
    assert registry.claim("s", THERE, lease_seconds=300, key="c") == []


@pytest.mark.parametrize("lease_seconds", [0.0, -1.0, math.nan])
def test_a_lease_lasts_longer_than_nothing(registry: Registry, lease_seconds: float) -> None:
    with pytest.raises(InvalidRequest, match="lease_seconds"):
        registry.reserve("s", Reservation(0, {}), HERE, lease_seconds=lease_seconds, key="k")


def test_a_stalled_owner_is_fenced_and_its_late_result_kept_as_a_note(registry: Registry, backend: Backend) -> None:
    run_id, fence = running(registry)
    backend.clock.now += 301
    (run,) = registry.claim("s", THERE, lease_seconds=300, key="c")
    for write in (
        lambda: registry.record_nodes(run_id, fence, ["n"]),
        lambda: registry.record_progress(run_id, fence, [{"env_steps": 1}]),
        lambda: registry.interrupt(run_id, fence, reason="", costs={}, key="i"),
    ):
        with pytest.raises(Fenced, match="drop it"):
            write()
    assert registry.finish(run_id, fence, DONE, key="late") is None
    assert registry.finish(run_id, fence, DONE, key="late") is None
    assert registry.get_run(run_id) == run
    assert [event.detail["score"] for event in registry.events("s") if event.kind == "late_result"] == [1.25]


def test_a_late_result_counts_while_nobody_took_the_run_over(registry: Registry, backend: Backend) -> None:
    run_id, fence = running(registry)
    backend.clock.now += 100_000
    assert registry.finish(run_id, fence, DONE, key="late") is not None
