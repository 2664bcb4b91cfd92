"""Several sweeps on one cost axis, and the small picture of one."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd
import plotly.graph_objects as go

from metta_sweep.analysis.pareto import direction
from metta_sweep.dashboard.figures import theme
from metta_sweep.dashboard.figures.theme import Look, line_style

PAID = {"dollars": "dollars spent on the sweep", "cost_seconds": "seconds of the sweep's cost spent"}


def best_for_money(runs: pd.DataFrame, goal: str, cost: str) -> pd.DataFrame:
    """Columns paid and best: best score after each result, and all that was paid until then, for failed runs, too."""
    ended = runs[runs["sequence"] > 0].sort_values("sequence")
    utility = (direction(goal) * ended["score"]).cummax().ffill()
    paid = ended[cost].fillna(0.0).cumsum()
    return pd.DataFrame({"paid": paid, "best": direction(goal) * utility}).dropna(subset=["best"])


def compare(sweeps: Mapping[str, tuple[pd.DataFrame, str]], look: Look) -> go.Figure:
    """Best score so far against money, one line per sweep.

    Args:
        sweeps: frame and goal by name.
    """
    has_price = all(runs["dollars"].sum() > 0 for runs, _ in sweeps.values() if len(runs))
    cost = "dollars" if has_price else "cost_seconds"
    figure = theme.base(look, PAID[cost], "best score so far", height=420)
    for index, (name, (runs, goal)) in enumerate(sweeps.items()):
        line = best_for_money(runs, goal, cost)
        style = {**line_style(index, look), "width": 2.5, "shape": "hv"}
        hover = "%{y:.4g} after %{x:.4g}<extra>%{meta}</extra>"
        told = {"name": theme.noted(name, ""), "meta": theme.safe(name), "hovertemplate": hover}
        trace = theme.line(line["paid"], line["best"], line=style, **told)
        figure.add_trace({**trace, "showlegend": True})
    if not any(len(trace.x) for trace in figure.data):
        return theme.empty(look, "Tick sweeps with scores in the table above")
    return figure


def sparkline(values: list[float], colour: str, *, width: int = 120, height: int = 28) -> str:
    """A tiny line as SVG text, best score so far over the results; "" for fewer than two values."""
    if len(values) < 2:
        return ""
    low, high = min(values), max(values)
    span = high - low or 1.0
    step = (width - 4) / (len(values) - 1)
    points = " ".join(
        f"{2 + index * step:.1f},{height - 3 - (value - low) / span * (height - 6):.1f}"
        for index, value in enumerate(values)
    )
    line = f'<polyline fill="none" stroke="{colour}" stroke-width="2" points="{points}"/>'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} '
        f'{height}">{line}</svg>'
    )
