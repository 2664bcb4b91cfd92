"""How every figure looks: colours that colour-blind people can tell apart, light and dark; texts safe to show."""

from __future__ import annotations

import html
import math
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from metta_sweep.analysis.duration import elapsed
from metta_sweep.analysis.frame import PARAM, PHASES
from metta_sweep.analysis.names import cut
from metta_sweep.registry.records import RunState

# Okabe and Ito 2008, "Color Universal Design"; black and yellow left out, as they vanish on one of the two backgrounds.
ON_LIGHT = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00")
# The same hues, lighter: the blue and the green of the originals sink into a dark page.
ON_DARK = ("#56B4E9", "#E69F00", "#2CC79B", "#E39CC4", "#9AD0F5", "#FF8C42")
# One scale for one kind of quantity, on whatever page: the score (measured, predicted, or as a rank) in Cividis, whose
# lightness is even for every kind of colour vision; how unsure a prediction is in greys; parameters and the order of
# runs in violets. The ends that matter stand out as thin lines: dark on a light page, light on a dark one.
SCALES: dict[str, dict[str, Any]] = {
    "score": {"light": "Cividis_r", "dark": [[0.0, "#48608f"], [0.5, "#a09d9a"], [1.0, "#ffea46"]]},
    "uncertainty": {"light": [[0.0, "#f0f0f0"], [1.0, "#525252"]], "dark": [[0.0, "#2b3139"], [1.0, "#d0d4d9"]]},
    "parameter": {"light": [[0.0, "#c4b3e6"], [1.0, "#4a1486"]], "dark": [[0.0, "#6f5aa8"], [1.0, "#f1ecff"]]},
}
STATE_SYMBOLS = {
    RunState.COMPLETED: "circle",
    RunState.STOPPED_EARLY: "diamond-open",
    RunState.FAILED: "x",
    RunState.RUNNING: "circle-open",
    RunState.RESERVED: "circle-open-dot",
}
DASHES = ("solid", "dash", "dot")  # of lines whose colours come back
HOVER_PARAMS = 12
NAME_ROOM = 32  # characters of a parameter's name beside an axis of a small figure; a guess
SMALL_TICKS = 3  # on an axis of 150 pixels; five run into each other at 800 pixels of page
WEBGL_FROM = 1000  # below this many points SVG draws as fast and exports as vectors
FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', 'Noto Sans', 'DejaVu Sans', sans-serif"


@dataclass(frozen=True, slots=True)
class Look:
    """The colours of a page.

    Attributes:
        name: light or dark.
        text: of titles and ticks.
        muted: of what stands in the background: single runs behind a front.
        grid: of grid lines.
        paper: behind the figure.
        accent: of the one thing to look at: front, best so far.
        colours: of phases, sweeps and kinds, in order.
    """

    name: str
    text: str
    muted: str
    grid: str
    paper: str
    accent: str
    colours: tuple[str, ...]


LIGHT = Look("light", "#1f2933", "#7b8794", "#e4e7eb", "#ffffff", "#D55E00", ON_LIGHT)
DARK = Look("dark", "#e4e7eb", "#9aa5b1", "#3a424d", "#1b2027", "#FF8C42", ON_DARK)
LOOKS = {look.name: look for look in (LIGHT, DARK)}


def base(look: Look, x: str = "", y: str = "", *, height: int = 380) -> go.Figure:
    """An empty figure with labelled axes."""
    return go.Figure(layout={**page_layout(look, height), "xaxis": axis(look, x), "yaxis": axis(look, y)})


def page_layout(look: Look, height: int) -> dict[str, Any]:
    """Everything but the axes."""
    box = {"bgcolor": look.paper, "bordercolor": look.muted}
    return {
        "height": height,
        "margin": {"l": 60, "r": 16, "t": 40, "b": 48},
        "paper_bgcolor": look.paper,
        "plot_bgcolor": look.paper,
        "font": {"color": look.text, "family": FONT, "size": 12},
        "colorway": look.colours,
        "hoverlabel": {"align": "left", "font": {"family": FONT, "color": look.text}, **box},
        "legend": {"orientation": "h", "yref": "container", "y": 1, "yanchor": "top", "x": 0, "xanchor": "left"},
        "uirevision": "kept",
    }


def axis(look: Look, title: str = "", **more: Any) -> dict[str, Any]:
    """An axis in the page's look."""
    lines = dict.fromkeys(("gridcolor", "zerolinecolor", "linecolor"), look.grid)
    return {**lines, "automargin": True, "visible": True, "title": {"text": title, "standoff": 8}, **more}


def grid(look: Look, cells: Sequence[Cell], *, columns: int, height: int) -> go.Figure:
    """Several axes in one figure, row by row.

    Built as one dict: Plotly's own `make_subplots` checks each axis again and again, which took most of a second for
    twelve.
    """
    rows = -(-len(cells) // columns)
    gap_x, gap_y = 0.22 / columns, 0.34 / rows
    wide, high = (1 - gap_x * (columns - 1)) / columns, (1 - gap_y * (rows - 1)) / rows
    layout, traces = page_layout(look, height), []
    for index, cell in enumerate(cells):
        name = "" if index == 0 else str(index + 1)
        left, top = (index % columns) * (wide + gap_x), 1 - (index // columns) * (high + gap_y)
        layout[f"xaxis{name}"] = axis(look, cell.x, domain=[left, left + wide], anchor=f"y{name}", **cell.x_style)
        bottom = max(top - high, 0.0)
        layout[f"yaxis{name}"] = axis(look, cell.y, domain=[bottom, top], anchor=f"x{name}", **cell.y_style)
        traces += [{"showlegend": False, **trace, "xaxis": f"x{name}", "yaxis": f"y{name}"} for trace in cell.traces]
    return go.Figure(data=traces, layout=layout)


@dataclass(frozen=True, slots=True)
class Cell:
    """One pair of axes of a grid: titles, traces as Plotly's dicts, and what else its axes need."""

    x: str
    y: str
    traces: Sequence[Mapping[str, Any]]
    x_style: Mapping[str, Any] = field(default_factory=dict)
    y_style: Mapping[str, Any] = field(default_factory=dict)


def log_style(low: float, high: float, *, is_small: bool = False) -> dict[str, Any]:
    """A logarithmic axis: ticks at 1, 2 and 5, written 20k, above one; at powers of ten, written 1e-5, below.

    A linear one when it is narrow: there the two look the same, and only the linear one has round ticks. On a small
    axis of several decades only the powers of ten have room, on a shorter one three ticks.
    """
    if high < 5 * low:
        return {"type": "linear", "nticks": 5, "separatethousands": True}
    has_powers = math.floor(math.log10(high)) > math.ceil(math.log10(low)) if low > 0 else False  # two at least
    if is_small and has_powers and high > max(1, 30 * low):
        return {"type": "log", "dtick": 1, "tickformat": "~s"}
    if is_small and low >= 1:
        marks = [mark * 10**power for power in range(math.floor(math.log10(high)) + 1) for mark in (1, 2, 5)]
        inside = [mark for mark in marks if low <= mark <= high]
        few = np.linspace(0, len(inside) - 1, min(len(inside), SMALL_TICKS)).round().astype(int)
        return {"type": "log", "tickvals": [inside[i] for i in few], "tickformat": "~s"}
    ticks = {"dtick": "D2", "tickformat": "~s"} if high > 1 else {"dtick": 1, "tickformat": "~e"}
    return {"type": "log", **ticks}


def empty(look: Look, message: str, *, height: int = 240) -> go.Figure:
    """A figure that says why there is nothing to see."""
    figure = base(look, height=height)
    figure.update_xaxes(visible=False)
    figure.update_yaxes(visible=False)
    middle = {"x": 0.5, "y": 0.5, "xref": "paper", "yref": "paper", "showarrow": False}
    figure.add_annotation(text=safe(message), font={"size": 14, "color": look.muted}, **middle)
    return figure


def line(x: Any, y: Any, **more: Any) -> dict[str, Any]:
    """A trace of lines."""
    return {"type": "scatter", "mode": "lines", "x": x, "y": y, **more}


def band(x: pd.Series[Any], low: pd.Series[Any], high: pd.Series[Any], colour: str) -> list[dict[str, Any]]:
    """A filled band: its lower edge, then its upper one."""
    edge = {"line": {"width": 0}, "hoverinfo": "skip", "showlegend": False}
    upper = {"fill": "tonexty", "fillcolor": colour}
    return [line(x.to_numpy(), low.to_numpy(), **edge), line(x.to_numpy(), high.to_numpy(), **edge, **upper)]


def dots(runs: pd.DataFrame, x: Any, y: Any, **more: Any) -> dict[str, Any]:
    """Runs as points, with WebGL where there are many; a click finds the run's id in `customdata`."""
    identity = runs["id"].to_numpy(dtype=object)
    return {"type": scatter_type(len(runs)), "mode": "markers", "x": x, "y": y, "customdata": identity, **more}


def error_bars(middle: pd.Series[Any], low: pd.Series[Any], high: pd.Series[Any]) -> dict[str, Any]:
    """Error bars from `low` to `high`."""
    return {"type": "data", "symmetric": False, "array": high - middle, "arrayminus": middle - low}


def safe(text: object) -> str:
    """Text of unknown origin as Plotly shows it literally: Plotly reads a little HTML."""
    return html.escape(str(text), quote=False)


def noted(name: str, note: str) -> str:
    """A name, its middle cut when it is long, with what is to be known about it on a second line."""
    short = safe(cut(name, NAME_ROOM))
    return f"{short}<br><i>{safe(note)}</i>" if note else short


def number(value: object, digits: int = 4) -> str:
    """A number for people: four significant digits, thousands with commas, "–" when unknown."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return "–" if value is None else str(value)
    if math.isnan(value):
        return "–"
    if isinstance(value, int) or (abs(value) >= 1000 and float(value).is_integer()):
        return f"{int(value):,}"
    text = f"{value:,.0f}" if 10_000 <= abs(value) < 1e15 else f"{value:.{digits}g}"
    return f"{value:,.0f}" if "e+" in text and abs(value) < 1e15 else text


def tick(value: float) -> str:
    """A number as short as a tick must be: three digits, 9.77M instead of 9,768,653."""
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if abs(value) >= size:
            return f"{value / (1e3 if unit == 'k' else size):.3g}{unit}"
    return number(value, 3)


def seconds(value: float) -> str:
    """A length of time in the words of `status`, "–" when unknown."""
    return "–" if math.isnan(value) else elapsed(value)


def dollars(value: float) -> str:
    """Money: cents below a hundred dollars, "–" when unknown."""
    if math.isnan(value):
        return "–"
    if 0 < abs(value) < 0.005:
        return f"${value:.2g}"
    return f"${value:,.2f}" if abs(value) < 100 else f"${value:,.0f}"


def when(epoch_seconds: float) -> str:
    """A moment, UTC; "–" when unknown."""
    return "–" if math.isnan(epoch_seconds) else time.strftime("%Y-%m-%d %H:%M", time.gmtime(epoch_seconds))


def short_names(paths: Iterable[str]) -> dict[str, str]:
    """Label of each dotted path: its last part, with as much before it as tells equal ones apart."""
    parts = {path: path.split(".") for path in paths}
    labels: dict[str, str] = {}
    for path, words in parts.items():
        tails = (".".join(words[-length:]) for length in range(1, len(words) + 1))
        labels[path] = next(tail for tail in tails if sum(f".{other}".endswith(f".{tail}") for other in parts) == 1)
    return labels


def hover(runs: pd.DataFrame, x: str) -> dict[str, Any]:
    """What a trace of runs says on hovering: a box of text per run, or, of very many, no more than stands on the axes.

    The click still tells the rest: 5,000 boxes of text are half a megabyte for each figure.

    Args:
        x: title of the horizontal axis.
    """
    if len(runs) >= WEBGL_FROM:
        place = f"score %{{y:.4g}}, {x} %{{x:.4g}}"
        return {"hovertemplate": f"<b>%{{customdata}}</b><br>{place}<extra>%{{fullData.name}}</extra>"}
    return {"text": hover_texts(runs), "hovertemplate": "%{text}<extra></extra>"}


def hover_texts(runs: pd.DataFrame) -> list[str]:
    """One box of text per run: what it is, what it scored, what it cost, and its parameters."""
    names = short_names(column.removeprefix(PARAM) for column in runs.columns if column.startswith(PARAM))
    return [_hover_text(Hover(*row), names) for row in zip(*(runs[name] for name in Hover._fields), strict=True)]


def numbers(values: pd.Series[Any]) -> np.ndarray:
    """Coordinates of points; very many are sent with seven digits, which is more than a screen shows."""
    return values.to_numpy(dtype="float32" if len(values) >= WEBGL_FROM else "float64")


class Hover(NamedTuple):
    """What is said about a run on hovering, in the order of the frame's columns."""

    id: str
    state: str
    phase: str
    score: float
    standard_error: float
    cost_seconds: float
    dollars: float
    params: Mapping[str, Any]


def _hover_text(run: Hover, names: Mapping[str, str]) -> str:
    error = "" if math.isnan(run.standard_error) else f" ± {number(run.standard_error, 2)}"
    lines = [f"<b>{safe(run.id)}</b>  {run.state}  {safe(run.phase)}"]
    lines.append(f"score {number(run.score)}{error}   cost {seconds(run.cost_seconds)}   paid {dollars(run.dollars)}")
    lines += [
        f"{safe(names.get(path, path))} = {safe(number(value))}"
        for path, value in list(run.params.items())[:HOVER_PARAMS]
    ]
    return "<br>".join(lines)


def label(column: str) -> str:
    """Axis title of a column that costs are shown in."""
    return {"cost_seconds": "cost (s)", "wall_seconds": "wall clock (s)"}.get(column, column)


def log_axis(figure: go.Figure) -> None:
    """Make the x axis of costs or steps logarithmic."""
    ends = [end for trace in figure.data if len(trace.x) for end in (np.nanmin(trace.x), np.nanmax(trace.x))]
    figure.update_xaxes(**log_style(float(min(ends)), float(max(ends))))


def score_axis(figure: go.Figure, *, is_log: bool) -> go.Figure:
    """The figure with its scores on the scale that was asked for; linear, and saying so, where one is not above 0."""
    values = [np.asarray(trace.y, dtype=float) for trace in figure.data if trace.y is not None and len(trace.y)]
    known = np.concatenate(values) if values else np.array([])
    known = known[np.isfinite(known)]
    if not is_log or not len(known):
        return figure
    if known.min() <= 0:
        return figure.update_yaxes(title_text="score (linear: not all are above 0)")
    return figure.update_yaxes(**log_style(float(known.min()), float(known.max())))


def scatter_type(count: int) -> str:
    """WebGL where there are many points."""
    return "scattergl" if count >= WEBGL_FROM else "scatter"


def scale(quantity: str, look: Look) -> Any:
    """The colour scale of a kind of quantity, a key of `SCALES`."""
    return SCALES[quantity][look.name]


def hue(target: str, look: Look) -> str:
    """The colour of what is said of the score, and of what is said of the cost."""
    return look.colours[0 if target == "score" else 1]


def phase_colours(runs: pd.DataFrame, look: Look) -> dict[str, str]:
    """Colour of each phase of these runs, in the order in which the phases began.

    A phase keeps its colour whichever runs are shown, as a frame remembers the phases of the whole sweep.
    """
    shown = list(dict.fromkeys(runs.sort_values("number")["phase"]))
    phases = list(dict.fromkeys([*runs.attrs.get(PHASES, ()), *shown]))
    return {phase: look.colours[phases.index(phase) % len(look.colours)] for phase in phases if phase in shown}


def line_style(index: int, look: Look) -> dict[str, Any]:
    """Colour and dashes of the so-manyth line of a few that are told apart."""
    repeat, colour = divmod(index, len(look.colours))
    return {"color": look.colours[colour], "dash": DASHES[repeat % len(DASHES)]}


def translucent(colour: str, alpha: float) -> str:
    """`#rrggbb` as rgba."""
    red, green, blue = (int(colour[start : start + 2], 16) for start in (1, 3, 5))
    return f"rgba({red},{green},{blue},{alpha})"
