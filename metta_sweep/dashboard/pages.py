"""Which figures each page has: a name, a heading, one sentence of help, and how it is drawn from a scene."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import plotly.graph_objects as go

from metta_sweep.dashboard.figures import scores
from metta_sweep.dashboard.scene import Scene

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


FIGURES: dict[str, dict[str, Figure]] = {
    "overview": {
        "cost_vs_score": Figure(
            "Cost vs score",
            "Each point is a run; the line is the Pareto front: no other run is both better and cheaper. Click a point for the run.",
            lambda scene: scores.cost_vs_score(scene.runs, scene.goal, scene.look, cost=scene.view.cost_axis),
            8,
        ),
        "efficiency": Figure(
            "Efficiency frontier",
            "The Pareto-optimal runs alone; hover to see what each step up costs.",
            lambda scene: scores.efficiency_frontier(scene.runs, scene.goal, scene.look, cost=scene.view.cost_axis),
            4,
        ),
        "progression": Figure(
            "Score progression",
            "Scores in the order the results came, their moving average and the best so far.",
            lambda scene: scores.score_progression(scene.runs, scene.goal, scene.look),
        ),
        "distributions": Figure(
            "Distributions",
            "How scores and costs are spread.",
            lambda scene: scores.distributions(scene.runs, scene.look, cost=scene.view.cost_axis),
        ),
        "parameters": Figure(
            "Score against each parameter",
            "The line is the running median.",
            lambda scene: scores.parameter_grid(scene.runs, scene.look, scene.log_params),
            12,
        ),
    },
}


def figures_of(page: str) -> dict[str, Figure]:
    return FIGURES.get(page, {})


def find(name: str) -> Figure:
    """The figure with this name, on whatever page. Raises `KeyError`."""
    return next(figures[name] for figures in FIGURES.values() if name in figures)
