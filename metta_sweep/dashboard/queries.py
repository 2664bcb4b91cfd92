"""What the callbacks ask: pages, figures and panels for a view, from the newest snapshots. No Dash wiring."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from dash import html, no_update

from metta_sweep.analysis.estimates import totals
from metta_sweep.analysis.frame import METRIC, PARAM
from metta_sweep.analysis.money import expected_best
from metta_sweep.analysis.searched_space import searched_space
from metta_sweep.dashboard import layout, panels, runs_grid, runs_page, shell, tables
from metta_sweep.dashboard.background_fits import BackgroundFits
from metta_sweep.dashboard.figure_input import FigureInput
from metta_sweep.dashboard.figures import theme
from metta_sweep.dashboard.figures.parallel import TINY_COST, Brush, brushed
from metta_sweep.dashboard.figures.theme import LOOKS
from metta_sweep.dashboard.pages import OF_SWEEPS, UNFILTERED, find
from metta_sweep.dashboard.run_panel import run_panel
from metta_sweep.dashboard.source import Source
from metta_sweep.dashboard.sweep_summaries import SweepSummaries
from metta_sweep.dashboard.view import HOME, View
from metta_sweep.dashboard.wealth import wealth_of
from metta_sweep.errors import SweepError, UnknownSweep
from metta_sweep.registry.records import NO_REMARK, RemarkRecord, RunState, SweepState
from metta_sweep.typed_commands import NO_ADDRESS, Address

SLIDER_STEPS = 500


@dataclass(frozen=True)
class Queries:
    """One dashboard.

    Attributes:
        source: snapshots.
        fits: what is worked out in the background.
        summaries: lines of the list of sweeps.
        data_dir: where the runs' files lie; shown, never opened.
        default_sweep: opened when the URL names none; "" = the list of sweeps.
        has_actions: whether runs may be retried and sweeps stopped from the page.
        address: how the commands on the page find the sweeps.
    """

    source: Source
    fits: BackgroundFits
    summaries: SweepSummaries
    data_dir: Path
    default_sweep: str = ""
    has_actions: bool = False
    address: Address = NO_ADDRESS

    def view(self, search: str, theme: str = "light") -> View:
        return View.from_search(search, self.default_sweep, theme)

    def page(self, view: View) -> Any:
        """The whole page, or why there is none."""
        try:
            sweeps = [sweep.name for sweep in self.source.sweeps()]
        except SweepError as error:
            return html.Div(html.P(str(error)), className="alert alert-danger m-4", role="alert")
        view, problem = self.what_is_there(view, sweeps)
        return shell.page(view, sweeps, version=self.version(view), actions=self.has_actions, problem=problem)

    def what_is_there(self, view: View, sweeps: list[str]) -> tuple[View, list[Any]]:
        """The view, or what can be shown instead, and why: a link may name a sweep or a run that there is not."""
        home = View(page=HOME, theme=view.theme)
        try:
            records = self.source.snapshot(view.sweep).records if view.sweep else {}
        except UnknownSweep:
            return home, shell.no_sweep(view, sweeps)
        except SweepError as error:
            return home, [html.P(str(error), className="mb-0")]
        if view.run and view.run not in records:
            return dataclasses.replace(view, run=""), shell.no_run(view, list(records), sweeps)
        return view, []

    def why_not_stop(self, view: View) -> str:
        """Why the sweep cannot be stopped now; "" when it can."""
        snapshot = self.source.snapshot(view.sweep)
        if snapshot.ending is not None:
            return f"Nothing runs: {snapshot.ending.word}: {snapshot.ending.reason}"
        return "It is stopping already" if snapshot.sweep.state is SweepState.DRAINING else ""

    def version(self, view: View) -> str:
        """Changes whenever something that the page shows has changed."""
        if view.page == HOME:
            return " ".join(str(one.last_at) for one in self.summaries.read(self.source.sweeps()))
        return f"{self.source.snapshot(view.sweep).version}.{self.fits.version(view.sweep)}" if view.sweep else ""

    def inputs(self, view: View) -> FigureInput:
        snapshot = self.source.snapshot(view.sweep)
        return FigureInput(snapshot, view, self.fits.get(snapshot))

    def figure(self, name: str, view: View) -> go.Figure:
        """One figure; never raises for what a sweep may hold."""
        if name in OF_SWEEPS:
            snapshots = {one: self.source.snapshot(one) for one in view.compare}
            compared = {one: (each.all_runs, each.goal) for one, each in snapshots.items()}
            return OF_SWEEPS[name](compared, LOOKS[view.theme])
        inputs = self.inputs(view)
        if inputs.runs.empty and len(inputs.snapshot.runs) and name not in UNFILTERED:
            return theme.empty(inputs.look, "No run lies inside these ranges")
        return find(name).draw(inputs)

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
        over = snapshot.ending
        end = "" if over is None else f"{over.word}: {over.reason}"
        return f"{end or snapshot.sweep.state.value} · {snapshot.metric}, {snapshot.goal}"

    def slider_ends(self, view: View) -> tuple[Any, ...]:
        """min, max, value and step of the score slider, then of the cost slider, which moves in decades."""
        if not view.sweep:
            return (no_update,) * 8
        runs = self.source.snapshot(view.sweep).runs
        costs = np.log10(runs["cost_seconds"].clip(lower=TINY_COST))
        chosen = [math.log10(max(end, TINY_COST)) for end in view.cost or ()]
        return (*ends_of(runs["score"], view.score), *ends_of(costs, chosen))

    def details(self, run_id: str, view: View) -> Any:
        """The panel of one run; None when the sweep has no such run."""
        snapshot = self.source.snapshot(view.sweep)
        return run_panel(snapshot, run_id, self.data_dir, LOOKS[view.theme]) if run_id in snapshot.records else None

    def can_retry(self, run_id: str, view: View) -> bool:
        """Whether there is something to run again."""
        run = self.source.snapshot(view.sweep).records.get(run_id) if run_id else None
        return run is not None and run.state is RunState.FAILED

    def panel(self, page: str, view: View) -> list[Any]:
        """What a page says beside its figures."""
        if page == HOME:
            summaries = self.summaries.read(self.source.sweeps())
            return panels.sweeps_table(summaries, view, self.address)
        return panels.PANELS[page](self.inputs(view)) if page in panels.PANELS else []

    def content(self, view: View) -> list[Any]:
        """What a page holds below its filters."""
        if view.page == "runs" and view.sweep:
            snapshot = self.source.snapshot(view.sweep)
            remark = self.remark("", view) if self.has_actions else None
            return runs_page.content(view, snapshot.runs, snapshot.goal, remark)
        return layout.content(view.page, view, self.parameters(view))

    def table_news(self, view: View, have: Mapping[str, Any] | None) -> dict[str, Any] | None:
        """What the browser's table lacks, see `runs_grid.news`."""
        inputs = self.inputs(view)
        runs, changes = inputs.in_ranges, inputs.snapshot.changes
        num_forgotten = len(inputs.snapshot.all_runs) - len(inputs.snapshot.runs)
        ranges = View(score=view.score, cost=view.cost, brush=view.brush, only=view.only).to_search()
        key = f"{changes.feed} {num_forgotten} {ranges}"
        defined = runs_grid.definitions(inputs.snapshot.runs, view, inputs.goal)
        return runs_grid.news(runs, defined, runs_grid.Asked(key, changes.revision, changes.by_run), have)

    def remark(self, run_id: str, view: View) -> RemarkRecord:
        """What is written about a run; about the sweep where it is ""."""
        return self.source.snapshot(view.sweep).remarks.get(run_id, NO_REMARK) if view.sweep else NO_REMARK

    def chosen_words(self, view: View) -> str:
        """How many runs are chosen; "" for none."""
        return f"{len(view.chosen):,} chosen" if view.chosen else ""

    def parameters(self, view: View) -> list[str]:
        """Free parameters of the sweep, for choices."""
        if not view.sweep:
            return []
        space = searched_space(self.source.snapshot(view.sweep).spec)
        return list(space.names) if space is not None else []

    def brushed(self, changes: Sequence[Any], brush: Brush, view: View) -> dict[str, list[Any]]:
        """The brush after the parallel coordinates said what was dragged."""
        inputs = self.inputs(view)
        return brushed(changes[0], brush, inputs.unbrushed, inputs.space)

    def filter_words(self, view: View) -> str:
        """Which runs are shown."""
        if not (view.sweep and view.is_filtered):
            return ""
        inputs = self.inputs(view)
        return f"{len(inputs.runs):,} of {len(inputs.snapshot.runs):,} runs shown: {', '.join(filters_of(view))}"

    def summary(self, view: View) -> list[Any]:
        """Money bar and summary cards; they count all runs, whatever the ranges are."""
        if not view.sweep:
            return []
        snapshot = self.source.snapshot(view.sweep)
        wealth = wealth_of(snapshot)
        known = [count for count in (wealth.affordable_runs, snapshot.num_runs_left) if count is not None]
        num_more, expected = min(known, default=None), None  # further runs that budget and `num_samples` leave
        if num_more is not None:
            expected = expected_best(snapshot.runs, snapshot.goal, num_more, np.random.default_rng(0))
        cards = tables.summary_cards(totals(snapshot.all_runs, snapshot.goal), wealth)
        return [cards, tables.money_bar(wealth.amounts, num_more, expected, snapshot.ending)]


def filters_of(view: View) -> list[str]:
    """Each range and choice of a view in words."""
    ranges = [("score", view.score), ("cost_seconds", view.cost), *view.brush.items()]
    words = [
        f"{theme.label(name)} from {theme.number(limits[0])} to {theme.number(limits[1])}"
        for name, limits in ranges
        if limits is not None
    ]
    words += [f"{path} {' or '.join(choices)}" for path, choices in view.only.items()]
    words += [f"{name.removeprefix(PARAM).removeprefix(METRIC)} {one.words()}" for name, one in view.where.items()]
    return [*words, *([f"search for {view.find}"] if view.find else [])]


def ends_of(values: pd.Series[float], chosen: Sequence[float] | None) -> tuple[float, float, list[float], float]:
    """A slider that reaches over all values; its handles stay where they were put."""
    low, high = (float(values.min()), float(values.max())) if values.notna().any() else (0.0, 1.0)
    high = high if high > low else low + (abs(low) / 100 or 1.0)
    return low, high, list(chosen or (low, high)), (high - low) / SLIDER_STEPS
