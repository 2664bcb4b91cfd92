"""The gauges of a sweep, and the Grafana dashboard that draws them."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from metta_sweep.capacity import Node
from metta_sweep.config.job import Budget, Settings
from metta_sweep.driver.display import GAUGES, readings
from metta_sweep.driver.messages import LiveRun
from metta_sweep.driver.past import PastRuns
from metta_sweep.driver.rules import SweepLimits
from metta_sweep.driver.state import Capacity, Rules, begin
from metta_sweep.driver.tune import MetricsCallback
from metta_sweep.registry.records import NewObservation, RunRecord, RunState
from tests.metta_sweep.driver.test_machine import machine_of
from trainables.resources import Resources
from trainables.result import Costs, Progress, Span

DASHBOARD = Path(__file__).parents[3] / "cluster" / "grafana" / "sweep.json"
COSTS = {"train": {"wall_seconds": 90.0, "gpu_seconds": 180.0}, "evaluate": {"wall_seconds": 10.0, "gpu_seconds": 20.0}}


def record(number: int) -> RunRecord:
    nothing = {
        "owner": None,
        "lease_until": None,
        "seen_at": 0.0,
        "created_at": 0.0,
        "started_at": None,
        "ended_at": None,
    }
    more = {
        "predicted_score": None,
        "predicted_cost": None,
        "failure": None,
        "signature": "",
        "message": "",
        "log_tail": "",
    }
    return RunRecord(f"s.r.{number}", "s", number, RunState.RUNNING, {}, {}, "", 0, 0, 1, **nothing, **more)


def ended(number: int, score: float | None) -> LiveRun:
    outcome = "completed" if score is not None else "failed"
    return LiveRun(
        record(number), outcome, 0.0, result=NewObservation(outcome, score, 50.0 + number, 100.0, attempt_costs=COSTS)
    )


def running(number: int) -> LiveRun:
    cost = Costs(train=Span(30.0, 30.0, 60.0))
    return LiveRun(record(number), "running", 0.0, progress=Progress(1, 2, 1.0, attempt_costs=cost))


def shown(
    runs: list[LiveRun], *, dollars_per_second: float = 0.0, has_gpus: bool = False
) -> dict[tuple[str, str | None], float]:
    limits = SweepLimits(None, None, True, Budget(), has_gpus=has_gpus)
    state = begin(
        Rules("s", Settings(), Resources(), limits, "cpu_seconds"),
        0.0,
        capacity=Capacity({"a": Node({"CPU": 4.0})}),
        best=3.0,
    )
    live = {run.record.id: run for run in runs if run.state == RunState.RUNNING}
    state = replace(state, past=PastRuns.of(run for run in runs if run.state != RunState.RUNNING), live=live)
    return {(reading.name, reading.state): reading.value for reading in readings(state, dollars_per_second)}


def test_runs_and_slots_by_state() -> None:
    values = shown([ended(0, 1.0), ended(1, None), running(2)])
    assert {state: values["runs", state] for state in ("running", "completed", "failed", "interrupted")} == {
        "running": 1,
        "completed": 1,
        "failed": 1,
        "interrupted": 0,
    }
    assert (values["slots", "busy"], values["slots", "idle"]) == (1, 3)


def test_the_last_score_is_that_of_a_run_that_has_one_the_last_cost_that_of_any_run() -> None:
    values = shown([ended(0, 1.0), ended(1, 3.0), ended(2, 2.0), ended(3, None)])
    assert values["incumbent", None] == 3.0
    assert values["score", None] == 2.0
    assert values["cost_seconds", None] == 53.0


def test_money_counts_running_runs_in_gpu_seconds_or_slot_seconds() -> None:
    runs = [ended(0, 1.0), running(1)]
    assert shown(runs, dollars_per_second=0.01)["spent_dollars", None] == pytest.approx(1.3)
    assert shown(runs, dollars_per_second=0.01, has_gpus=True)["spent_dollars", None] == pytest.approx(2.6)


def test_an_interrupted_attempt_is_paid_for_when_its_run_goes_on() -> None:
    progress = Progress(1, 2, 1.0, attempt_costs=Costs(train=Span(12.0, 0.0, 0.0)))
    again = LiveRun(record(0), "running", 0.0, progress=progress, before=Span(30.0, 0.0, 0.0))
    assert shown([again], dollars_per_second=1.0)["spent_dollars", None] == 42.0


def test_before_the_first_result_there_is_no_score_to_show() -> None:
    assert ("score", None) not in shown([running(0)])


def test_grafana_draws_every_gauge_and_no_other() -> None:
    dashboard = json.loads(DASHBOARD.read_text())
    drawn = {
        name
        for panel in dashboard["panels"]
        for target in panel["targets"]
        for name in re.findall(r"ray_metta_sweep_(\w+)", target["expr"])
    }
    assert drawn == {name for name, _, _ in GAUGES}


def test_every_reading_has_a_gauge_and_the_tags_that_it_asks_for() -> None:
    machine = machine_of(lambda command: None)
    past, live = PastRuns.of([ended(0, 2.0), ended(1, None)]), {"s.r.2": running(2)}
    machine.state = replace(machine.state, past=past, live=live, best=2.0)
    callback = MetricsCallback(machine, hourly_cost=2.0)
    callback.setup()
    callback.on_step_end(1, [])
    callback.on_experiment_end([])
