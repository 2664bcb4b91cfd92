"""What the model believes: its front over the observed one, slices, contours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import pandas as pd
import plotly.graph_objects as go

from metta_sweep.analysis.frame import scored
from metta_sweep.analysis.pareto import direction, pareto_front
from metta_sweep.analysis.surrogate import Contour, Surrogate, contour, slice_along
from metta_sweep.dashboard.figures import theme
from metta_sweep.dashboard.figures.scores import add_front, add_runs
from metta_sweep.dashboard.figures.theme import Look
from metta_sweep.registry.records import OPEN_STATES, RunState

MAX_SLICES = 9
SLICE_COLUMNS = 3
WAITING = "The model is being fitted …"
NO_MODEL = "A model needs 6 completed runs of a sweep with a specification"


def belief_front(runs: pd.DataFrame, front: pd.DataFrame, goal: str, look: Look) -> go.Figure:
    """Observed runs and front, the predicted front with its band, and where unfinished runs are expected to land.

    Args:
        runs: of a sweep; unfinished ones with a prediction are drawn as open rings.
        front: columns cost, mean, low, high.
    """
    done = scored(runs)
    figure = theme.base(look, theme.label("cost_seconds"), "score", height=460)
    for phase, colour in theme.phase_colours(done, look).items():
        add_runs(figure, done[done["phase"] == phase], "cost_seconds", {"color": colour}, phase or "runs")
    figure.add_traces(band_traces(front["cost"], front, look.colours[4], "predicted front, 90 %"))
    add_front(figure, pareto_front(done[done["cost_seconds"] > 0], goal), "cost_seconds", look)
    pending = runs[runs["state"].isin(OPEN_STATES) & (runs["predicted_cost"] > 0) & runs["predicted_score"].notna()]
    for state, symbol in (
        (RunState.RUNNING, "circle-open"),
        (RunState.RESERVED, "diamond-open"),
        (RunState.INTERRUPTED, "square-open"),
    ):
        some = pending[pending["state"] == state]
        if len(some):
            add_pending(figure, some, state, symbol, look)
    theme.log_axis(figure)
    return figure


def add_pending(figure: go.Figure, runs: pd.DataFrame, state: str, symbol: str, look: Look) -> None:
    name = "next (reserved)" if state == RunState.RESERVED else str(state)
    ring = {"symbol": symbol, "size": 14, "color": look.text, "line": {"width": 2.5}}
    texts = [theme.seconds(cost) for cost in runs["predicted_cost"]]
    hover = "%{customdata} (" + name + ")<br>predicted score %{y:.4g}, cost %{text}<extra></extra>"
    places = (runs["predicted_cost"].to_numpy(), runs["predicted_score"].to_numpy())
    figure.add_trace(
        {**theme.dots(runs, *places, marker=ring, text=texts, hovertemplate=hover), "type": "scatter", "name": name}
    )


def band_traces(x: pd.Series[Any], band: pd.DataFrame, colour: str, name: str) -> list[dict[str, Any]]:
    """A mean line inside its interval: lower edge, filled upper edge, mean."""
    edges = theme.band(x, band["low"], band["high"], theme.translucent(colour, 0.2))
    mean = theme.line(x.to_numpy(), band["mean"].to_numpy(), line={"color": colour, "width": 2}, name=name)
    mean |= {"marker": {"color": colour, "size": 9}, "hovertemplate": "%{y:.4g}<extra>" + name + "</extra>"}
    mean["mode"] = "lines" if len(band) > 1 else "markers"  # a front of a single point would not show as a line
    return [{**trace, "legendgroup": name} for trace in (*edges, mean)]


class Ranked(NamedTuple):
    """Parameters by importance, and the bounds ("min" or "max") that the best runs crowd at."""

    names: Sequence[str]
    hits: Sequence[tuple[str, str]] = ()

    def label(self, name: str) -> str:
        """Short name of a parameter, with a flag where a bound was hit."""
        sides = [side for one, side in self.hits if one == name]
        return theme.short_names(self.names)[name] + (f"  ⚠ best runs at its {' and '.join(sides)}" if sides else "")


def slices(surrogate: Surrogate, runs: pd.DataFrame, at: Mapping[str, Any], order: Ranked, look: Look) -> go.Figure:
    """Predicted score along each parameter through one point, with the 90 % interval, over the runs' scores.

    Args:
        at: the point that the other parameters are held at.
        order: which parameters come first.
    """
    done = scored(runs)
    cells = [_slice_cell(surrogate, done, name, order.label(name), at, look) for name in order.names[:MAX_SLICES]]
    columns = min(SLICE_COLUMNS, len(cells))
    return theme.grid(look, cells, columns=columns, height=260 * -(-len(cells) // columns) + 40)


def _slice_cell(
    surrogate: Surrogate, runs: pd.DataFrame, name: str, label: str, at: Mapping[str, Any], look: Look
) -> theme.Cell:
    note, column = surrogate.says_of(name), runs.get(f"param.{name}", pd.Series(index=runs.index, dtype=object))
    having = runs[column.notna()]
    if note and name not in at and len(having):  # the run has no such parameter: through the best that has it
        winner = int((direction(surrogate.goal) * having["score"]).to_numpy().argmax())
        at, note = having["params"].iloc[winner], f"{note}; through {having['id'].iloc[winner]}"
    line = slice_along(surrogate, name, at)
    is_text = line["value"].map(lambda value: isinstance(value, str)).any()
    values = column[having.index]
    places = (values.astype(str).to_numpy() if is_text else theme.numbers(values), theme.numbers(having["score"]))
    points = theme.dots(having, *places, marker={"color": look.muted, "size": 5, "opacity": 0.5})
    points["hovertemplate"] = "%{customdata}<br>%{x}, score %{y:.4g}<extra></extra>"
    if surrogate.is_unknown(name):
        return theme.Cell(theme.noted(label, note), "score", [points], axis_style(line["value"].tolist()))
    traces = [points, *effect_traces(line, look)]
    if (value := at.get(name)) is not None:
        star = {"symbol": "star", "size": 13, "color": look.accent}
        place = {"x": [str(value) if is_text else value], "y": [line.loc[nearest_row(line["value"], value), "mean"]]}
        traces.append({"type": "scatter", "mode": "markers", **place, "marker": star, "hoverinfo": "skip"})
    return theme.Cell(theme.noted(label, note), "score", traces, axis_style(line["value"].tolist()))


def effect_traces(line: pd.DataFrame, look: Look) -> list[dict[str, Any]]:
    """A prediction along a parameter: a line in its band, or a point with an error bar for each choice."""
    if not isinstance(line["value"].iloc[0], str):
        return band_traces(line["value"], line, look.colours[0], "prediction")
    style = {
        "marker": {"size": 9, "color": look.colours[0]},
        "hovertemplate": "%{x}: %{y:.4g}<extra>prediction</extra>",
    }
    bars = theme.error_bars(line["mean"], line["low"], line["high"])
    places = {"x": line["value"].to_numpy(), "y": line["mean"].to_numpy()}
    return [{"type": "scatter", "mode": "markers", **places, "error_y": bars, **style}]


def nearest_row(values: pd.Series[Any], value: Any) -> int:
    """Index of the row whose value is this one, or the nearest number to it."""
    if isinstance(value, str | bool):
        return int((values == str(value)).to_numpy().argmax())
    return int((values.astype(float) - float(value)).abs().to_numpy().argmin())


def is_log(values: pd.Series[Any]) -> bool:
    """Whether equal steps multiply the value: its middle lies nearer to the geometric mean of its ends."""
    low, middle, high = float(values.iloc[0]), float(values.iloc[len(values) // 2]), float(values.iloc[-1])
    return low > 0 and high / low > 20 and abs(middle - (low * high) ** 0.5) < abs(middle - (low + high) / 2)


def surface(
    surrogate: Surrogate, pair: tuple[str, str], at: Mapping[str, Any], runs: pd.DataFrame, look: Look
) -> go.Figure:
    """Predicted score and its standard deviation over two parameters, the others held, with the runs on top."""
    table = contour(surrogate, *pair, at)
    done = scored(runs)
    notes = {name: surrogate.says_of(name) for name in pair}
    cells = [_surface_cell(table, quantity, notes, done, look) for quantity in ("score", "uncertainty")]
    figure = theme.grid(look, cells, columns=2, height=430)
    figure.update_layout(margin={"r": 70})
    return figure


def axis_style(values: list[Any]) -> dict[str, Any]:
    """Type of an axis that has these values."""
    if isinstance(values[0], str):
        return {"type": "category"}
    return theme.log_style(float(values[0]), float(values[-1]), is_small=True) if is_log(pd.Series(values)) else {}


def _surface_cell(
    table: Contour, quantity: str, notes: Mapping[str, str], runs: pd.DataFrame, look: Look
) -> theme.Cell:
    pair = tuple(notes)
    axes = [axis_style(values) for values in (table.x, table.y)]
    z, title, place = (table.mean, "score", 0.45) if quantity == "score" else (table.std, "± std", 1.0)
    bar = {"x": place, "len": 0.95, "thickness": 12, "title": {"text": title, "side": "top"}}
    colours = {
        "colorscale": theme.scale(quantity, look),
        "colorbar": bar,
        "hovertemplate": "%{x}, %{y}: %{z:.4g}<extra></extra>",
    }
    trace_type = "heatmap" if any(style.get("type") == "category" for style in axes) else "contour"
    heights = {"type": trace_type, "x": table.x, "y": table.y, "z": z, **colours}
    places = [runs.get(f"param.{name}", pd.Series(index=runs.index, dtype=object)).to_numpy() for name in pair]
    white = {"size": 5, "color": "#ffffff", "line": {"width": 1, "color": "#000000"}}
    points = theme.dots(runs, *places, marker=white, hovertemplate="%{customdata}<extra></extra>")
    x, y = (theme.noted(theme.short_names(pair)[name], notes[name]) for name in pair)
    if quantity == "score":
        return theme.Cell(x, y, [heights, points], axes[0], axes[1])
    # The same axis, beside the first one's colour bar, where there is little room.
    return theme.Cell(x, "", [heights, points], axes[0], {**axes[1], "showticklabels": False})
