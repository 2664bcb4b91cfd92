"""The driver on a real Ray, with runs that end at once."""

from __future__ import annotations

import json
import signal
import socket
import threading
import time
from contextlib import closing
from pathlib import Path

import pytest

from metta_sweep.analysis.overview import overview
from metta_sweep.config import load_sweep_job
from metta_sweep.driver.plan import History, make_plan
from metta_sweep.driver.sweep import EXIT_CAP
from metta_sweep.errors import SweepAborted
from metta_sweep.registry.api import Registry
from metta_sweep.registry.open import open_registry
from metta_sweep.registry.records import RunState
from tests.metta_sweep.driver.drive import SWEEP, Environ, Instant, drive, kill_everything, start_driver, wait_for

pytestmark = pytest.mark.ray
ONE_SLOT = "resources.max_concurrent_runs=1"


def pids(data_dir: Path) -> dict[str, str]:
    """Process that ran each run."""
    return {path.parent.name: path.read_text() for path in (data_dir / "sweep" / SWEEP / "runs").glob("*/pid_*")}


def test_runs_that_end_together_are_followed_by_runs_in_the_same_processes(
    tmp_path: Path, registry: Registry, instant: Instant, environ: Environ
) -> None:
    instant(sleep_seconds=1.0)
    ending = drive(tmp_path, "sweep.num_samples=8", environ=environ)
    runs = registry.runs(SWEEP)
    assert [run.id for run in runs] == [f"{SWEEP}.r.{number}" for number in range(8)]
    assert {run.state for run in runs} == {RunState.COMPLETED}
    assert ending.exit_code == 0
    assert len(set(pids(tmp_path).values())) == 2  # two slots, two processes, eight runs
    assert (
        (tmp_path / "sweep" / SWEEP / "runs" / f"{SWEEP}.r.0" / "protein_suggestion.yaml")
        .read_text()
        .startswith("protein:")
    )


def test_the_plan_shows_the_points_that_the_sweep_then_begins_with(
    tmp_path: Path, registry: Registry, instant: Instant, environ: Environ
) -> None:
    words = [f"sweep_name={SWEEP}", "sweep=quick", f"data_dir={tmp_path}", "sweep.num_samples=2"]
    planned = make_plan(load_sweep_job(words, environ={"WANDB_MODE": "disabled"}), 2, History(), None)
    drive(tmp_path, "sweep.num_samples=2", environ=environ)
    assert [dict(one.params) for one in planned.suggestions] == [run.params for run in registry.runs(SWEEP)]


def test_everything_that_happened_is_in_a_file(
    tmp_path: Path, registry: Registry, instant: Instant, environ: Environ
) -> None:
    drive(tmp_path, "sweep.num_samples=1", environ=environ)
    lines = [json.loads(line) for line in (tmp_path / "sweep" / SWEEP / "events.jsonl").read_text().splitlines()]
    assert [line["sequence"] for line in lines] == [event.sequence for event in registry.events(SWEEP)]
    assert [line["kind"] for line in lines if line["run_id"]] == ["reserved", "started", "completed"]


def test_a_finished_sweep_is_not_repeated_and_goes_on_when_more_runs_are_asked_for(
    tmp_path: Path, registry: Registry, instant: Instant, environ: Environ
) -> None:
    drive(tmp_path, "sweep.num_samples=2", environ=environ)
    first = registry.observations(SWEEP)
    drive(tmp_path, "sweep.num_samples=3", environ=environ)
    assert registry.observations(SWEEP)[:2] == first
    assert [run.attempts for run in registry.runs(SWEEP)] == [1, 1, 1]


def test_a_run_whose_process_dies_goes_on_under_its_own_id_and_nobody_is_blamed(
    tmp_path: Path, registry: Registry, instant: Instant, environ: Environ
) -> None:
    instant(behaviour="die_first")
    ending = drive(tmp_path, "sweep.num_samples=2", environ=environ)
    runs = registry.runs(SWEEP)
    assert [(run.state, run.attempts) for run in runs] == [(RunState.COMPLETED, 2)] * 2
    assert ending.exit_code == 0


def test_code_that_fails_in_the_same_place_stops_the_sweep_and_shows_it(
    tmp_path: Path, registry: Registry, instant: Instant, environ: Environ
) -> None:
    instant(behaviour="code")
    with pytest.raises(SweepAborted, match="code: here"):
        drive(tmp_path, "sweep.num_samples=10", ONE_SLOT, "settings.rollout_retry_delay=0.1", environ=environ)
    assert len(registry.runs(SWEEP, states=[RunState.FAILED])) == 2


def test_workers_that_end_themselves_in_the_same_way_stop_the_sweep_as_broken_code_does(
    tmp_path: Path, registry: Registry, instant: Instant, environ: Environ
) -> None:
    instant(behaviour="end_themselves")
    quick = ("settings.rollout_retry_delay=0.1", "settings.infrastructure_retry_delay=0.1")
    with pytest.raises(SweepAborted, match=r"all failed in the same place: ended with exit code 7 at mine.py:3"):
        drive(tmp_path, "sweep.num_samples=10", ONE_SLOT, *quick, environ=environ)
    failed = registry.runs(SWEEP, states=[RunState.FAILED])
    assert [(run.failure, run.attempts) for run in failed] == [("code", 2)] * 2


def test_failures_in_a_row_stop_the_sweep_and_teach_the_optimiser(
    tmp_path: Path, registry: Registry, instant: Instant, environ: Environ
) -> None:
    instant(behaviour="hyperparameters")
    with pytest.raises(SweepAborted, match="max_consecutive_failures=3"):
        drive(tmp_path, "sweep.num_samples=10", ONE_SLOT, "settings.rollout_retry_delay=0.1", environ=environ)
    assert [record.observation.failure for record in registry.observations(SWEEP)] == ["hyperparameters"] * 4


def test_one_slot_goes_on_while_the_other_rests_after_a_failure_or_loses_its_workers(
    tmp_path: Path, registry: Registry, instant: Instant, environ: Environ
) -> None:
    instant(behaviours={"0": "hyperparameters", "1": "lose_workers_first"})
    ending = drive(tmp_path, "sweep.num_samples=6", "settings.rollout_retry_delay=300", environ=environ)
    assert ending.wall_seconds < 300
    assert [run.state for run in registry.runs(SWEEP)] == [RunState.FAILED] + [RunState.COMPLETED] * 5


def test_a_dollar_cap_ends_the_sweep_with_its_own_exit_code(
    tmp_path: Path, registry: Registry, instant: Instant, environ: Environ
) -> None:
    # An instant run takes 65 to 132 virtual slot-seconds; a cap of 300 leaves room for a few.
    ending = drive(
        tmp_path, "sweep.num_samples=null", ONE_SLOT, "budget.dollars=0.30", "budget.hourly_cost=3.6", environ=environ
    )
    spent = sum(record.observation.wall_seconds for record in registry.observations(SWEEP))
    assert ending.exit_code == EXIT_CAP
    assert "budget.dollars" in ending.reason
    assert 300 - 132 <= spent <= 300 + 132


@pytest.mark.parametrize(("heartbeat", "at_least"), [(0.5, 4), (60, 0)])
def test_leases_are_extended_as_often_as_the_setting_says(
    heartbeat: float, at_least: int, tmp_path: Path, registry: Registry, instant: Instant, environ: Environ
) -> None:
    instant(sleep_seconds=5.0)
    leases: set[float | None] = set()
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(0.1):
            runs = (
                registry.runs(SWEEP, states=[RunState.RUNNING])
                if SWEEP in [sweep.name for sweep in registry.list_sweeps()]
                else []
            )
            leases.update(run.lease_until for run in runs)

    watcher = threading.Thread(target=watch)
    watcher.start()
    began = time.monotonic()
    drive(tmp_path, "sweep.num_samples=1", ONE_SLOT, f"settings.heartbeat_seconds={heartbeat}", environ=environ)
    ended.set()
    watcher.join()
    assert at_least <= len(leases) - 1 <= (time.monotonic() - began) / heartbeat  # however long a busy machine takes


def test_status_tells_the_node_of_a_running_run_and_what_ends_the_sweep(
    tmp_path: Path, registry: Registry, instant: Instant, environ: Environ
) -> None:
    instant(sleep_seconds=6.0)
    rules = ("sweep.num_samples=1", ONE_SLOT, "budget.dollars=5", "budget.hourly_cost=3.6")
    begun = time.time()
    process = start_driver(tmp_path, *rules, environ=environ)
    wait_for(
        lambda: (
            SWEEP in [sweep.name for sweep in registry.list_sweeps()]
            and bool(overview(registry, SWEEP, time.time()).nodes)
        )
    )
    now = overview(registry, SWEEP, time.time())
    assert now.nodes == {f"{SWEEP}.r.0": ("here",)}
    assert now.states == {"running": 1}
    assert now.drivers == (f"{socket.gethostname()}:{process.pid}",)
    assert now.rules == {"sweep.num_samples": 1, "budget.dollars": 5, "budget.hourly_cost": 3.6}
    dollars = now.amounts[0]
    assert dollars.unit == "$"
    assert 0 < dollars.spent <= (time.time() - begun) / 1000  # $3.6 an hour
    assert dollars.left == pytest.approx(5 - dollars.spent - dollars.committed)
    assert dollars.per_hour > 0
    assert process.wait(timeout=60) == 0
    ended = overview(registry, SWEEP, time.time())
    assert ended.recommendation is not None
    assert ended.drivers == ()
    assert ended.amounts[0].per_hour == 0


def finished(registry: Registry) -> int:
    names = [sweep.name for sweep in registry.list_sweeps()]
    return len(registry.observations(SWEEP)) if SWEEP in names else 0


def check_as_unbroken(tmp_path: Path, registry: Registry, environ: Environ, count: int) -> None:
    """Nothing lost, nothing twice, and the points of a sweep that nobody killed."""
    runs = registry.runs(SWEEP)
    assert [(run.number, run.state) for run in runs] == [(number, RunState.COMPLETED) for number in range(count)]
    assert [record.run_number for record in registry.observations(SWEEP)] == list(range(count))
    unbroken = tmp_path / "unbroken"
    unbroken.mkdir()
    (unbroken / "instant.json").write_text("{}")
    drive(unbroken, f"sweep.num_samples={count}", ONE_SLOT, environ=environ)
    with closing(open_registry(unbroken, None)) as other:
        assert [run.params for run in other.runs(SWEEP)] == [run.params for run in runs]


FAULTS = (
    "driver.start:crash@1",
    "driver.turn:crash@30",
    "driver.result:crash@1",
    "outbox.kept:crash@3",
    "driver.beat:crash@2",
)


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    "faults", [("driver.result:crash@2",), pytest.param(FAULTS, marks=pytest.mark.long)], ids=["once", "at each point"]
)
def test_a_driver_that_dies_at_its_worst_moments_goes_on_as_if_nothing_had_been(
    faults: tuple[str, ...], tmp_path: Path, registry: Registry, instant: Instant, environ: Environ
) -> None:
    overrides = ("sweep.num_samples=4", ONE_SLOT, "settings.heartbeat_seconds=0.5")
    for fault in faults:
        process = start_driver(tmp_path, *overrides, environ={**environ, "METTA_SWEEP_FAULTS": fault})
        assert process.wait(timeout=120) == -signal.SIGKILL, fault
    assert drive(tmp_path, *overrides, environ=environ).exit_code == 0  # no lease (300 s) was waited for
    check_as_unbroken(tmp_path, registry, environ, count=4)


@pytest.mark.long
@pytest.mark.timeout(600)
def test_killed_three_times_with_its_ray_the_sweep_equals_one_that_never_was(
    tmp_path: Path, registry: Registry, instant: Instant, environ: Environ
) -> None:
    instant(sleep_seconds=1.0)
    overrides = ("sweep.num_samples=6", ONE_SLOT)
    for at_least in (1, 2, 4):
        process = start_driver(tmp_path, *overrides)
        wait_for(lambda at_least=at_least: finished(registry) >= at_least)  # type: ignore[misc]
        kill_everything(process)
    process = start_driver(tmp_path, *overrides)
    assert process.wait(timeout=200) == 0  # no lease (300 s) was waited for
    check_as_unbroken(tmp_path, registry, environ, count=6)
