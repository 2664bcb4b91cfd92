"""Where the good runs lie: scores as an empirical distribution, two parameters in the colour of the score's rank."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from metta_sweep.analysis.frame import PARAM, is_number, scored, varying_params
from metta_sweep.analysis.pareto import direction
from metta_sweep.dashboard.figures import theme
from metta_sweep.dashboard.figures.theme import Look

MIN_RUNS = 2  # one run has no rank and no distribution


def edf(groups: Mapping[str, pd.Series[float]], look: Look) -> go.Figure:
    """Share of runs with at most each score: the further right (for a loss, left) a line lies, the better its runs.

    Args:
        groups: scores by phase or sweep.
    """
    known = {name: scores.dropna().sort_values() for name, scores in groups.items()}
    known = {name: scores for name, scores in known.items() if len(scores) >= MIN_RUNS}
    if not known:
        return theme.empty(look, "A distribution needs two scores")
    figure = theme.base(look, "score", "share of the runs")
    for index, (name, scores) in enumerate(known.items()):
        share = np.arange(1, len(scores) + 1) / len(scores)
        style = {**theme.line_style(index, look), "width": 2.5, "shape": "hv"}
        hover = "%{y:.0%} have at most %{x:.4g}<extra>%{fullData.name}</extra>"
        trace = theme.line(scores.to_numpy(), share, name=theme.safe(name or "runs"), line=style, hovertemplate=hover)
        figure.add_trace({**trace, "showlegend": True})
    figure.update_yaxes(tickformat=".0%", range=[0, 1.02])
    return figure


def edf_by_phase(runs: pd.DataFrame, look: Look) -> go.Figure:
    done = scored(runs)
    return edf({name: done.loc[done["phase"] == name, "score"] for name in theme.phase_colours(done, look)}, look)


def edf_of_sweeps(sweeps: Mapping[str, tuple[pd.DataFrame, str]], look: Look) -> go.Figure:
    """The same, a line per sweep; frames and goals by name."""
    return edf({name: scored(runs)["score"] for name, (runs, _) in sweeps.items()}, look)


def pair_of(runs: pd.DataFrame, asked: Sequence[str], ranked: Sequence[str]) -> tuple[str, str] | None:
    """Two parameters with several values: those that are asked for, else the most important, else the first ones."""
    varying = [name.removeprefix(PARAM) for name in varying_params(runs)]
    wanted = [name for name in dict.fromkeys((*asked, *ranked, *varying)) if name in varying]
    return (wanted[0], wanted[1]) if len(wanted) > 1 else None


def rank(runs: pd.DataFrame, pair: tuple[str, str] | None, goal: str, look: Look, log: Sequence[str] = ()) -> go.Figure:
    """Every scored run at its two parameters, in the colour of its rank: an outlier does not take the whole scale.

    Args:
        log: dotted paths to draw on a logarithmic axis.
    """
    done = scored(runs)
    if pair is None or len(done) < MIN_RUNS:
        return theme.empty(look, "Ranks need two scores and two parameters with several values")
    done = done.dropna(subset=[PARAM + name for name in pair])
    order = (direction(goal) * done["score"]).rank(pct=True)
    names = theme.short_names(pair)
    figure = theme.base(look, theme.safe(names[pair[0]]), theme.safe(names[pair[1]]))
    bar = {"title": {"text": "rank", "side": "right"}, "thickness": 12, "tickvals": [0, 0.5, 1]}
    colours = {"colorscale": theme.scale("score", look), "cmin": 0, "cmax": 1, "showscale": True}
    marker = {"color": order.to_numpy(), "size": 8, "line": {"width": 1, "color": look.paper}, **colours}
    marker["colorbar"] = {**bar, "ticktext": ["worst", "middle", "best"]}
    places = [_places(done[PARAM + name]) for name in pair]
    points = theme.dots(done, *places, marker=marker, showlegend=False)
    figure.add_trace({**points, **theme.hover(done, names[pair[0]])})
    for name, change in zip(pair, (figure.update_xaxes, figure.update_yaxes), strict=True):
        change(**_axis(done[PARAM + name], is_log=name in log))
    return figure


def _places(values: pd.Series[Any]) -> Any:
    return theme.numbers(values) if is_number(values) else values.astype(str).to_numpy()


def _axis(values: pd.Series[Any], *, is_log: bool) -> dict[str, Any]:
    if not is_number(values):
        return {"type": "category"}
    low, high = float(values.min()), float(values.max())
    return theme.log_style(low, high) if is_log and low > 0 else {}
