"""Scores against money, over time, and against each parameter."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from metta_sweep.analysis.estimates import progression
from metta_sweep.analysis.frame import PARAM, scored, varying_params
from metta_sweep.analysis.pareto import pareto_front
from metta_sweep.dashboard.figures import theme
from metta_sweep.dashboard.figures.theme import Look

NO_SCORES = "No run has a score yet"
MAX_GRID_PARAMS = 12
GRID_COLUMNS = 3
MAX_LABELS = 6
MIN_FITTED = 3  # two points always lie on a line


def cost_vs_score(runs: pd.DataFrame, goal: str, look: Look, *, cost: str = "cost_seconds") -> go.Figure:
    """Every scored run, coloured by phase, with the Pareto front drawn through the best for the money.

    Cost is on a logarithmic axis.
    """
    done = scored(runs)
    done = done[done[cost] > 0]
    if done.empty:
        return theme.empty(look, NO_SCORES)
    figure = theme.base(look, theme.label(cost), "score")
    for phase, colour in theme.phase_colours(done, look).items():
        add_runs(figure, done[done["phase"] == phase], cost, colour, phase or "runs")
    add_front(figure, pareto_front(done, goal, cost=cost), cost, look)
    theme.log_axis(figure)
    return figure


def add_runs(figure: go.Figure, runs: pd.DataFrame, cost: str, colour: str, name: str) -> None:
    """Runs as points; a click finds the run's id in `customdata`."""
    figure.add_trace(
        dict(
            type=theme.scatter_type(len(runs)),
            x=theme.numbers(runs[cost]),
            y=theme.numbers(runs["score"]),
            mode="markers",
            name=theme.safe(name),
            marker={
                "color": colour,
                "size": 7,
                "opacity": 0.7,
                "symbol": runs["state"].map(theme.STATE_SYMBOLS).tolist(),
            },
            **theme.hover(runs, theme.label(cost)),
        )
    )


def add_front(figure: go.Figure, front: pd.DataFrame, cost: str, look: Look) -> None:
    """The observed front as a step: what a given amount of money buys."""
    figure.add_trace(
        go.Scatter(
            x=front[cost].to_numpy(),
            y=front["score"].to_numpy(),
            mode="lines+markers",
            name="Pareto front",
            line={"color": look.accent, "width": 2, "shape": "hv"},
            marker={"color": look.accent, "size": 10, "symbol": "star"},
            customdata=front["id"].tolist(),
            text=theme.hover_texts(front),
            hovertemplate="%{text}<extra></extra>",
        )
    )


def score_progression(runs: pd.DataFrame, goal: str, look: Look, *, window: int = 10) -> go.Figure:
    """Scores in the order the results came, their moving average and the best so far."""
    steps = progression(runs, goal, window=window)
    if steps.empty:
        return theme.empty(look, NO_SCORES)
    figure = theme.base(look, "number of the result", "score")
    order = np.arange(1, len(steps) + 1)
    figure.add_trace(
        dict(
            type=theme.scatter_type(len(steps)),
            x=order,
            y=theme.numbers(steps["score"]),
            mode="markers",
            name="runs",
            marker={"color": look.muted, "size": 6, "opacity": 0.6},
            **theme.hover(scored(runs).sort_values("sequence"), "result"),
        )
    )
    for column, name, colour, shape in (
        ("moving_average", f"moving average of {window}", look.colours[0], "linear"),
        ("best_so_far", "best so far", look.accent, "hv"),
    ):
        line = {"color": colour, "width": 2, "shape": shape}
        figure.add_trace(
            go.Scatter(
                x=order,
                y=steps[column].to_numpy(),
                mode="lines",
                name=name,
                line=line,
                hovertemplate="%{y:.4g}<extra>" + name + "</extra>",
            )
        )
    return figure


def efficiency_frontier(runs: pd.DataFrame, goal: str, look: Look, *, cost: str = "cost_seconds") -> go.Figure:
    """The Pareto-optimal runs alone, each with its number, and what the next step up the front costs per point of
    score.
    """
    front = pareto_front(runs, goal, cost=cost)
    if front.empty:
        return theme.empty(look, NO_SCORES)
    figure = theme.base(look, theme.label(cost), "score")
    price = front[cost].diff() / front["score"].diff().abs()
    steps = [
        "cheapest" if math.isnan(one) else f"{theme.number(one, 3)} s per point of score above the step before"
        for one in price
    ]
    figure.add_trace(
        go.Scatter(
            x=front[cost].to_numpy(),
            y=front["score"].to_numpy(),
            mode="lines+markers+text",
            line={"color": look.accent, "width": 2, "shape": "hv"},
            marker={"size": 11, "color": look.accent},
            text=_spaced([f"#{n}" for n in front["number"]]),
            textposition=["top right", *["top left"] * (len(front) - 1)],
            customdata=front["id"].tolist(),
            hovertext=[f"{text}<br>{step}" for text, step in zip(theme.hover_texts(front), steps, strict=True)],
            hovertemplate="%{hovertext}<extra></extra>",
            showlegend=False,
            cliponaxis=False,
        )
    )
    theme.log_axis(figure)
    return figure


def _spaced(labels: list[str]) -> list[str]:
    """At most `MAX_LABELS` of the labels, evenly chosen and always the last; the others empty."""
    step = -(-len(labels) // MAX_LABELS)
    return [text if (len(labels) - 1 - index) % step == 0 else "" for index, text in enumerate(labels)]


def distributions(runs: pd.DataFrame, look: Look, *, cost: str = "cost_seconds") -> go.Figure:
    """Histograms of score and of cost, median marked; cost in decades, as it spans several."""
    done = scored(runs)
    paid = done.loc[done[cost] > 0, cost]
    if done.empty:
        return theme.empty(look, NO_SCORES)
    cells = [theme.Cell("score (dashed: median)", "runs", _histogram(done["score"].to_numpy(), look.colours[0], look))]
    if len(paid):
        ticks = _decades(paid)
        style = {
            "tickvals": [math.log10(tick) for tick in ticks],
            "ticktext": [theme.number(tick, 2) for tick in ticks],
        }
        cells.append(
            theme.Cell(theme.label(cost), "", _histogram(np.log10(paid.to_numpy()), look.colours[1], look), style)
        )
    return theme.grid(look, cells, columns=len(cells), height=380)


def _histogram(values: np.ndarray, colour: str, look: Look) -> list[dict[str, Any]]:
    """Bars, and a dashed line at the median. Counted here: the browser need not get every value."""
    counts, edges = np.histogram(values, bins=min(30, max(5, round(math.sqrt(len(values)) * 2))))
    middle, width = (edges[:-1] + edges[1:]) / 2, np.diff(edges)
    line, median = {"width": 1, "color": look.paper}, float(np.median(values))
    bars = {
        "type": "bar",
        "x": middle,
        "y": counts,
        "width": width,
        "marker": {"color": colour, "line": line},
        "hovertemplate": "%{y} runs<extra></extra>",
    }
    mark = {
        "mode": "lines",
        "x": [median, median],
        "y": [0, int(counts.max())],
        "line": {"color": look.text, "dash": "dash", "width": 1},
    }
    return [{**bars, "hovertemplate": "%{y} runs<extra></extra>"}, {"type": "scatter", "hoverinfo": "skip", **mark}]


def _decades(values: pd.Series[float]) -> list[float]:
    """Round numbers for a logarithmic axis: 1, 2, 5, 10 over few decades, 1, 10, 100 over many."""
    low, high = math.floor(math.log10(values.min())), math.ceil(math.log10(values.max()))
    digits = (1, 2, 5) if high - low <= 2 else (1,)
    ticks = [digit * 10.0**power for power in range(low, high + 1) for digit in digits]
    inside = [tick for tick in ticks if values.min() <= tick <= values.max()]
    return ticks if len(inside) > 1 else np.linspace(values.min(), values.max(), 3).tolist()


def parameter_grid(runs: pd.DataFrame, look: Look, log_params: Sequence[str] = ()) -> go.Figure:
    """Score against each varying parameter, with two trend lines.

    The running median follows humps and ignores outliers; the fitted line (least squares, on the axis as it is drawn)
    says which way it goes on the whole, and how closely.

    Args:
        log_params: dotted paths to draw on a logarithmic axis.
    """
    done = scored(runs)
    columns = varying_params(done)[:MAX_GRID_PARAMS]
    if not columns:
        return theme.empty(look, NO_SCORES if done.empty else "All runs have the same parameters")
    names = theme.short_names(column.removeprefix(PARAM) for column in columns)
    cells = [_parameter_cell(done, column, names[column.removeprefix(PARAM)], look, log_params) for column in columns]
    return theme.grid(look, cells, columns=GRID_COLUMNS, height=250 * -(-len(cells) // GRID_COLUMNS) + 40)


def _parameter_cell(runs: pd.DataFrame, column: str, name: str, look: Look, log_params: Sequence[str]) -> theme.Cell:
    values = runs[column]
    is_number = pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values)
    is_log = is_number and column.removeprefix(PARAM) in log_params and bool((values.dropna() > 0).all())
    x = values if is_number else values.astype(str)
    points = {
        "type": theme.scatter_type(len(runs)),
        "mode": "markers",
        "x": theme.numbers(x) if is_number else x.to_numpy(),
        "y": theme.numbers(runs["score"]),
        "marker": {"color": look.colours[0], "size": 5, "opacity": 0.5},
        "customdata": runs["id"].to_numpy(dtype=object),
        "hovertemplate": "%{customdata}<br>%{x}, score %{y:.4g}<extra></extra>",
    }
    style = (
        theme.log_style(float(values.min()), float(values.max()))
        if is_log
        else {}
        if is_number
        else {"type": "category"}
    )
    score, is_log = runs["score"], style.get("type") == "log"
    lines = _trend_traces(x, score, look, is_log=is_log) if is_number else [_choice_trace(x, score, look)]
    return theme.Cell(theme.safe(name), "score", [points, *lines], style)


def _choice_trace(x: pd.Series[Any], score: pd.Series[float], look: Look) -> dict[str, Any]:
    """The median of each choice as a dash."""
    median = score.groupby(x).median()
    marker = {"symbol": "line-ew-open", "size": 30, "line": {"width": 3}, "color": look.accent}
    shared = {"type": "scatter", "hoverinfo": "skip", "mode": "markers"}
    return {**shared, "x": median.index.tolist(), "y": median.to_numpy(), "marker": marker}


def _trend_traces(x: pd.Series[Any], score: pd.Series[float], look: Look, *, is_log: bool) -> list[dict[str, Any]]:
    """The running median, and the fitted line where there is one."""
    line, shared = trend(x, score), {"type": "scatter", "mode": "lines"}
    style = {"color": look.accent, "width": 2}
    median = {**shared, "x": line["x"].to_numpy(), "y": line["score"].to_numpy(), "line": style, "hoverinfo": "skip"}
    fit = fitted_line(x, score, is_log=is_log)
    if fit is None:
        return [median]
    dashed = {"color": look.text, "width": 1.5, "dash": "dash"}
    hover = f"fitted line, r = {theme.number(fit.correlation, 2)}<extra></extra>"
    return [median, {**shared, "x": list(fit.x), "y": list(fit.score), "line": dashed, "hovertemplate": hover}]


@dataclass(frozen=True, slots=True)
class FittedLine:
    """The ends of a fitted line, natural units, and Pearson's correlation (nan for equal scores)."""

    x: tuple[float, float]
    score: tuple[float, float]
    correlation: float


def fitted_line(x: pd.Series[float], score: pd.Series[float], *, is_log: bool = False) -> FittedLine | None:
    """Least squares of the score on a parameter, or on its logarithm; None for fewer than three runs or one value."""
    pairs = pd.DataFrame({"x": x, "score": score}).astype(float).dropna()
    low, high = float(pairs["x"].min()), float(pairs["x"].max())
    if len(pairs) < MIN_FITTED or not 0.0 < high - low < math.inf:
        return None
    places = np.log(pairs["x"].to_numpy()) if is_log else pairs["x"].to_numpy()
    places = (places - places.min()) / (places.max() - places.min())  # from 0 at the lowest to 1 at the highest value
    slope, start = np.polyfit(places, pairs["score"].to_numpy(), 1)
    is_flat = pairs["score"].nunique() < 2
    correlation = math.nan if is_flat else float(np.corrcoef(places, pairs["score"].to_numpy())[0, 1])
    return FittedLine((low, high), (float(start), float(start + slope)), correlation)


def trend(x: pd.Series[float], score: pd.Series[float], *, bins: int = 12) -> pd.DataFrame:
    """Median score in up to `bins` groups of equally many runs; columns `x` (median of the group) and `score`."""
    pairs = pd.DataFrame({"x": x, "score": score}).dropna()
    groups = pd.qcut(pairs["x"].rank(method="first"), min(bins, max(len(pairs) // 4, 1)), labels=False)
    middle = pairs.groupby(groups.rename("group")).median()
    return middle.groupby("x", as_index=False).median()
