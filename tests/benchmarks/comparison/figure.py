"""Draws `docs/comparison.svg` from `replay.json` and `live.json`: `python -m tests.benchmarks.comparison.figure`; needs
Chromium.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray
from plotly.subplots import make_subplots

from tests.benchmarks.comparison import live, replay
from tests.benchmarks.search.ppo_table import PPO_FIVE
from tests.metta_sweep.dashboard.browser import Page
from tests.metta_sweep.driver.drive import ROOT

FILE = ROOT / "docs" / "comparison.svg"
COLOURS = {
    "metta_sweep": "#0072b2",
    "Ray Tune + Optuna": "#d55e00",
    "random search": "#777777",
}  # tell apart without red and green
SHARES = np.linspace(0.02, 1.0, 50)
SIZE = {"width": 900, "height": 360}


def band(scores: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Mean over seeds and its bootstrap 95 % interval, of (seeds, shares)."""
    draws = np.random.default_rng(0).integers(len(scores), size=(2000, len(scores)))
    low, high = np.quantile(scores[draws].mean(axis=1), [0.025, 0.975], axis=0)
    return scores.mean(axis=0), low, high


def add_replay(figure: go.Figure, rows: Sequence[replay.Replay]) -> None:
    for name, colour in COLOURS.items():
        scores = np.array(
            [[one.score_at(share * one.budget) for share in SHARES] for one in rows if one.method == name]
        )
        mean, low, high = band(scores)
        edge = {"mode": "lines", "line": {"width": 0}, "showlegend": False, "hoverinfo": "skip"}
        figure.add_scatter(x=SHARES * 100, y=low, row=1, col=1, **edge)
        figure.add_scatter(x=SHARES * 100, y=high, row=1, col=1, fill="tonexty", fillcolor=faint(colour), **edge)
        figure.add_scatter(x=SHARES * 100, y=mean, name=name, line={"color": colour, "width": 2}, row=1, col=1)


def add_live(figure: go.Figure, rows: Sequence[live.Live]) -> None:
    percent = [100 * share for share in live.SHARES]
    for name, colour in COLOURS.items():
        mine = [one for one in rows if one.method == name]
        for one in mine:
            marks = {"color": colour, "size": 6, "opacity": 0.5}
            figure.add_scatter(x=percent, y=one.scores, mode="markers", marker=marks, showlegend=False, row=1, col=2)
        mean = np.mean([one.scores for one in mine], axis=0)
        figure.add_scatter(x=percent, y=mean, line={"color": colour, "width": 2}, showlegend=False, row=1, col=2)


def faint(colour: str) -> str:
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},0.15)"


def draw() -> go.Figure:
    replays, lives = replay.load(), live.load()
    seeds, repeats = len({one.seed for one in replays}), len({one.seed for one in lives})
    titles = (
        f"{len(json.loads(PPO_FIVE.file.read_text()))} recorded PPO runs, {seeds} seeds",
        f"real sweeps, {repeats} repeats",
    )
    figure = make_subplots(cols=2, subplot_titles=titles, horizontal_spacing=0.09)
    add_replay(figure, replays)
    add_live(figure, lives)
    figure.update_xaxes(title="CPU time spent, % of the budget", range=[0, 103])
    figure.update_yaxes(title="hearts per agent and episode", rangemode="tozero", col=1)
    figure.update_yaxes(rangemode="tozero", col=2)
    figure.update_layout(
        template="plotly_white",
        legend={"orientation": "h", "y": 1.22},
        margin={"l": 60, "r": 20, "t": 70, "b": 50},
        **SIZE,
    )
    return figure


def svg(figure: go.Figure) -> str:
    """The figure as an SVG file, drawn by plotly.js in the browser."""
    with tempfile.TemporaryDirectory() as name:
        html = Path(name) / "figure.html"
        html.write_text(figure.to_html(include_plotlyjs=True), encoding="utf-8")
        page = Page(Path(name))
        page.open(html.as_uri())
        script = (
            "const done = arguments[1]; Plotly.toImage(document.querySelector('.js-plotly-plot'), "
            "arguments[0]).then(done);"
        )
        page.find(".js-plotly-plot")
        image: str = page.driver.execute_async_script(script, {"format": "svg", **SIZE})
        page.close()
    return unquote(image.split(",", 1)[1])


def main() -> None:
    FILE.write_text(svg(draw()), encoding="utf-8")


if __name__ == "__main__":
    main()
