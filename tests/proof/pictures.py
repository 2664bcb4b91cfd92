"""Pictures of a sweep for the README: the table that `run` shows, as SVG, and the dashboard's page."""

from __future__ import annotations

import io
from pathlib import Path

from rich.console import Console

from metta_sweep.driver.board import Board
from metta_sweep.driver.table import TableStyle, fitting
from metta_sweep.registry.api import Registry
from metta_sweep.registry.records import RunState
from tests.metta_sweep.driver.audit import LENGTH
from trainables.result import Costs, Point, Progress, Span

WIDTH = 120


def board_of(registry: Registry, sweep: str) -> Board:
    """What a driver of the sweep would show now, as far as the registry knows it."""
    board, seen = Board(), {one.run_id: one.observation for one in registry.observations(sweep)}
    for run in registry.runs(sweep):
        if run.state is RunState.RESERVED:
            continue
        board.started(run)
        points = registry.curve(run.id)
        if run.id in seen:
            board.ended(run.id, run.state.value, seen[run.id])
        elif points:
            last, steps = points[-1], int(run.params[LENGTH])
            spent = Span(last["seconds"], last["seconds"], 0.0)
            costs, point = Costs(train=spent), Point(last["env_steps"], spent, last["score"])
            board.progressed(
                run.id,
                Progress(last["env_steps"], steps, last["env_steps"] / last["seconds"], {}, point, costs, costs, ()),
            )
    return board


def table_svg(registry: Registry, sweep: str, path: Path) -> None:
    """Draw the table of this moment."""
    runs = board_of(registry, sweep).runs()
    style = TableStyle(params=list(runs[0].record.params), show_phase=True, cost_label="cpu s")
    console = Console(record=True, width=WIDTH, file=io.StringIO(), force_terminal=True)
    console.print(fitting(runs, style, console))
    console.save_svg(str(path), title="python -m metta_sweep run sweep_name=proof sweep=arena_phases")
