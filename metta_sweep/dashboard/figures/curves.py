"""Learning curves of all runs over steps, time or money."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from metta_sweep.analysis.curves import best_band
from metta_sweep.analysis.names import mark
from metta_sweep.dashboard.figures import theme
from metta_sweep.dashboard.figures.colouring import FEW, Group, Scale, groups_of, scale_of
from metta_sweep.dashboard.figures.theme import Look, line_style

NO_PRICE = "The price of an hour is not known; start the dashboard with --hourly-cost"
CROWD = 150  # curves that hide each other, by eye on a simulated sweep
NO_POINT = "No learning curve has a point yet"
TICK = "Tick two or more runs in the table to compare them here"
TITLES = {"env_steps": "env steps", "seconds": "training time (s of the sweep's cost)", "dollars": "dollars"}


@dataclass(frozen=True, slots=True)
class CurveView:
    """How curves are drawn.

    Attributes:
        axis: key of `TITLES`.
        by: what they are coloured by, see `colouring`.
        is_log: whether the horizontal axis is logarithmic.
        run: id of the open run; "" = none.
        chosen: ids of runs to draw boldly.
        log_params: dotted paths whose colours are on a logarithmic scale.
    """

    axis: str
    by: str = "auto"
    is_log: bool = True
    run: str = ""
    chosen: Sequence[str] = ()
    log_params: Sequence[str] = ()


def learning_curves(
    curves: pd.DataFrame, shown: pd.DataFrame, runs: pd.DataFrame, goal: str, look: Look, view: CurveView
) -> go.Figure:
    """Single curves, the middle half of all runs as a band, the best so far on top.

    Args:
        curves: all curves with their `x`: the band is taken over these.
        shown: the few that are drawn one by one.
        runs: rows of the runs, for their colours.
    """
    known = curves.dropna(subset=["x"])
    if known.empty:
        return theme.empty(look, NO_PRICE if view.axis == "dollars" and len(curves) else NO_POINT)
    figure = theme.base(look, TITLES[view.axis], "score")
    single = shown.dropna(subset=["x"])
    figure.add_traces(single_curves(single, runs[runs["id"].isin(single["id"].unique())], look, view))
    figure.add_traces(band_traces(best_band(known, goal), look))
    styles = {run_id: line_style(index, look) for index, run_id in enumerate(view.chosen)}
    styles |= {view.run: {"color": look.text}} if view.run else {}
    for run_id, style in styles.items():
        figure.add_trace(one_curve(known[known["id"] == run_id], run_id, {**style, "width": 3}))
    return scaled(figure, is_log=view.is_log)


def scaled(figure: go.Figure, *, is_log: bool) -> go.Figure:
    """The figure with the horizontal axis that was asked for."""
    if is_log:
        theme.log_axis(figure)
    else:
        figure.update_xaxes(rangemode="tozero", tickformat="~s")
    return figure


def single_curves(curves: pd.DataFrame, runs: pd.DataFrame, look: Look, view: CurveView) -> list[dict[str, Any]]:
    """A trace for each colour: one of its own for each of hundreds of curves takes seconds to draw."""
    if len(curves) == 0:
        return []
    is_few = len(runs) <= FEW
    automatic = "none" if view.chosen else "run" if is_few else "phase"  # behind chosen runs, which have colours
    by = automatic if view.by == "auto" else view.by
    scale = scale_of(runs, by, view.log_params)
    groups = scale.shades(look) if scale is not None else groups_of(runs, by, look)
    has_legend = scale is None and (by != "run" or is_few)
    thin = {"width": 2.0 if is_few else 1.0}
    alpha = 0.4 if view.chosen or len(runs) > CROWD else 1.0 if is_few else 0.7
    traces = [
        {
            **joined(curves[curves["id"].isin(group.ids)], group, scale),
            "line": {**group.style, **thin},
            "opacity": alpha,
            "showlegend": has_legend,
        }
        for group in groups
    ]
    drawn = [trace for trace in traces if len(trace["x"])]
    if scale is not None and drawn:  # a point that is not seen, for its colour bar
        bar = {**scale.bar(look), "color": [scale.ends[0]], "showscale": True, "opacity": 0}
        unseen = {"type": "scatter", "mode": "markers", "x": drawn[0]["x"][:1], "y": drawn[0]["y"][:1], "marker": bar}
        drawn.append({**unseen, "showlegend": False, "hoverinfo": "skip"})
    return drawn


def joined(curves: pd.DataFrame, group: Group, scale: Scale | None) -> dict[str, Any]:
    """The curves of a group as one trace with gaps, each point with its run and what that is coloured by."""
    ids = curves["id"].to_numpy()
    ends = np.flatnonzero(ids[1:] != ids[:-1]) + 1
    x, y = (np.insert(curves[column].to_numpy(), ends, np.nan) for column in ("x", "score"))
    names = np.insert(ids.astype(object), ends, "")  # as an array: Plotly looks at lists element by element
    hover = "%{customdata}<br>%{x:.4s}, score %{y:.4g}<extra></extra>"
    label = group.name
    if scale is not None:
        told = {one: scale_text(value, scale) for one, value in scale.values.items()}
        texts = np.array([told.get(one, "") for one in names], dtype=object)
        names = np.column_stack([names, texts])
        hover = "%{customdata[0]}<br>%{customdata[1]}<br>%{x:.4s}, score %{y:.4g}<extra></extra>"
    elif label and not label.startswith("#"):
        hover = f"%{{customdata}}<br>{theme.safe(label)}<br>%{{x:.4s}}, score %{{y:.4g}}<extra></extra>"
    trace = theme.line(x, y, name=theme.safe(label), hovertemplate=hover)
    return {**trace, "type": theme.scatter_type(len(x)), "customdata": names}


def scale_text(value: float, scale: Scale) -> str:
    known = 10**value if scale.is_log else value
    return f"{theme.safe(scale.title)} {theme.number(float(known))}"


def band_traces(band: pd.DataFrame, look: Look) -> list[dict[str, Any]]:
    """The middle half of the runs and their median, as far as there are enough; the best so far."""
    best = theme.line(band["x"], band["best"], name="best so far", line={"color": look.accent, "width": 2.5})
    best["hovertemplate"] = "%{x:.4s}, best %{y:.4g}<extra></extra>"
    many = band[band["median"].notna()]
    if many.empty:
        return [best]
    edges = theme.band(many["x"], many["low"], many["high"], theme.translucent(look.text, 0.13))
    low, high = edges
    dashed = {"color": look.text, "width": 2.5, "dash": "dash"}
    middle = theme.line(many["x"], many["median"], name="median", line=dashed)
    middle["hovertemplate"] = "%{x:.4s}, median %{y:.4g}<extra></extra>"
    return [low, {**high, "name": "middle half of the runs", "showlegend": True}, middle, best]


def one_curve(own: pd.DataFrame, run_id: str, style: dict[str, Any]) -> dict[str, Any]:
    """The curve of one run, with its points."""
    hover = "%{x:.4s}, score %{y:.4g}<extra>%{fullData.name}</extra>"
    name = theme.safe(mark(run_id))
    trace = theme.line(own["x"].to_numpy(), own["score"].to_numpy(), line=style, name=name, hovertemplate=hover)
    return {**trace, "mode": "lines+markers", "showlegend": True, "customdata": [run_id] * len(own)}


def over_each_other(
    curves: pd.DataFrame, ids: Sequence[str], look: Look, axis: str, *, is_log: bool = True
) -> go.Figure:
    """The curves of a few runs, each with its own colour.

    Args:
        curves: with their `x`.
        ids: of the runs, in the order of their colours.
    """
    known = curves.dropna(subset=["x"])
    if not known["id"].isin(ids).any():
        return theme.empty(look, "None of the chosen runs has a learning curve" if ids else TICK)
    figure = theme.base(look, TITLES[axis], "score")
    for index, run_id in enumerate(ids):
        style = {**line_style(index, look), "width": 2.5}
        figure.add_trace(one_curve(known[known["id"] == run_id], run_id, style))
    return scaled(figure, is_log=is_log)


def run_curve(points: pd.DataFrame, look: Look, threshold: float | None) -> go.Figure:
    """The curve of one run, with the threshold that stopped it."""
    figure = theme.base(look, "env steps", "score", height=240)
    trace = theme.line(points["env_steps"], points["score"], line={"color": look.colours[0]})
    figure.add_trace({**trace, "mode": "lines+markers"})
    if threshold is not None:
        note = {"text": "stop threshold", "font": {"color": look.accent}}
        figure.add_hline(y=threshold, line={"color": look.accent, "dash": "dash"}, annotation=note)
    return figure
