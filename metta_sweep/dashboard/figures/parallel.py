"""Parallel coordinates: each run a line through its parameters, cost and score; a brushed axis filters every view."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from metta_sweep.analysis.frame import INACTIVE, PARAM, RESULTS, as_choices, is_number, scored, varying_params
from metta_sweep.dashboard.figures import theme
from metta_sweep.dashboard.figures.theme import Look
from searchers import CategoricalParameter, NumericParameter, Space
from searchers.distributions import Array

NUM_TICKS = 5
MAX_LINES = 5000
TINY_COST = 1e-3
NOTE_LETTERS = 100  # of a line below the figure: what 800 pixels beside the rail hold
NOTE_LINE = 16  # pixels, of letters of 11
MARK_BELOW = 0.12  # of an axis' length, below its lowest value; enough for two ticks not to touch
BRUSHED = re.compile(r"dimensions\[(\d+)\]\.constraintrange")
Brush = Mapping[str, Sequence[Any]]  # what an axis is narrowed to: low and high in natural units, or choices as text


def axes_of(runs: pd.DataFrame) -> list[str]:
    """Dotted paths of the axes in their order: varying parameters, numbers before choices, then `RESULTS`."""
    done = scored(runs)
    columns = sorted(varying_params(done), key=lambda name: not is_number(column_of(done, name.removeprefix(PARAM))))
    return [*(name.removeprefix(PARAM) for name in columns), *RESULTS]


def column_of(runs: pd.DataFrame, path: str) -> pd.Series[Any]:
    """What an axis shows of each run."""
    column: pd.Series[Any] = runs[path if path in RESULTS else PARAM + path]
    return column


def parallel_coordinates(runs: pd.DataFrame, space: Space | None, brush: Brush, look: Look) -> go.Figure:
    """Parameters on the search space's own scale, choices, cost in decades and score; coloured by score.

    Args:
        runs: all runs, unfiltered: the brush itself greys out the others.
        brush: chosen ranges in natural units, or choices, by path of the axis.
    """
    done = scored(runs)
    if done.empty:
        return theme.empty(look, "No run has a score yet")
    axes = axes_of(runs)
    names = {**theme.short_names(axes[: -len(RESULTS)]), **{name: theme.label(name) for name in RESULTS}}
    dimensions = [
        {**_dimension(done, path, space, brush.get(path)), "label": theme.noted(names[path], "")} for path in axes
    ]
    bar = {"colorbar": {"title": {"text": "score"}, "thickness": 12}, "showscale": True}
    line = {"color": done["score"].tail(MAX_LINES).to_numpy(), "colorscale": theme.scale("score", look), **bar}
    halo = ", ".join(f"{x}px {y}px 2px {look.paper}" for x in (-1, 1) for y in (-1, 1))  # ticks stand on the lines
    fonts = {
        "labelfont": {"size": 12, "color": look.text},
        "tickfont": {"size": 11, "color": look.text, "shadow": halo},
        "rangefont": {"size": 1, "color": look.paper},  # ends of the axis in unit space mean nothing to a person
    }
    figure = go.Figure(layout={**theme.page_layout(look, 520), "margin": {"l": 70, "r": 40, "t": 90, "b": 24}})
    figure.add_trace(go.Parcoords(dimensions=dimensions, line=line, labelangle=-12, **fonts))
    if lines := [*not_drawn(len(runs), len(done)), *names_in_full(names.values())]:
        place = {"x": 0, "y": 0, "xref": "paper", "yref": "paper", "yanchor": "top", "yshift": -13, "showarrow": False}
        figure.add_annotation(text="<br>".join(lines), align="left", font={"size": 11, "color": look.muted}, **place)
        room = NOTE_LINE * len(lines)
        figure.update_layout(height=figure.layout.height + room - NOTE_LINE, margin={"b": 28 + room})
    return figure


def names_in_full(names: Iterable[str]) -> list[str]:
    """What the axes' labels cut, in lines."""
    long = [name for name in names if len(name) > theme.NAME_ROOM]
    text = f"Cut names in full: {', '.join(long)}" if long else ""
    return [theme.safe(line) for line in textwrap.wrap(text, NOTE_LETTERS, break_on_hyphens=False)]


def not_drawn(num_runs: int, num_scored: int) -> list[str]:
    """Which runs have no line, in one; none when all have one."""
    left_out = [f"{num_runs - num_scored:,} without a score"] if num_runs > num_scored else []
    left_out += [f"the oldest {num_scored - MAX_LINES:,}"] if num_scored > MAX_LINES else []
    return [f"Runs without a line: {' and '.join(left_out)}"] if left_out else []


def _dimension(done: pd.DataFrame, path: str, space: Space | None, chosen: Sequence[Any] | None) -> dict[str, Any]:
    """One axis with its natural values as ticks, and a mark for the runs that have no such parameter."""
    values = column_of(done, path)
    return _number_axis(values, path, space, chosen) if is_number(values) else _choice_axis(values, chosen)


def _number_axis(
    column: pd.Series[Any], path: str, space: Space | None, chosen: Sequence[Any] | None
) -> dict[str, Any]:
    values, to_axis = column.to_numpy(dtype=float), scale_of(path, space)
    ends = to_axis(np.array([np.nanmin(values), np.nanmax(values)]))
    ticks = [natural_range(path, space, (tick, tick))[0] for tick in np.linspace(ends[0], ends[1], NUM_TICKS)]
    places, texts = to_axis(np.array(ticks)).tolist(), [theme.tick(value) for value in ticks]
    mark, shown = float(ends[0] - MARK_BELOW * (ends[1] - ends[0])), to_axis(values[-MAX_LINES:])
    if np.isnan(values).any():
        places, texts, ends = [mark, *places], [INACTIVE, *texts], np.array([mark, ends[1]])
    axis = {"values": np.where(np.isnan(shown), mark, shown), "range": ends.tolist()}
    axis |= {"tickvals": places, "ticktext": texts}
    if chosen is None:
        return axis
    if isinstance(chosen[0], str):  # only the mark
        reach = (places[1] - mark) / 4
        return {**axis, "constraintrange": [mark - reach, mark + reach]}
    return {**axis, "constraintrange": to_axis(np.array(chosen, dtype=float)).tolist()}


def _choice_axis(column: pd.Series[Any], chosen: Sequence[Any] | None) -> dict[str, Any]:
    choices = choices_of(column)
    codes = pd.Categorical(as_choices(column), choices).codes.astype(float)
    ticks = {"tickvals": list(range(len(choices))), "ticktext": [theme.safe(choice) for choice in choices]}
    axis = {"values": codes[-MAX_LINES:], "range": [-0.5, len(choices) - 0.5], **ticks}
    some = [code for code, choice in enumerate(choices) if chosen is not None and choice in chosen]
    return {**axis, "constraintrange": [[code - 0.4, code + 0.4] for code in some]} if some else axis


def choices_of(column: pd.Series[Any]) -> list[str]:
    """The choices of an axis from the bottom up, `INACTIVE` first."""
    return sorted(as_choices(column).unique(), key=lambda choice: (choice != INACTIVE, choice))


def scale_of(path: str, space: Space | None) -> Callable[[Array], Array]:
    """Natural values -> the search space's unit scale, decades for cost; themselves for what the space lacks."""
    if path == "cost_seconds":
        return lambda values: np.log10(np.maximum(values, TINY_COST))
    parameter = _numeric(path, space)
    return parameter.to_unit if parameter is not None else lambda values: np.asarray(values, dtype=float)


def natural_range(path: str, space: Space | None, on_axis: tuple[float, float]) -> tuple[float, float]:
    """What a brush on an axis means in natural units."""
    if path == "cost_seconds":
        return 10 ** on_axis[0], 10 ** on_axis[1]
    parameter = _numeric(path, space)
    if parameter is None:
        return on_axis
    low, high = parameter.from_unit(np.array(on_axis)).tolist()
    return low, high


def _numeric(path: str, space: Space | None) -> NumericParameter | None:
    found = next((one for one in space.parameters if one.name == path), None) if space is not None else None
    return found if isinstance(found, NumericParameter) else None


def brushed(change: Mapping[str, Any], brush: Brush, runs: pd.DataFrame, space: Space | None) -> dict[str, list[Any]]:
    """The brush after the figure reported what was dragged.

    Args:
        change: from Plotly: ranges by `dimensions[i].constraintrange`.
        runs: the ones that the figure was drawn from.
    """
    axes, after = axes_of(runs), {path: list(chosen) for path, chosen in brush.items()}
    for key, value in change.items():
        index = BRUSHED.fullmatch(key)
        if index is None or int(index[1]) >= len(axes):
            continue
        path = axes[int(index[1])]
        # Null, [low, high], or several of these, in lists as deep as Plotly likes.
        ends = np.array(value if value is not None else [], dtype=float).ravel()
        ranges = ends[~np.isnan(ends)].reshape(-1, 2)
        chosen = chosen_on(column_of(scored(runs), path), path, space, ranges)
        after.pop(path, None)
        after |= {path: chosen} if chosen else {}
    return after


def chosen_on(column: pd.Series[Any], path: str, space: Space | None, ranges: Array) -> list[Any]:
    """What (k, 2) ranges on an axis choose: low and high of their hull, or the choices inside; [] = everything.

    Below an axis of numbers lies the mark of the runs that have none: it is chosen alone, or not at all.
    """
    if is_number(column):
        if not len(ranges):
            return []
        lowest = float(np.nanmin(scale_of(path, space)(column.to_numpy(dtype=float))))
        if column.isna().any() and ranges.max() < lowest:
            return [INACTIVE]
        below = lowest if column.isna().any() else -np.inf
        return list(natural_range(path, space, (max(float(ranges.min()), below), float(ranges.max()))))
    return [
        choice
        for code, choice in enumerate(choices_of(column))
        if ((ranges[:, 0] <= code) & (code <= ranges[:, 1])).any()
    ]


def narrowed_parameters(space: Space, brush: Brush, latest: Space | None = None) -> dict[str, dict[str, Any]]:
    """The space's parameters with brushed bounds: `sweep.parameters` of the next sweep or phase.

    Written means move inside the new bounds.

    Args:
        space: what the axes show: all that the sweep ever searched.
        latest: what it searches now, which is narrowed; None = the same.
    """
    config, whole = (latest or space).to_config(), space.to_config()
    for parameter in space.parameters:
        limits = brush.get(parameter.name)
        if limits is None or parameter.name not in config:
            continue
        if isinstance(parameter, CategoricalParameter):
            config[parameter.name] = narrowed_choice(whole[parameter.name], parameter, limits)
        elif not isinstance(limits[0], str):  # the choice of runs that have no such number says nothing of its bounds
            config[parameter.name] = narrowed_number(whole[parameter.name], parameter, limits) or config[parameter.name]
    return config


def narrowed_number(
    config: Mapping[str, Any], parameter: NumericParameter, limits: Sequence[Any]
) -> dict[str, Any] | None:
    """A parameter with the brushed bounds; None when they leave no range."""
    low, high = (
        rounded_inside(end, parameter)
        for end in parameter.from_unit(np.sort(parameter.to_unit(np.array(limits)))).tolist()
    )
    if low >= high:
        return None
    ends = {"min": parameter.native(low), "max": parameter.native(high)}
    written = {"mean": parameter.native(min(max(parameter.mean, low), high))} if parameter.is_believed else {}
    return {**config, **ends, **written}


def rounded_inside(value: float, parameter: NumericParameter) -> float:
    """Six digits: more say nothing about where somebody let go of the mouse."""
    return min(max(float(f"{value:.6g}"), parameter.low), parameter.high)


def narrowed_choice(
    config: Mapping[str, Any], parameter: CategoricalParameter, chosen: Sequence[Any]
) -> dict[str, Any]:
    """A categorical parameter with the chosen choices left; a single one becomes a fixed value."""
    left = [choice for choice in parameter.choices if str(choice) in chosen] or list(parameter.choices)
    if len(left) == 1:
        return {"value": left[0]}
    narrowed = {key: value for key, value in config.items() if key != "mean" or value in left}
    return {**narrowed, "choices": left}
