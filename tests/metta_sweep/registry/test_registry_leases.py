"""The contract about leases: who holds a run, who may take it over, what comes too late.

Every kind of registry keeps it.
"""

from __future__ import annotations

import math
import sqlite3
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from metta_sweep.errors import Fenced, IllegalTransition, InvalidRequest
from metta_sweep.registry.api import Registry
from metta_sweep.registry.lease_clock import Tick, ends, tick
from metta_sweep.registry.records import Reservation, RunState
from metta_sweep.registry.store import SqlRegistry
from tests.metta_sweep.registry.registry_backends import HERE, THERE, Backend, Clock, reserve
from tests.metta_sweep.registry.registry_examples import DONE, running
from trainables import faults


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
    assert (attempt.exit_reason, attempt.ended_at) == ("lost", 1_000_000.0), (
        "an attempt ends with its owner's last sign of life"
    )
    assert registry.claim("s", THERE, lease_seconds=300, key="c") == claimed
    assert registry.claim("s", THERE, lease_seconds=300, key="c2") == []


def test_a_claim_looks_through_no_runs_that_have_ended(tmp_path: Path) -> None:
    store = SqlRegistry(f"sqlite:///{tmp_path}/r.db")
    store.create_sweep("s", "")

    def steps_after(count: int) -> int:
        for _ in range(count):
            run_id, fence = running(store)
            store.finish(run_id, fence, DONE, key=f"f-{run_id}")
        steps: list[int] = []
        with store.engine.connect() as connection:
            raw = connection.connection.dbapi_connection
            assert isinstance(raw, sqlite3.Connection)
            raw.set_progress_handler(lambda: steps.append(1), 1)
            ends(connection, "s", tick())
            raw.set_progress_handler(None, 1)
        return len(steps)

    few = steps_after(5)
    assert steps_after(45) == few
    store.close()


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


# The clock of the registry's host, set by somebody while leases run


@dataclass
class Host:
    """A machine whose wall clock and whose monotonic clock a test moves apart."""

    path: Path
    boot: str = "boot 1"
    seconds: float = 50.0
    wall: Clock = field(default_factory=Clock)
    opened: list[SqlRegistry] = field(default_factory=list)

    def registry(self) -> SqlRegistry:
        """As another process opens it."""
        url = f"sqlite:///{self.path}/registry.db"
        self.opened.append(SqlRegistry(url, self.wall, lambda: Tick(self.boot, self.seconds)))
        return self.opened[-1]

    def claimed(self) -> list[str]:
        registry = self.registry()
        return [run.id for run in registry.claim("s", THERE, lease_seconds=300, key=f"claim-{len(self.opened)}")]

    def wait(self, seconds: float) -> None:
        self.seconds += seconds
        self.wall.now += seconds

    def restart(self) -> None:
        self.boot, self.seconds = f"{self.boot} again", 5.0


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    """With a run that HERE holds for 300 seconds."""
    host = Host(tmp_path)
    registry = host.registry()
    registry.create_sweep("s", "")
    running(registry)
    yield host
    for opened in host.opened:
        opened.close()


def test_a_clock_that_goes_back_freezes_no_lease(host: Host) -> None:
    host.wall.now -= 86_400
    host.wait(299)
    assert host.claimed() == []
    host.wait(2)
    assert host.claimed() == ["s.r.0"]


def test_a_clock_that_leaps_ahead_takes_nothing_from_the_living(host: Host) -> None:
    host.wall.now += 86_400
    host.wait(200)
    assert host.claimed() == []
    assert host.registry().heartbeat(HERE, ["s.r.0"], lease_seconds=300) == []
    host.wall.now -= 86_400  # and back again
    host.wait(200)
    assert host.claimed() == []
    host.wait(101)
    assert host.claimed() == ["s.r.0"]


def test_after_a_restart_of_the_host_the_wall_clock_counts(host: Host) -> None:
    host.restart()
    host.wait(200)
    assert host.claimed() == []
    host.wait(101)
    assert host.claimed() == ["s.r.0"]


def test_a_host_that_comes_up_with_a_clock_far_behind_waits_one_lease(host: Host) -> None:
    host.restart()
    host.wall.now -= 86_400
    assert host.claimed() == []
    host.wait(299)
    assert host.claimed() == []
    host.wait(2)
    assert host.claimed() == ["s.r.0"]


def test_the_clock_of_a_real_host_goes_back(tmp_path: Path) -> None:
    registry = SqlRegistry(f"sqlite:///{tmp_path}/registry.db")
    registry.create_sweep("s", "")
    registry.reserve("s", Reservation(0, {}), HERE, lease_seconds=0.05, key="r")
    faults.activate("clock:jump=-3600@1")
    try:
        time.sleep(0.1)
        assert [run.id for run in registry.claim("s", THERE, lease_seconds=300, key="c")] == ["s.r.0"]
    finally:
        faults.activate("")
        registry.close()
