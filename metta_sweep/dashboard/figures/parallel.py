"""Parallel coordinates: each run a line through all its parameters, cost and score; brushing an axis filters every view."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from metta_sweep.analysis.frame import PARAM, scored, varying_params
from metta_sweep.dashboard.figures import theme
from metta_sweep.dashboard.figures.theme import Look
from searchers import CategoricalParameter, NumericParameter, Space
from searchers.distributions import Array

NUM_TICKS = 5
MAX_LINES = 5000


def axes_of(runs: pd.DataFrame) -> list[str]:
    """Dotted paths of the numeric parameters, in the order of the axes; the brush speaks in these."""
    columns = varying_params(scored(runs))
    numeric = [name for name in columns if pd.api.types.is_numeric_dtype(runs[name]) and not pd.api.types.is_bool_dtype(runs[name])]
    return [name.removeprefix(PARAM) for name in numeric]


def parallel_coordinates(runs: pd.DataFrame, space: Space | None, brush: Mapping[str, tuple[float, float]], look: Look) -> go.Figure:
    """Numeric parameters on the search space's own scale, then choices, log cost and score; coloured by score.

    Args:
        runs: all runs, unfiltered: the brush itself greys out the others.
        brush: chosen ranges in natural units, by dotted path.
    """
    done = scored(runs).tail(MAX_LINES)
    if done.empty:
        return theme.empty(look, "No run has a score yet", height=520)
    dimensions = [_numeric_axis(done, path, space, brush.get(path)) for path in axes_of(runs)]
    dimensions += [_choice_axis(done, column) for column in varying_params(done) if column.removeprefix(PARAM) not in axes_of(runs)]
    dimensions += [_cost_axis(done), {"label": "score", "values": done["score"].to_numpy(), "tickformat": ".4~g"}]
    names = theme.short_names(axes_of(runs))
    for dimension in dimensions:
        dimension["label"] = theme.safe(names.get(dimension["label"], dimension["label"]))
    bar = {"title": {"text": "score"}, "thickness": 12}
    line = {"color": done["score"].to_numpy(), "colorscale": theme.SCALE, "showscale": True, "colorbar": bar}
    fonts = {"labelfont": {"size": 12, "color": look.text}, "tickfont": {"size": 11, "color": look.text}}
    hidden = {"rangefont": {"size": 1, "color": look.paper}}  # ends of the axis in unit space, which mean nothing to a person
    figure = go.Figure(go.Parcoords(dimensions=dimensions, line=line, labelangle=-12, **fonts, **hidden), layout=theme.page_layout(look, 520))
    figure.update_layout(margin={"l": 70, "r": 40, "t": 90, "b": 24})
    return figure


def _numeric_axis(runs: pd.DataFrame, path: str, space: Space | None, limits: tuple[float, float] | None) -> dict[str, Any]:
    """An axis on the parameter's own scale, with its natural values as ticks."""
    values = runs[PARAM + path].to_numpy(dtype=float)
    to_unit = scale_of(path, space)
    low, high = np.nanmin(values), np.nanmax(values)
    ends = to_unit(np.array([low, high]))
    axis = {"label": path, "values": to_unit(values), "range": ends.tolist()}
    ticks = [natural_range(path, space, (tick, tick))[0] for tick in np.linspace(ends[0], ends[1], NUM_TICKS)]
    axis |= {"tickvals": to_unit(np.array(ticks)).tolist(), "ticktext": [theme.number(tick, 3) for tick in ticks]}
    return axis if limits is None else {**axis, "constraintrange": to_unit(np.array(limits)).tolist()}


def scale_of(path: str, space: Space | None) -> Callable[[Array], Array]:
    """Natural values -> the search space's unit scale; the values themselves for a parameter that it does not know."""
    parameters = {one.name: one for one in space.parameters} if space is not None else {}
    parameter = parameters.get(path)
    return parameter.to_unit if isinstance(parameter, NumericParameter) else lambda values: np.asarray(values, dtype=float)


def natural_range(path: str, space: Space | None, unit: tuple[float, float]) -> tuple[float, float]:
    """What a brush on an axis means in natural units."""
    parameters = {one.name: one for one in space.parameters} if space is not None else {}
    parameter = parameters.get(path)
    if not isinstance(parameter, NumericParameter):
        return unit
    low, high = parameter.from_unit(np.array(unit)).tolist()
    return low, high


def _choice_axis(runs: pd.DataFrame, column: str) -> dict[str, Any]:
    codes, choices = pd.factorize(runs[column].astype(str), sort=True)
    ticks = [theme.safe(choice) for choice in choices]
    return {"label": column.removeprefix(PARAM), "values": codes, "tickvals": list(range(len(ticks))), "ticktext": ticks}


def _cost_axis(runs: pd.DataFrame) -> dict[str, Any]:
    cost = np.log10(runs["cost_seconds"].clip(lower=1e-3).to_numpy())
    ticks = np.linspace(cost.min(), cost.max(), NUM_TICKS)
    return {"label": "cost (s)", "values": cost, "tickvals": ticks.tolist(), "ticktext": [theme.number(10**tick, 2) for tick in ticks]}


def narrowed_parameters(space: Space, brush: Mapping[str, tuple[float, float]]) -> dict[str, dict[str, Any]]:
    """The space's parameters with brushed bounds: `sweep.parameters` of the next sweep or phase. Means move inside the new bounds."""
    config = space.to_config()
    for parameter in space.parameters:
        limits = brush.get(parameter.name)
        if limits is None or isinstance(parameter, CategoricalParameter):
            continue
        low, high = parameter.from_unit(np.sort(parameter.to_unit(np.array(limits)))).tolist()
        if low < high:
            mean = min(max(parameter.mean, low), high)
            native = {"min": parameter.native(low), "max": parameter.native(high), "mean": parameter.native(mean)}
            config[parameter.name] |= native
    return config
