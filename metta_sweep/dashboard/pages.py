"""Which figures each page has: a name, a heading, one sentence of help, and how it is drawn from a inputs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go

from metta_sweep.analysis.curves import thinned, with_axis
from metta_sweep.analysis.timeline import spans
from metta_sweep.dashboard.figure_input import FigureInput
from metta_sweep.dashboard.figures import compare, curves, importance, model, parallel, scores, theme, timeline
from metta_sweep.dashboard.view import CORRELATION

MAX_ATTEMPTS = 1000  # more would be thinner than a pixel
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
    width: int = 6


def cost_vs_score(inputs: FigureInput) -> go.Figure:
    return scores.cost_vs_score(inputs.runs, inputs.goal, inputs.look, cost=inputs.view.cost_axis)


def efficiency(inputs: FigureInput) -> go.Figure:
    return scores.efficiency_frontier(inputs.runs, inputs.goal, inputs.look, cost=inputs.view.cost_axis)


def progression(inputs: FigureInput) -> go.Figure:
    return scores.score_progression(inputs.runs, inputs.goal, inputs.look)


def distributions(inputs: FigureInput) -> go.Figure:
    return scores.distributions(inputs.runs, inputs.look, cost=inputs.view.cost_axis)


def parameters(inputs: FigureInput) -> go.Figure:
    return scores.parameter_grid(inputs.runs, inputs.look, inputs.log_params)


def belief(inputs: FigureInput) -> go.Figure:
    if inputs.fit is None or inputs.fit.surrogate is None:
        return waiting(inputs)
    return model.belief_front(inputs.runs, inputs.fit.front, inputs.goal, inputs.look)


def slices(inputs: FigureInput) -> go.Figure:
    if inputs.fit is None or inputs.fit.surrogate is None or inputs.held is None:
        return waiting(inputs)
    order = inputs.fit.importance["score"]["parameter"].tolist()
    return model.slices(
        inputs.fit.surrogate, inputs.runs, inputs.held, model.Ranked(order, inputs.fit.hits), inputs.look
    )


def surface(inputs: FigureInput) -> go.Figure:
    pair = inputs.pair
    if inputs.fit is None or inputs.fit.surrogate is None or inputs.held is None:
        return waiting(inputs)
    if pair is None:
        return theme.empty(inputs.look, "A contour needs two free parameters")
    return model.surface(inputs.fit.surrogate, pair, inputs.held, inputs.runs, inputs.look)


def importance_of(target: str) -> Draw:
    """Bars for score or cost; correlation when the view asks for it, and until there is a model."""
    column = "score" if target == "score" else "cost_seconds"

    def draw(inputs: FigureInput) -> go.Figure:
        has_model = inputs.fit is not None and target in inputs.fit.importance
        is_asked = inputs.view.measure == CORRELATION
        if is_asked or inputs.fit is None or not has_model:
            return importance.correlation_bars(inputs.runs, inputs.look, column, is_asked=is_asked)
        return importance.importance_bars(inputs.fit.importance[target], inputs.look, target)

    return draw


def marginals(inputs: FigureInput) -> go.Figure:
    if inputs.fit is None or not inputs.fit.marginals:
        return waiting(inputs)
    return importance.marginal_effects(inputs.fit.marginals, inputs.look)


def learning_curves(inputs: FigureInput) -> go.Figure:
    snapshot = inputs.snapshot
    is_whole = len(inputs.runs) == len(snapshot.all_runs)
    inside = snapshot.curves if is_whole else snapshot.curves[snapshot.curves["id"].isin(inputs.runs["id"])]
    points = with_axis(inside, snapshot.all_runs, inputs.view.curve_x, snapshot.budget.hourly_cost)
    shown = thinned(points, snapshot.all_runs, inputs.goal, np.random.default_rng(0))
    return curves.learning_curves(points, shown, inputs.goal, inputs.look, inputs.view.curve_x, chosen=inputs.view.run)


def parallel_coordinates(inputs: FigureInput) -> go.Figure:
    return parallel.parallel_coordinates(
        inputs.unbrushed, inputs.space, {**inputs.view.brush, **inputs.view.only}, inputs.look
    )


def timeline_of(inputs: FigureInput) -> go.Figure:
    attempts = sorted(inputs.snapshot.attempts_until(inputs.snapshot.read_at), key=lambda attempt: attempt.started_at)
    return timeline.timeline(spans(attempts[-MAX_ATTEMPTS:], inputs.snapshot.read_at), inputs.look)


def comparison(inputs: FigureInput) -> go.Figure:
    return compare.compare({inputs.snapshot.sweep.name: (inputs.snapshot.all_runs, inputs.goal)}, inputs.look)


def waiting(inputs: FigureInput) -> go.Figure:
    """Why there is no model: it is being made, or it cannot be."""
    return theme.empty(inputs.look, model.WAITING if inputs.fit is None else model.NO_MODEL)


TREND_HELP = "Solid: the running median. Dashed: the fitted line, with its correlation on hover."
FIGURES: dict[str, dict[str, Figure]] = {
    "home": {
        "comparison": Figure(
            "Sweeps on one cost axis", "Best score so far against everything paid until then.", comparison, 12
        )
    },
    "overview": {
        "cost_vs_score": Figure(
            "Cost vs score", "Each point is a run; no run is both better and cheaper than the front.", cost_vs_score, 8
        ),
        "efficiency": Figure("Efficiency frontier", "Pareto-optimal runs; hover: what a step up costs.", efficiency, 4),
        "progression": Figure("Score progression", "In the order the results came.", progression),
        "distributions": Figure("Distributions", "How scores and costs are spread.", distributions),
        "importance_overview": Figure(
            "Parameter importance", "For the score; see the Importance page for more.", importance_of("score"), 12
        ),
        "parameters": Figure("Score against each parameter", TREND_HELP, parameters, 12),
    },
    "model": {
        "belief": Figure(
            "Predicted front",
            "Where the model expects the front, with its band; rings are runs still to come.",
            belief,
            12,
        ),
        "slices": Figure(
            "Slices",
            "Along each parameter through one run (star), the chosen or the best; band: 90 %; dots: runs.",
            slices,
            12,
        ),
        "surface": Figure(
            "Contour",
            "Predicted score and its uncertainty over two parameters, the others held at that run.",
            surface,
            12,
        ),
    },
    "importance": {
        "importance_score": Figure(
            "Importance for the score", "Share of its variation that each parameter explains.", importance_of("score")
        ),
        "importance_cost": Figure(
            "Importance for the cost", "The same for log cost; whiskers: 90 % bootstrap.", importance_of("cost")
        ),
        "marginals": Figure(
            "Marginal effects",
            "Predicted score along one parameter, averaged over the others, with 90 % interval.",
            marginals,
            12,
        ),
    },
    "curves": {
        "learning_curves": Figure(
            "Learning curves", "A sample of single runs; band and best are over all of them.", learning_curves, 12
        )
    },
    "parallel": {
        "parallel": Figure(
            "Parallel coordinates", "Drag along an axis: the range filters every page.", parallel_coordinates, 12
        )
    },
    "timeline": {
        "timeline": Figure(
            "Timeline",
            f"The latest {MAX_ATTEMPTS:,} attempts by node and slot; grey is idle time between two.",
            timeline_of,
            12,
        )
    },
}
UNFILTERED = ("parallel", "timeline", "comparison")


def figures_of(page: str) -> dict[str, Figure]:
    return FIGURES.get(page, {})


def find(name: str) -> Figure:
    """The figure with this name, on whatever page. Raises `KeyError`."""
    for figures in FIGURES.values():
        if name in figures:
            return figures[name]
    raise KeyError(name)
