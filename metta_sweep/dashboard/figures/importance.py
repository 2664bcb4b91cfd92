"""Which parameters matter, for the score and for the cost, and how."""

from __future__ import annotations

import math
from collections.abc import Mapping

import pandas as pd
import plotly.graph_objects as go

from metta_sweep.analysis import importance as correlation
from metta_sweep.analysis.surrogate import active_in
from metta_sweep.dashboard.figures import theme
from metta_sweep.dashboard.figures.model import axis_style, effect_traces
from metta_sweep.dashboard.figures.theme import Look

MAX_BARS = 20


def importance_bars(table: pd.DataFrame, look: Look, target: str) -> go.Figure:
    """Total share of the variance that each parameter explains, with intervals; what it explains alone is darker."""
    top = table.head(MAX_BARS).iloc[::-1]
    names = theme.short_names(top["parameter"])
    labels = [theme.noted(names[path], note) for path, note in zip(top["parameter"], top["note"], strict=True)]
    figure = theme.base(look, f"share of the variation of the {target} (fANOVA)", height=max(260, 30 * len(top) + 110))
    hue = theme.hue(target, look)
    pale = theme.translucent(hue, 0.45)
    for column, name, width, colour in (("total", "with interactions", 0.7, pale), ("main", "alone", 0.35, hue)):
        bar = {"type": "bar", "orientation": "h", "y": labels, "x": top[column], "name": name, "width": width}
        bar["customdata"] = [theme.safe(path) for path in top["parameter"]]
        hover = "%{customdata}: %{x:.1%}<extra>%{fullData.name}</extra>"
        figure.add_trace({**bar, "marker": {"color": colour}, "hovertemplate": hover})
    ends = {**theme.error_bars(top["total"], top["total_low"], top["total_high"]), "color": look.text}
    whisker = {"type": "scatter", "mode": "markers", "x": top["total"], "y": labels, "error_x": ends}
    dot = {"color": look.text, "size": 3}
    figure.add_trace({**whisker, "name": "90 % interval", "marker": dot, "hoverinfo": "skip"})
    figure.update_layout(barmode="overlay")
    figure.update_xaxes(tickformat=".0%", rangemode="tozero")
    return figure


def correlation_bars(runs: pd.DataFrame, look: Look, target: str = "score", *, is_asked: bool = False) -> go.Figure:
    """Rank correlation, blind to humps and interactions: as the Metta page has it; stands in until there is a model.

    Args:
        is_asked: whether it was chosen; else its title says that it stands in.
    """
    table = correlation.importance(runs, target).head(MAX_BARS).iloc[::-1]
    if table.empty:
        return theme.empty(look, "Importance needs 3 runs with different parameters and scores")
    names = theme.short_names(table["parameter"])
    total, enough = int(runs[target].notna().sum()), correlation.MIN_ACTIVE
    notes = [active_in(count, total, enough) for count in table["num_runs"]]
    why = "" if is_asked else "until there is a model; "
    height = max(260, 30 * len(table) + 110)
    figure = theme.base(look, f"absolute rank correlation ({why}blind to humps and interactions)", height=height)
    figure.add_trace(
        {
            "type": "bar",
            "orientation": "h",
            "x": table["importance"].to_numpy(),
            "y": [theme.noted(names[path], note) for path, note in zip(table["parameter"], notes, strict=True)],
            "marker": {"color": theme.hue(target, look)},
            "text": ["" if math.isnan(value) else f"{value:+.2f}" for value in table["correlation"]],
            "hovertemplate": "%{y}: %{x:.2f}<extra></extra>",
        }
    )
    figure.update_xaxes(range=[0, 1])
    return figure


def marginal_effects(marginals: Mapping[str, pd.DataFrame], notes: Mapping[str, str], look: Look) -> go.Figure:
    """Predicted score along each of the leading parameters, averaged over all others.

    Args:
        notes: what to say beside a parameter that only some runs have.
    """
    names = theme.short_names(marginals)
    titles = {path: theme.noted(names[path], notes.get(path, "")) for path in marginals}
    cells = [
        theme.Cell(titles[path], "score", effect_traces(line, look), axis_style(line["value"].tolist()))
        for path, line in marginals.items()
    ]
    return theme.grid(look, cells, columns=min(3, len(cells)), height=260 * -(-len(cells) // 3) + 40)
