"""Scores against money, over time, and against each parameter."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from metta_sweep.analysis.estimates import progression
from metta_sweep.analysis.frame import PARAM, is_number, scored, varying_params
from metta_sweep.analysis.pareto import pareto_front
from metta_sweep.analysis.surrogate import active_in
from metta_sweep.dashboard.figures import theme
from metta_sweep.dashboard.figures.colouring import FEW, groups_of, scale_of
from metta_sweep.dashboard.figures.theme import Look

NO_SCORES = "No run has a score yet"
MAX_GRID_PARAMS = 12
GRID_COLUMNS = 3
MAX_LABELS = 6
MIN_FITTED = 3  # two points always lie on a line


def cost_vs_score(
    runs: pd.DataFrame,
    goal: str,
    look: Look,
    *,
    cost: str = "cost_seconds",
    by: str = "phase",
    log_params: Sequence[str] = (),
) -> go.Figure:
    """Every scored run with the Pareto front drawn through the best for the money. Cost is on a logarithmic axis.

    Args:
        by: what the runs are coloured by, see `colouring`.
        log_params: dotted paths whose colours are on a logarithmic scale.
    """
    done = scored(runs)
    done = done[done[cost] > 0]
    if done.empty:
        return theme.empty(look, NO_SCORES)
    figure = theme.base(look, theme.label(cost), "score")
    add_coloured(figure, done, cost, look, (by, log_params))
    add_front(figure, pareto_front(done, goal, cost=cost), cost, look)
    theme.log_axis(figure)
    return figure


def add_coloured(figure: go.Figure, runs: pd.DataFrame, cost: str, look: Look, by: tuple[str, Sequence[str]]) -> None:
    """The runs in the colour of what is asked for: one trace where a legend could tell nothing apart."""
    scale, groups = scale_of(runs, *by), groups_of(runs, by[0], look)
    if scale is None and len(groups) <= FEW and all(group.name for group in groups):
        for group in groups:
            add_runs(figure, runs[runs["id"].isin(group.ids)], cost, {"color": group.style["color"]}, group.name)
        return
    colours: dict[str, Any] = {run_id: group.style["color"] for group in groups for run_id in group.ids}
    marker: dict[str, Any] = {"color": runs["id"].map(colours).tolist()}
    if scale is not None:
        marker = {**scale.bar(look), "color": scale.values.reindex(runs["id"]).to_numpy(), "showscale": True}
    add_runs(figure, runs, cost, marker, "runs")
    figure.update_traces(showlegend=False)


def add_runs(figure: go.Figure, runs: pd.DataFrame, cost: str, colours: Mapping[str, Any], name: str) -> None:
    """Runs as points; a click finds the run's id in `customdata`."""
    symbols = runs["state"].map(theme.STATE_SYMBOLS).tolist()
    marker = {"size": 7, "opacity": 0.7, "symbol": symbols, **colours}
    points = theme.dots(runs, theme.numbers(runs[cost]), theme.numbers(runs["score"]), marker=marker)
    figure.add_trace({**points, "name": theme.safe(name), **theme.hover(runs, theme.label(cost))})


def add_front(figure: go.Figure, front: pd.DataFrame, cost: str, look: Look) -> None:
    """The observed front as a step: what a given amount of money buys."""
    trace = _step(front, cost, look, text=theme.hover_texts(front), hovertemplate="%{text}<extra></extra>")
    star = {"color": look.accent, "size": 10, "symbol": "star"}
    figure.add_trace({**trace, "mode": "lines+markers", "name": "Pareto front", "marker": star})


def _step(front: pd.DataFrame, cost: str, look: Look, **more: Any) -> dict[str, Any]:
    """A front as a step."""
    style = {"color": look.accent, "width": 2, "shape": "hv"}
    ids = front["id"].tolist()
    return theme.line(front[cost].to_numpy(), front["score"].to_numpy(), line=style, customdata=ids, **more)


PROGRESS_TITLES = {
    "result": "number of the result",
    "ended_at": "time (UTC)",
    "cost_seconds": "seconds of the sweep's cost so far",
    "dollars": "dollars paid so far",
}


def progress(runs: pd.DataFrame, over: str) -> Any:
    """Place of each scored run, in the order of the results: failed runs cost as well."""
    ended = runs[runs["sequence"] > 0].sort_values("sequence")
    if over == "ended_at":
        return pd.to_datetime(ended["ended_at"], unit="s")[ended["score"].notna()].to_numpy()
    if over == "result":
        return np.arange(1, int(ended["score"].notna().sum()) + 1)
    return ended[over].fillna(0.0).cumsum()[ended["score"].notna()].to_numpy()


def score_progression(
    runs: pd.DataFrame, goal: str, look: Look, *, window: int = 10, over: str = "result"
) -> go.Figure:
    """Scores in the order the results came, their moving average and the best so far.

    Args:
        over: key of `PROGRESS_TITLES`.
    """
    steps = progression(runs, goal, window=window)
    if steps.empty:
        return theme.empty(look, NO_SCORES)
    figure = theme.base(look, PROGRESS_TITLES[over], "score")
    order = progress(runs, over)
    done, dot = scored(runs).sort_values("sequence"), {"color": look.muted, "size": 6, "opacity": 0.6}
    points = theme.dots(done, order, theme.numbers(steps["score"]), marker=dot, name="runs")
    figure.add_trace({**points, **theme.hover(done, "result")})
    for column, name, colour, shape in (
        ("moving_average", f"moving average of {window}", look.colours[0], "linear"),
        ("best_so_far", "best so far", look.accent, "hv"),
    ):
        style = {"color": colour, "width": 2, "shape": shape}
        hover = "%{y:.4g}<extra>" + name + "</extra>"
        figure.add_trace(theme.line(order, steps[column].to_numpy(), name=name, line=style, hovertemplate=hover))
    return figure


def efficiency_frontier(runs: pd.DataFrame, goal: str, look: Look, *, cost: str = "cost_seconds") -> go.Figure:
    """The Pareto-optimal runs alone, each with its number; and what a step up costs per point of score."""
    front = pareto_front(runs, goal, cost=cost)
    if front.empty:
        return theme.empty(look, NO_SCORES)
    figure = theme.base(look, theme.label(cost), "score")
    price, shown = (
        front[cost].diff() / front["score"].diff().abs(),
        theme.dollars if cost == "dollars" else theme.seconds,
    )
    steps = [
        "cheapest" if math.isnan(one) else f"{shown(one)} per point of score above the step before" for one in price
    ]
    hover = [f"{text}<br>{step}" for text, step in zip(theme.hover_texts(front), steps, strict=True)]
    labels = {
        "text": _spaced([f"#{n}" for n in front["number"]]),
        "textposition": ["top right", *["top left"] * (len(front) - 1)],
        "cliponaxis": False,
    }
    trace = _step(front, cost, look, hovertext=hover, hovertemplate="%{hovertext}<extra></extra>", **labels)
    dot = {"size": 11, "color": look.accent}
    figure.add_trace({**trace, "mode": "lines+markers+text", "marker": dot, "showlegend": False})
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
        style = {"tickvals": list(map(math.log10, ticks)), "ticktext": [theme.number(tick, 2) for tick in ticks]}
        bars = _histogram(np.log10(paid.to_numpy()), look.colours[1], look)
        cells.append(theme.Cell(theme.label(cost), "", bars, style))
    return theme.grid(look, cells, columns=len(cells), height=380)


def _histogram(values: np.ndarray, colour: str, look: Look) -> list[dict[str, Any]]:
    """Bars, and a dashed line at the median. Counted here: the browser need not get every value."""
    counts, edges = np.histogram(values, bins=min(30, max(5, round(math.sqrt(len(values)) * 2))))
    bars = {"type": "bar", "x": (edges[:-1] + edges[1:]) / 2, "y": counts, "width": np.diff(edges)}
    style = {"color": colour, "line": {"width": 1, "color": look.paper}}
    dashed, median = {"color": look.text, "dash": "dash", "width": 1}, float(np.median(values))
    mark = theme.line([median, median], [0, int(counts.max())], line=dashed, hoverinfo="skip")
    return [{**bars, "marker": style, "hovertemplate": "%{y} runs<extra></extra>"}, mark]


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
    total, runs = len(runs), runs[runs[column].notna()]
    values = runs[column]
    note = active_in(len(runs), total, 0)
    has_numbers = is_number(values)
    is_log = has_numbers and column.removeprefix(PARAM) in log_params and bool((values.dropna() > 0).all())
    x = values if has_numbers else values.astype(str)
    score, dot = runs["score"], {"color": look.colours[0], "size": 5, "opacity": 0.5}
    points = theme.dots(runs, theme.numbers(x) if has_numbers else x.to_numpy(), theme.numbers(score), marker=dot)
    points["hovertemplate"] = "%{customdata}<br>%{x}, score %{y:.4g}<extra></extra>"
    style: dict[str, Any] = {} if has_numbers else {"type": "category"}
    if is_log:
        style = theme.log_style(float(values.min()), float(values.max()), is_small=True)
    is_log = style.get("type") == "log"  # a narrow one is drawn linear
    lines = _trend_traces(x, score, look, is_log=is_log) if has_numbers else [_choice_trace(x, score, look)]
    return theme.Cell(theme.noted(name, note), "score", [points, *lines], style)


def _choice_trace(x: pd.Series[Any], score: pd.Series[float], look: Look) -> dict[str, Any]:
    """The median of each choice as a dash."""
    median = score.groupby(x).median()
    marker = {"symbol": "line-ew-open", "size": 30, "line": {"width": 3}, "color": look.accent}
    shared = {"type": "scatter", "hoverinfo": "skip", "mode": "markers"}
    return {**shared, "x": median.index.tolist(), "y": median.to_numpy(), "marker": marker}


def _trend_traces(x: pd.Series[Any], score: pd.Series[float], look: Look, *, is_log: bool) -> list[dict[str, Any]]:
    """The running median, and the fitted line where there is one."""
    middle, style = trend(x, score), {"color": look.accent, "width": 2}
    median = theme.line(middle["x"].to_numpy(), middle["score"].to_numpy(), line=style, hoverinfo="skip")
    fit = fitted_line(x, score, is_log=is_log)
    if fit is None:
        return [median]
    dashed = {"color": look.text, "width": 1.5, "dash": "dash"}
    hover = f"fitted line, r = {theme.number(fit.correlation, 2)}<extra></extra>"
    return [median, theme.line(list(fit.x), list(fit.score), line=dashed, hovertemplate=hover)]


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
