"""Learning curves of all runs over steps, time or money."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from metta_sweep.analysis.curves import best_band
from metta_sweep.dashboard.figures import theme
from metta_sweep.dashboard.figures.theme import Look

NO_PRICE = "The price of an hour is not known; start the dashboard with --hourly-cost"
TICK = "Tick two or more runs in the table to compare them here"
TITLES = {"env_steps": "env steps", "seconds": "training time (s of the sweep's cost)", "dollars": "dollars"}


def learning_curves(
    curves: pd.DataFrame, shown: pd.DataFrame, goal: str, look: Look, axis: str, *, chosen: str = ""
) -> go.Figure:
    """Single curves in the background, the middle half of all runs as a band, the best so far on top.

    Args:
        curves: all curves with their `x`: the band is taken over these.
        shown: the few that are drawn one by one.
        chosen: id of the run to draw boldly; "" = none.
    """
    known = curves.dropna(subset=["x"])
    if known.empty:
        return theme.empty(look, NO_PRICE if axis == "dollars" and len(curves) else "No learning curve has a point yet")
    figure = theme.base(look, TITLES[axis], "score")
    figure.add_trace(_single_curves(shown.dropna(subset=["x"]), look))
    band = best_band(known, goal)
    low, high = theme.band(band["x"], band["low"], band["high"], theme.translucent(look.colours[0], 0.25))
    figure.add_traces([low, {**high, "name": "middle half of the runs", "showlegend": True}])
    for column, name, colour in (("median", "median", look.colours[0]), ("best", "best so far", look.accent)):
        figure.add_trace(theme.line(band["x"], band[column], name=name, line={"color": colour, "width": 2.5}))
    if chosen:
        own, bold = known[known["id"] == chosen], {"color": look.text, "width": 3}
        trace = theme.line(own["x"], own["score"], name=theme.safe(chosen), line=bold)
        figure.add_trace({**trace, "mode": "lines+markers"})
    theme.log_axis(figure)
    return figure


def _single_curves(curves: pd.DataFrame, look: Look) -> dict[str, object]:
    """All curves as one trace with gaps: a trace of its own for each of hundreds takes seconds to draw."""
    ids = curves["id"].to_numpy()
    ends = np.flatnonzero(ids[1:] != ids[:-1]) + 1
    x, y = (np.insert(curves[column].to_numpy(), ends, np.nan) for column in ("x", "score"))
    names = np.insert(ids.astype(object), ends, "")  # as an array: Plotly looks at lists element by element
    style = {"color": theme.translucent(look.muted, 0.35), "width": 1}
    hover = "%{customdata}<br>%{x:.4s}, score %{y:.4g}<extra></extra>"
    trace = theme.line(x, y, line=style, name=f"{len(ends) + bool(len(ids))} runs", hovertemplate=hover)
    return {**trace, "type": theme.scatter_type(len(x)), "customdata": names}


def line_style(index: int, look: Look) -> dict[str, Any]:
    """Colour and dashes of the so-manyth line of a few that are told apart."""
    repeat, colour = divmod(index, len(look.colours))
    return {"color": look.colours[colour], "dash": theme.DASHES[repeat % len(theme.DASHES)]}


def over_each_other(curves: pd.DataFrame, ids: Sequence[str], look: Look, axis: str) -> go.Figure:
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
        own = known[known["id"] == run_id]
        style = {**line_style(index, look), "width": 2.5}
        hover = "%{x:.4s}, score %{y:.4g}<extra>%{fullData.name}</extra>"
        name = theme.safe(f"#{run_id.rpartition('.')[2]}")
        trace = theme.line(own["x"].to_numpy(), own["score"].to_numpy(), line=style, name=name, hovertemplate=hover)
        figure.add_trace({**trace, "mode": "lines+markers", "showlegend": True, "customdata": [run_id] * len(own)})
    theme.log_axis(figure)
    return figure


def run_curve(points: pd.DataFrame, look: Look, threshold: float | None) -> go.Figure:
    """The curve of one run, with the threshold that stopped it."""
    figure = theme.base(look, "env steps", "score", height=240)
    trace = theme.line(points["env_steps"], points["score"], line={"color": look.colours[0]})
    figure.add_trace({**trace, "mode": "lines+markers"})
    if threshold is not None:
        note = {"text": "stop threshold", "font": {"color": look.accent}}
        figure.add_hline(y=threshold, line={"color": look.accent, "dash": "dash"}, annotation=note)
    return figure
