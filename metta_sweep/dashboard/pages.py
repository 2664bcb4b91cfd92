"""Which figures each page has: a name, a heading, one sentence of help, and how it is drawn from a scene."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go

from metta_sweep.analysis.curves import thinned, with_axis
from metta_sweep.analysis.timeline import spans
from metta_sweep.dashboard.figures import compare, curves, importance, model, parallel, scores, theme, timeline
from metta_sweep.dashboard.scene import Scene
from metta_sweep.dashboard.view import CORRELATION

MAX_ATTEMPTS = 1000  # more would be thinner than a pixel
Draw = Callable[[Scene], go.Figure]


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


def cost_vs_score(scene: Scene) -> go.Figure:
    return scores.cost_vs_score(scene.runs, scene.goal, scene.look, cost=scene.view.cost_axis)


def efficiency(scene: Scene) -> go.Figure:
    return scores.efficiency_frontier(scene.runs, scene.goal, scene.look, cost=scene.view.cost_axis)


def progression(scene: Scene) -> go.Figure:
    return scores.score_progression(scene.runs, scene.goal, scene.look)


def distributions(scene: Scene) -> go.Figure:
    return scores.distributions(scene.runs, scene.look, cost=scene.view.cost_axis)


def parameters(scene: Scene) -> go.Figure:
    return scores.parameter_grid(scene.runs, scene.look, scene.log_params)


def belief(scene: Scene) -> go.Figure:
    if scene.study is None or scene.study.surrogate is None:
        return waiting(scene)
    return model.belief_front(scene.runs, scene.study.front, scene.goal, scene.look)


def slices(scene: Scene) -> go.Figure:
    if scene.study is None or scene.study.surrogate is None or scene.held is None:
        return waiting(scene)
    order = scene.study.importance["score"]["parameter"].tolist()
    return model.slices(scene.study.surrogate, scene.runs, scene.held, model.Order(order, scene.study.hits), scene.look)


def surface(scene: Scene) -> go.Figure:
    pair = scene.pair
    if scene.study is None or scene.study.surrogate is None or scene.held is None:
        return waiting(scene)
    if pair is None:
        return theme.empty(scene.look, "A contour needs two free parameters")
    return model.surface(scene.study.surrogate, pair, scene.held, scene.runs, scene.look)


def importance_of(target: str) -> Draw:
    """Bars for score or cost; correlation when the view asks for it, and until there is a model."""
    column = "score" if target == "score" else "cost_seconds"

    def draw(scene: Scene) -> go.Figure:
        has_model = scene.study is not None and target in scene.study.importance
        is_asked = scene.view.measure == CORRELATION
        if is_asked or scene.study is None or not has_model:
            return importance.correlation_bars(scene.runs, scene.look, column, is_asked=is_asked)
        return importance.importance_bars(scene.study.importance[target], scene.look, target)

    return draw


def marginals(scene: Scene) -> go.Figure:
    if scene.study is None or not scene.study.marginals:
        return waiting(scene)
    return importance.marginal_effects(scene.study.marginals, scene.look)


def learning_curves(scene: Scene) -> go.Figure:
    snapshot = scene.snapshot
    is_whole = len(scene.runs) == len(snapshot.all_runs)
    inside = snapshot.curves if is_whole else snapshot.curves[snapshot.curves["id"].isin(scene.runs["id"])]
    points = with_axis(inside, snapshot.all_runs, scene.view.curve_x, snapshot.budget.hourly_cost)
    shown = thinned(points, snapshot.all_runs, scene.goal, np.random.default_rng(0))
    return curves.learning_curves(points, shown, scene.goal, scene.look, scene.view.curve_x, chosen=scene.view.run)


def parallel_coordinates(scene: Scene) -> go.Figure:
    return parallel.parallel_coordinates(
        scene.unbrushed, scene.space, {**scene.view.brush, **scene.view.only}, scene.look
    )


def timeline_of(scene: Scene) -> go.Figure:
    attempts = sorted(scene.snapshot.attempts_until(scene.snapshot.read_at), key=lambda attempt: attempt.started_at)
    return timeline.timeline(spans(attempts[-MAX_ATTEMPTS:], scene.snapshot.read_at), scene.look)


def comparison(scene: Scene) -> go.Figure:
    others = {name: (other.all_runs, other.goal) for name, other in scene.others.items()}
    return compare.compare(others or {scene.snapshot.sweep.name: (scene.snapshot.all_runs, scene.goal)}, scene.look)


def waiting(scene: Scene) -> go.Figure:
    """Why there is no model: it is being made, or it cannot be."""
    return theme.empty(scene.look, model.WAITING if scene.study is None else model.NO_MODEL)


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
