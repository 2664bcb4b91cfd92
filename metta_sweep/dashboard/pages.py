"""Which figures each page has: a name, a heading, one sentence of help, and how it is drawn from its input."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from metta_sweep.analysis.curves import thinned, with_axis
from metta_sweep.analysis.frame import scored
from metta_sweep.analysis.timeline import spans
from metta_sweep.dashboard.comparison import MAX_COMPARED
from metta_sweep.dashboard.figure_input import FigureInput
from metta_sweep.dashboard.figures import compare, curves, importance, model, ranks, scores, theme
from metta_sweep.dashboard.figures.parallel import parallel_coordinates
from metta_sweep.dashboard.figures.timeline import timeline as attempts_timeline
from metta_sweep.dashboard.view import CORRELATION
from metta_sweep.dashboard.wealth import attempts_here

MAX_ATTEMPTS = 1000  # more would be thinner than a pixel
UNFILTERED = ("parallel", "timeline", "comparison", "edf_of_sweeps")
OF_SWEEPS = {"comparison": compare.compare, "edf_of_sweeps": ranks.edf_of_sweeps}  # those that are ticked in the list
Draw = Callable[[FigureInput], go.Figure]


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure of a page.

    Attributes:
        title: heading of its card.
        help: what it shows, one sentence.
        draw: the figure.
        width: columns of 12 on a wide screen.
    """

    title: str
    help: str
    draw: Draw
    width: int


FIGURES: dict[str, dict[str, Figure]] = {}  # by page and name, in the order below


def figure(page: str, title: str, help: str, width: int = 6) -> Callable[[Draw], Draw]:
    """Puts the function's figure on a page, under the function's name; see `Figure`."""

    def add(draw: Draw) -> Draw:
        FIGURES.setdefault(page, {})[draw.__name__] = Figure(title, help, draw, width)
        return draw

    return add


@figure("home", "Sweeps on one cost axis", "Best score so far against everything paid until then.", 12)
def comparison(inputs: FigureInput) -> go.Figure:
    return compare.compare({inputs.snapshot.sweep.name: (inputs.snapshot.all_runs, inputs.goal)}, inputs.look)


@figure("home", "Scores of the sweeps", "How many runs have at most each score (EDF).", 12)
def edf_of_sweeps(inputs: FigureInput) -> go.Figure:
    return ranks.edf_of_sweeps({inputs.snapshot.sweep.name: (inputs.snapshot.all_runs, inputs.goal)}, inputs.look)


@figure("overview", "Cost vs score", "Each point is a run; no run is both better and cheaper than the front.", 8)
def cost_vs_score(inputs: FigureInput) -> go.Figure:
    view, log_params = inputs.view, inputs.log_params
    more: dict[str, Any] = {"cost": view.cost_axis, "by": view.colour, "log_params": log_params}
    return scored_axis(scores.cost_vs_score(inputs.runs, inputs.goal, inputs.look, **more), inputs)


@figure("overview", "Efficiency frontier", "Pareto-optimal runs; hover: what a step up costs.", 4)
def efficiency(inputs: FigureInput) -> go.Figure:
    return scores.efficiency_frontier(inputs.runs, inputs.goal, inputs.look, cost=inputs.view.cost_axis)


@figure("overview", "Score progression", "In the order the results came.")
def progression(inputs: FigureInput) -> go.Figure:
    figure = scores.score_progression(inputs.runs, inputs.goal, inputs.look, over=inputs.view.progress_x)
    return scored_axis(figure, inputs)


@figure("overview", "Distributions", "How scores and costs are spread.")
def distributions(inputs: FigureInput) -> go.Figure:
    return scores.distributions(inputs.runs, inputs.look, cost=inputs.view.cost_axis)


@figure("overview", "Share of the runs", "How many runs have at most each score, by phase (EDF).")
def edf(inputs: FigureInput) -> go.Figure:
    return ranks.edf_by_phase(inputs.runs, inputs.look)


@figure("overview", "Ranks", "Two parameters; the colour is the rank of the score, whatever its size.")
def rank(inputs: FigureInput) -> go.Figure:
    known = inputs.fit.importance.get("score") if inputs.fit is not None else None
    order = known["parameter"].tolist() if known is not None else []
    pair = ranks.pair_of(scored(inputs.runs), (inputs.view.x, inputs.view.y), order)
    return ranks.rank(inputs.runs, pair, inputs.goal, inputs.look, inputs.log_params)


@figure("overview", "Parameter importance", "For the score; see the Importance page for more.", 12)
def importance_overview(inputs: FigureInput) -> go.Figure:
    return importance_of("score", inputs)


@figure(
    "overview",
    "Score against each parameter",
    "Solid: the running median. Dashed: the fitted line, with its correlation on hover.",
    12,
)
def parameters(inputs: FigureInput) -> go.Figure:
    return scores.parameter_grid(inputs.runs, inputs.look, inputs.log_params)


@figure(
    "model", "Predicted front", "Where the model expects the front, with its band; rings are runs still to come.", 12
)
def belief(inputs: FigureInput) -> go.Figure:
    if inputs.fit is None or inputs.fit.surrogate is None:
        return waiting(inputs)
    return model.belief_front(inputs.runs, inputs.fit.front, inputs.goal, inputs.look)


@figure(
    "model",
    "Slices",
    "Along each parameter through one run (star), the chosen or the best; band: 90 %; dots: runs.",
    12,
)
def slices(inputs: FigureInput) -> go.Figure:
    if inputs.fit is None or inputs.fit.surrogate is None or inputs.held is None:
        return waiting(inputs)
    order = model.Ranked(inputs.fit.importance["score"]["parameter"].tolist(), inputs.fit.hits)
    return model.slices(inputs.fit.surrogate, inputs.runs, inputs.held, order, inputs.look)


@figure("model", "Contour", "Predicted score and its uncertainty over two parameters, the others held at that run.", 12)
def surface(inputs: FigureInput) -> go.Figure:
    if inputs.fit is None or inputs.fit.surrogate is None or inputs.held is None:
        return waiting(inputs)
    if inputs.pair is None:
        return theme.empty(inputs.look, "A contour needs two free parameters")
    return model.surface(inputs.fit.surrogate, inputs.pair, inputs.held, inputs.runs, inputs.look)


@figure("importance", "Importance for the score", "Share of its variation that each parameter explains.")
def importance_score(inputs: FigureInput) -> go.Figure:
    return importance_of("score", inputs)


@figure("importance", "Importance for the cost", "The same for log cost; whiskers: 90 % bootstrap.")
def importance_cost(inputs: FigureInput) -> go.Figure:
    return importance_of("cost", inputs)


@figure(
    "importance",
    "Marginal effects",
    "Predicted score along one parameter, averaged over the others, with 90 % interval.",
    12,
)
def marginals(inputs: FigureInput) -> go.Figure:
    if inputs.fit is None or not inputs.fit.marginals:
        return waiting(inputs)
    surrogate = inputs.fit.surrogate
    notes = {name: surrogate.says_of(name) for name in inputs.fit.marginals} if surrogate is not None else {}
    return importance.marginal_effects(inputs.fit.marginals, notes, inputs.look)


@figure(
    "curves",
    "Learning curves",
    "A sample of single runs, and those chosen on the Runs page. Median and band are of all, where five are left.",
    12,
)
def learning_curves(inputs: FigureInput) -> go.Figure:
    view, runs, goal = inputs.view, inputs.snapshot.all_runs, inputs.goal
    points = curves_of(inputs.runs["id"], inputs)
    shown = thinned(points, runs, goal, np.random.default_rng(0))
    drawn = curves.CurveView(
        axis=view.curve_x,
        by=view.colour,
        is_log=view.curve_scale == "log",
        run=view.run,
        chosen=compared_ids(inputs),
        log_params=inputs.log_params,
    )
    return scored_axis(curves.learning_curves(points, shown, runs, goal, inputs.look, drawn), inputs)


@figure("runs", "Curves over each other", "Of the runs that are chosen in the table, by their colours there.", 12)
def chosen_curves(inputs: FigureInput) -> go.Figure:
    view, ids = inputs.view, compared_ids(inputs)
    points, is_log = curves_of(ids, inputs), view.curve_scale == "log"
    return scored_axis(curves.over_each_other(points, ids, inputs.look, view.curve_x, is_log=is_log), inputs)


@figure("parallel", "Parallel coordinates", "Drag along an axis: the range filters every page.", 12)
def parallel(inputs: FigureInput) -> go.Figure:
    return parallel_coordinates(inputs.unbrushed, inputs.space, inputs.view.narrowed, inputs.look)


@figure(
    "timeline",
    "Timeline",
    f"The latest {MAX_ATTEMPTS:,} attempts by slot, each as long as it cost; grey is time that no run paid for.",
    12,
)
def timeline(inputs: FigureInput) -> go.Figure:
    attempts = sorted(attempts_here(inputs.snapshot), key=lambda attempt: attempt.started_at)
    return attempts_timeline(spans(attempts[-MAX_ATTEMPTS:], inputs.snapshot.read_at), inputs.look)


def compared_ids(inputs: FigureInput) -> list[str]:
    """Runs that are chosen in the table, as many as are compared there."""
    ids: list[str] = inputs.chosen["id"].tolist()
    return ids[:MAX_COMPARED]


def curves_of(ids: Collection[str], inputs: FigureInput) -> pd.DataFrame:
    """Curves of these runs, with the view's horizontal axis as `x`."""
    snapshot = inputs.snapshot
    own = snapshot.curves if len(ids) == len(snapshot.all_runs) else snapshot.curves[snapshot.curves["id"].isin(ids)]
    return with_axis(own, snapshot.all_runs, inputs.view.curve_x, snapshot.budget.hourly_cost)


def scored_axis(drawn: go.Figure, inputs: FigureInput) -> go.Figure:
    """The figure with its scores on the view's scale."""
    return theme.score_axis(drawn, is_log=inputs.view.score_scale == "log")


def importance_of(target: str, inputs: FigureInput) -> go.Figure:
    """Bars for score or cost; correlation when the view asks for it, and until there is a model."""
    is_asked = inputs.view.measure == CORRELATION
    if is_asked or inputs.fit is None or target not in inputs.fit.importance:
        column = "score" if target == "score" else "cost_seconds"
        return importance.correlation_bars(inputs.runs, inputs.look, column, is_asked=is_asked)
    return importance.importance_bars(inputs.fit.importance[target], inputs.look, target)


def waiting(inputs: FigureInput) -> go.Figure:
    """Why there is no model: it is being made, or it cannot be."""
    return theme.empty(inputs.look, model.WAITING if inputs.fit is None else model.NO_MODEL)


def figures_of(page: str) -> dict[str, Figure]:
    return FIGURES.get(page, {})


def find(name: str) -> Figure:
    """The figure with this name, on whatever page. Raises `KeyError`."""
    return {key: one for figures in FIGURES.values() for key, one in figures.items()}[name]
