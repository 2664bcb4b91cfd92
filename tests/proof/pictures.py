"""Pictures of a sweep for the README: the table that `run` shows, as SVG, and the dashboard's page."""

from __future__ import annotations

import io
from pathlib import Path

from rich.console import Console

from metta_sweep.driver.display import TableStyle, fitting
from metta_sweep.driver.messages import LiveRun
from metta_sweep.registry.api import Registry
from metta_sweep.registry.records import JsonObject, RunRecord, RunState
from tests.metta_sweep.driver.audit import LENGTH
from trainables.result import Costs, Point, Progress, Span

WIDTH = 120


def runs_of(registry: Registry, sweep: str) -> list[LiveRun]:
    """What a driver of the sweep would show now, as far as the registry knows it."""
    seen = {one.run_id: one.observation for one in registry.observations(sweep)}
    started = [run for run in registry.runs(sweep) if run.state is not RunState.RESERVED]
    return [
        LiveRun(run, run.state.value, 0.0, result=seen[run.id])
        if run.id in seen
        else running(run, registry.curve(run.id))
        for run in started
    ]


def running(run: RunRecord, points: list[JsonObject]) -> LiveRun:
    """A run at its last curve point."""
    if not points:
        return LiveRun(run, "running", 0.0)
    last, steps = points[-1], int(run.params[LENGTH])
    spent = Span(last["seconds"], last["seconds"], 0.0)
    costs, point = Costs(train=spent), Point(last["env_steps"], spent, last["score"])
    progress = Progress(last["env_steps"], steps, last["env_steps"] / last["seconds"], {}, point, costs, costs, ())
    return LiveRun(run, "running", 0.0, progress, (point,))


def table_svg(registry: Registry, sweep: str, path: Path) -> None:
    """Draw the table of this moment."""
    runs = runs_of(registry, sweep)
    style = TableStyle(params=list(runs[0].record.params), show_phase=True, cost_label="CPU s")
    console = Console(record=True, width=WIDTH, file=io.StringIO(), force_terminal=True)
    console.print(fitting(runs, style, console))
    console.save_svg(str(path), title="python -m metta_sweep run sweep_name=proof sweep=arena_phases")
