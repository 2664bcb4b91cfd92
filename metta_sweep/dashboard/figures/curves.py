"""Learning curves of all runs over steps, time or money."""

from __future__ import annotations

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from metta_sweep.analysis.curves import best_band
from metta_sweep.dashboard.figures import theme
from metta_sweep.dashboard.figures.theme import Look

NO_PRICE = "The price of an hour is not known; start the dashboard with --hourly-cost"
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
    edge = {
        "type": "scatter",
        "mode": "lines",
        "x": band["x"],
        "line": {"width": 0},
        "hoverinfo": "skip",
        "showlegend": False,
    }
    fill = {
        "fill": "tonexty",
        "fillcolor": theme.translucent(look.colours[0], 0.25),
        "name": "middle half of the runs",
        "showlegend": True,
    }
    figure.add_traces([{**edge, "y": band["low"]}, {**edge, "y": band["high"], **fill}])
    for column, name, colour in (("median", "median", look.colours[0]), ("best", "best so far", look.accent)):
        line = {"color": colour, "width": 2.5}
        figure.add_trace(
            {"type": "scatter", "mode": "lines", "x": band["x"], "y": band[column], "name": name, "line": line}
        )
    if chosen:
        own = known[known["id"] == chosen]
        line = {"color": look.text, "width": 3}
        figure.add_trace(
            {
                "type": "scatter",
                "mode": "lines+markers",
                "x": own["x"],
                "y": own["score"],
                "name": theme.safe(chosen),
                "line": line,
            }
        )
    theme.log_axis(figure)
    return figure


def _single_curves(curves: pd.DataFrame, look: Look) -> dict[str, object]:
    """All curves as one trace with gaps: a trace of its own for each of hundreds takes seconds to draw."""
    ids = curves["id"].to_numpy()
    ends = np.flatnonzero(ids[1:] != ids[:-1]) + 1
    x, y = (np.insert(curves[column].to_numpy(), ends, np.nan) for column in ("x", "score"))
    names = np.insert(ids.astype(object), ends, "")  # as an array: Plotly looks at lists element by element
    return {
        "type": theme.scatter_type(len(x)),
        "mode": "lines",
        "x": x,
        "y": y,
        "name": f"{len(ends) + bool(len(ids))} runs",
        "line": {"color": theme.translucent(look.muted, 0.35), "width": 1},
        "customdata": names,
        "hovertemplate": "%{customdata}<br>%{x:.4s}, score %{y:.4g}<extra></extra>",
    }


def run_curve(points: pd.DataFrame, look: Look, threshold: float | None) -> go.Figure:
    """The curve of one run, with the threshold that stopped it."""
    figure = theme.base(look, "env steps", "score", height=240)
    line = {"color": look.colours[0]}
    figure.add_trace(
        {"type": "scatter", "mode": "lines+markers", "x": points["env_steps"], "y": points["score"], "line": line}
    )
    if threshold is not None:
        note = {"text": "stop threshold", "font": {"color": look.accent}}
        figure.add_hline(y=threshold, line={"color": look.accent, "dash": "dash"}, annotation=note)
    return figure
