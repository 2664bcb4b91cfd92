"""What the callbacks ask: pages, figures and panels for a view, from the newest snapshots. No Dash wiring."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from dash import html, no_update

from metta_sweep.analysis.estimates import Forecast, totals
from metta_sweep.analysis.money import Money, expected_best, money
from metta_sweep.dashboard import layout, tables
from metta_sweep.dashboard.figures import theme
from metta_sweep.dashboard.pages import find
from metta_sweep.dashboard.run_panel import run_panel
from metta_sweep.dashboard.scene import Scene
from metta_sweep.dashboard.snapshot import Snapshot
from metta_sweep.dashboard.source import Source
from metta_sweep.dashboard.view import HOME, Range, View
from metta_sweep.errors import SweepError

SLIDER_STEPS = 500


@dataclass(frozen=True)
class Desk:
    """One dashboard.

    Attributes:
        source: snapshots.
        data_dir: where the runs' files lie; shown, never opened.
        default_sweep: opened when the URL names none; "" = the list of sweeps.
        actions: whether runs may be retried and sweeps stopped from the page.
    """

    source: Source
    data_dir: Path
    default_sweep: str = ""
    actions: bool = False

    def view(self, search: str) -> View:
        return View.from_search(search, self.default_sweep)

    def page(self, view: View) -> Any:
        """The whole page, or why there is none."""
        try:
            sweeps = [sweep.name for sweep in self.source.sweeps()]
            version = self.version(view)
        except SweepError as error:
            return html.Div(html.P(str(error)), className="alert alert-danger m-4", role="alert")
        return layout.page(view, sweeps, version=version, actions=self.actions)

    def version(self, view: View) -> str:
        """Changes whenever something that the page shows has changed."""
        names = view.compare if view.page == HOME else (view.sweep,)
        return " ".join(self.source.snapshot(name).version for name in names if name)

    def scene(self, view: View) -> Scene:
        others = {name: self.source.snapshot(name) for name in view.compare}
        return Scene(self.source.snapshot(view.sweep), view, others)

    def figure(self, name: str, view: View) -> go.Figure:
        """One figure; never raises for what a sweep may hold."""
        scene = self.scene(view)
        if scene.runs.empty and len(scene.snapshot.runs):
            return theme.empty(scene.look, "No run lies inside these ranges")
        return find(name).draw(scene)

    def news(self, view: View, version: str) -> tuple[Any, Any]:
        """(version, notice) for the page: the same version as before is not sent again."""
        try:
            newest = self.version(view)
        except SweepError as error:
            return no_update, html.Div(str(error), className="alert alert-warning py-2")
        return (no_update if newest == version else newest), None

    def state(self, view: View) -> str:
        """A few words about the sweep."""
        if not view.sweep:
            return ""
        snapshot = self.source.snapshot(view.sweep)
        return f"{snapshot.sweep.state.value} · {snapshot.metric}, {snapshot.goal}"

    def slider_ends(self, view: View) -> tuple[Any, ...]:
        """min, max, value and step of the score slider, then of the cost slider."""
        if not view.sweep:
            return (no_update,) * 8
        runs = self.source.snapshot(view.sweep).runs
        return (*ends_of(runs["score"], view.score), *ends_of(runs["cost_seconds"], view.cost))

    def details(self, run_id: str, view: View) -> Any:
        """The panel of one run; None when the sweep has no such run."""
        snapshot = self.source.snapshot(view.sweep)
        return run_panel(snapshot, run_id, self.data_dir) if run_id in snapshot.records else None

    def summary(self, view: View) -> list[Any]:
        """Money bar and summary cards; they count all runs, whatever the ranges are."""
        if not view.sweep:
            return []
        snapshot = self.source.snapshot(view.sweep)
        wealth = wealth_of(snapshot)
        expected = expected_of(snapshot, wealth)
        return [tables.summary_cards(totals(snapshot.all_runs, snapshot.goal)), tables.money_bar(wealth, expected)]


def ends_of(values: pd.Series[float], chosen: Range | None) -> tuple[float, float, list[float], float]:
    """A slider that reaches over all values; its handles stay where they were put."""
    low, high = (float(values.min()), float(values.max())) if values.notna().any() else (0.0, 1.0)
    high = high if high > low else low + 1.0
    return low, high, list(chosen or (low, high)), (high - low) / SLIDER_STEPS


def wealth_of(snapshot: Snapshot) -> Money:
    """The sweep's money; a sweep where nothing runs stands still at its last event."""
    is_running = any(attempt.ended_at is None for attempt in snapshot.attempts)
    ends = [attempt.ended_at for attempt in snapshot.attempts if attempt.ended_at is not None]
    now = time.time() if is_running or not ends else max(ends)
    return money(snapshot.all_runs, snapshot.attempts, snapshot.budget, created_at=snapshot.sweep.created_at, now=now)


def expected_of(snapshot: Snapshot, wealth: Money) -> Forecast | None:
    if wealth.affordable_runs is None:
        return None
    return expected_best(snapshot.runs, snapshot.goal, wealth.affordable_runs, np.random.default_rng(0))
