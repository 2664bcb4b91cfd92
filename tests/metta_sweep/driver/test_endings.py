"""How a sweep ends when somebody asks it to, and with which exit code."""

from __future__ import annotations

import math
import signal
import time
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from metta_sweep.driver.sweep import EXIT_INTERRUPTED, EXIT_WITH_FAILURES
from metta_sweep.registry.api import Registry
from metta_sweep.registry.records import Owner, RunState, SweepState
from tests.instant import CUT_OFF
from tests.metta_sweep.driver.drive import INSTANT, SWEEP, Environ, Instant, drive, start_driver, wait_for
from trainables import faults

pytestmark = pytest.mark.ray
ELSEWHERE = Owner(host="elsewhere", boot_id="another", pid=1, started=1.0)


def running(registry: Registry) -> int:
    return (
        len(registry.runs(SWEEP, states=[RunState.RUNNING]))
        if SWEEP in [sweep.name for sweep in registry.list_sweeps()]
        else 0
    )


def test_the_first_interrupt_checkpoints_and_the_same_command_continues(
    tmp_path: Path, registry: Registry, instant: Instant, environ: Environ
) -> None:
    """SIGINT, and SIGTERM to the one that continues."""

    def at_work(attempt: int) -> bool:  # where they can write a checkpoint
        return len(list(tmp_path.glob(f"sweep/{SWEEP}/runs/*/pid_{attempt}"))) == 2

    instant(sleep_seconds=8.0)
    hold = tmp_path / "hold"
    for attempt, number in enumerate((signal.SIGINT, signal.SIGTERM), start=1):
        hold.touch()  # until both are at work, however slow the machine is
        process = start_driver(tmp_path, "sweep.num_samples=3", environ=environ)
        wait_for(lambda attempt=attempt: at_work(attempt))  # type: ignore[misc]
        process.send_signal(number)
        asked = time.monotonic()
        hold.unlink()
        assert process.wait(timeout=60) == EXIT_INTERRUPTED
        assert time.monotonic() - asked < 30
        assert [run.state for run in registry.runs(SWEEP)][:2] == [RunState.INTERRUPTED] * 2
        costs = [each.costs for each in registry.attempts(SWEEP)]
        assert costs == [asdict(CUT_OFF)] * 2 * attempt, "what they had cost at their checkpoints"

    instant(sleep_seconds=0.0)
    assert drive(tmp_path, "sweep.num_samples=3", environ=environ).exit_code == 0
    assert [(run.id, run.state, run.attempts) for run in registry.runs(SWEEP)] == [
        (f"{SWEEP}.r.0", RunState.COMPLETED, 3),
        (f"{SWEEP}.r.1", RunState.COMPLETED, 3),
        (f"{SWEEP}.r.2", RunState.COMPLETED, 1),
    ]


def test_the_second_interrupt_ends_at_once(
    tmp_path: Path, registry: Registry, instant: Instant, environ: Environ
) -> None:
    instant(sleep_seconds=60.0)
    process = start_driver(tmp_path, "sweep.num_samples=2", environ=environ)
    wait_for(lambda: running(registry) == 2)
    process.send_signal(signal.SIGINT)
    time.sleep(1.0)
    process.send_signal(signal.SIGINT)
    asked = time.monotonic()
    assert process.wait(timeout=60) == EXIT_INTERRUPTED
    assert time.monotonic() - asked < 15


def test_what_never_started_is_free_for_drivers_elsewhere_at_once(
    tmp_path: Path, registry: Registry, instant: Instant, environ: Environ
) -> None:
    instant(sleep_seconds=6.0)
    process = start_driver(tmp_path, "sweep.num_samples=9", environ=environ)
    wait_for(lambda: running(registry) == 2 and len(registry.runs(SWEEP, states=[RunState.RESERVED])) == 2)
    registry.set_sweep_state(SWEEP, SweepState.STOPPED, by="test", reason="")
    assert process.wait(timeout=60) == 0
    claimed = registry.claim(SWEEP, ELSEWHERE, lease_seconds=math.inf, key="claim")
    assert [run.number for run in claimed] == [0, 1, 2, 3]
    assert [run.state for run in claimed[2:]] == [RunState.RESERVED] * 2


def test_a_drained_sweep_lets_its_runs_finish(
    tmp_path: Path, registry: Registry, instant: Instant, environ: Environ
) -> None:
    instant(sleep_seconds=6.0)
    process = start_driver(tmp_path, "sweep.num_samples=9", environ=environ)
    wait_for(lambda: running(registry) == 2)
    registry.set_sweep_state(SWEEP, SweepState.DRAINING, by="test", reason="")
    assert process.wait(timeout=60) == 0
    assert len(registry.runs(SWEEP, states=[RunState.COMPLETED])) == 2
    assert registry.runs(SWEEP, states=[RunState.INTERRUPTED, RunState.RUNNING]) == []


def test_a_full_disk_is_told_and_waited_for(
    tmp_path: Path, registry: Registry, instant: Instant, environ: Environ, capfd: pytest.CaptureFixture[str]
) -> None:
    faults.activate("outbox.put:disk_full@2-3,registry.commit:disk_full@9-10")
    try:
        assert drive(tmp_path, "sweep.num_samples=2", environ=environ).exit_code == 0
    finally:
        faults.activate("")
    assert capfd.readouterr().out.count("outbox: No space left on device; the sweep goes on when that is mended") >= 1
    assert [run.state for run in registry.runs(SWEEP)] == [RunState.COMPLETED] * 2
    assert len(registry.observations(SWEEP)) == 2


def test_an_unlimited_sweep_goes_on_whatever_fails_and_says_so_in_its_exit_code(
    tmp_path: Path, registry: Registry, instant: Instant, environ: Environ
) -> None:
    instant(behaviour="code")
    endless = ("settings.max_consecutive_failures=0", "settings.rollout_retry_delay=0.1")
    assert drive(tmp_path, "sweep.num_samples=5", *endless, environ=environ).exit_code == EXIT_WITH_FAILURES
    assert [run.state for run in registry.runs(SWEEP)] == [RunState.FAILED] * 5


def test_a_retried_run_has_its_own_parameters_and_its_failure_is_forgotten(
    tmp_path: Path, registry: Registry, instant: Instant, environ: Environ
) -> None:
    instant(behaviour="hyperparameters")
    drive(tmp_path, "sweep.num_samples=1", environ=environ)
    failed = registry.runs(SWEEP)[0]
    registry.retry(failed.id, by="test", key="retry")
    instant()
    assert drive(tmp_path, "sweep.num_samples=1", environ=environ).exit_code == 0
    (again,) = registry.runs(SWEEP)
    assert (again.id, again.params, again.state, again.attempts) == (failed.id, failed.params, RunState.COMPLETED, 2)
    assert [record.observation.outcome for record in registry.observations(SWEEP)] == ["completed"]


def test_a_stop_that_comes_while_a_driver_starts_is_obeyed(
    tmp_path: Path, registry: Registry, instant: Instant, environ: Environ
) -> None:
    registry.create_sweep(SWEEP, "")
    begun = time.monotonic() - 10.0  # the registry learns how long ago it was, so late by what that takes to arrive
    registry.set_sweep_state(SWEEP, SweepState.STOPPED, by="test", reason="")
    ending = drive(tmp_path, "sweep.num_samples=2", environ=environ, command=replace(INSTANT, begun=begun))
    assert ending.reason == "stopped by the `stop` command"
    assert registry.runs(SWEEP) == []
    assert registry.get_sweep(SWEEP).state is SweepState.STOPPED


def test_a_stop_reaches_running_drivers_though_another_one_starts_at_once(
    tmp_path: Path, registry: Registry, instant: Instant, environ: Environ
) -> None:
    instant(sleep_seconds=8.0)
    process = start_driver(tmp_path, "sweep.num_samples=2", environ=environ)
    wait_for(lambda: len(list(tmp_path.glob(f"sweep/{SWEEP}/runs/*/pid_1"))) == 2)
    registry.set_sweep_state(SWEEP, SweepState.STOPPED, by="test", reason="")
    registry.set_sweep_state(SWEEP, SweepState.ACTIVE, by="another driver", reason="")
    assert process.wait(timeout=60) == 0
    assert [run.state for run in registry.runs(SWEEP)][:2] == [RunState.INTERRUPTED] * 2
