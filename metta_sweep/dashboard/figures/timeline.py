"""Who did what when, by slot."""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go

from metta_sweep.dashboard.figures import theme
from metta_sweep.dashboard.figures.theme import Look

COLOURS = {
    "setup": "#56B4E9",
    "train": "#0072B2",
    "curve": "#CC79A7",
    "evaluate": "#009E73",
    "running": "#E69F00",
    "interrupted": "#D55E00",
    "idle": "rgba(128,128,128,0.25)",
}
NAMES = {"curve": "curve points", "setup": "set-up", "running": "running now"}


def timeline(table: pd.DataFrame, look: Look) -> go.Figure:
    """Bars from start to end, a lane per slot; time is UTC.

    Args:
        table: from `analysis.timeline.spans`.
    """
    if table.empty:
        return theme.empty(look, "No run has started yet")
    lanes = sorted(table["lane"].unique(), reverse=True)
    figure = theme.base(look, "time (UTC)", height=max(260, 34 * len(lanes) + 120))
    for kind, colour in COLOURS.items():
        part = table[table["kind"] == kind]
        if len(part):
            figure.add_trace(_bars(part, NAMES.get(kind, kind), colour))
    figure.update_layout(barmode="overlay", bargap=0.25)
    figure.update_xaxes(type="date")
    figure.update_yaxes(categoryorder="array", categoryarray=[theme.safe(lane) for lane in lanes], type="category")
    return figure


def _bars(part: pd.DataFrame, name: str, colour: str) -> dict[str, object]:
    length = part["end"] - part["start"]
    whose = [
        f"{run_id} attempt {attempt} on {nodes or 'unknown node'}: " if run_id else ""
        for run_id, attempt, nodes in zip(part["run_id"], part["attempt"], part["nodes"], strict=True)
    ]
    texts = [theme.safe(who) + theme.seconds(seconds) for who, seconds in zip(whose, length, strict=True)]
    return {
        "type": "bar",
        "orientation": "h",
        "base": pd.to_datetime(part["start"], unit="s").dt.strftime("%Y-%m-%dT%H:%M:%S.%f").tolist(),
        "x": (length * 1000.0).to_numpy(),
        "y": [theme.safe(lane) for lane in part["lane"]],
        "name": name,
        "marker": {"color": colour, "line": {"width": 0}},
        "customdata": part["run_id"].tolist(),
        "text": texts,
        "textposition": "none",
        "hovertemplate": "%{text}<extra>" + name + "</extra>",
    }
