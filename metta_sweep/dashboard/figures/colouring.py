"""What runs are coloured by: phase, run, order, or a parameter, as a few groups or along a scale."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from plotly.colors import sample_colorscale

from metta_sweep.analysis.frame import PARAM, as_choices, is_number
from metta_sweep.analysis.names import mark
from metta_sweep.dashboard.figures import theme
from metta_sweep.dashboard.figures.theme import Look

COLOURS = {"auto": "automatic", "none": "one colour", "phase": "phase", "run": "run", "number": "order of the runs"}
FEW = 12  # runs, each with a colour and a line in the legend: six colours, and dashes that tell them apart
SHADES = 8  # of lines along a scale: neighbours can still be told apart, and each is one trace
OTHERS = "others"


@dataclass(frozen=True, slots=True)
class Group:
    """Runs of one colour.

    Attributes:
        name: in the legend and on hovering.
        ids: of the runs.
        style: colour and dashes of a line.
    """

    name: str
    ids: Sequence[str]
    style: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Scale:
    """Runs along a colour scale.

    Attributes:
        title: of the colour bar.
        values: by run id, on the scale as it is drawn.
        is_log: whether they are decades.
    """

    title: str
    values: pd.Series[float]
    is_log: bool

    def bar(self, look: Look) -> dict[str, Any]:
        """Marker of a trace whose colour bar explains the scale."""
        low, high = self.ends
        bar: dict[str, Any] = {"title": {"text": theme.safe(self.title), "side": "right"}, "thickness": 12}
        if self.is_log:
            ticks = np.linspace(low, high, 5)
            bar |= {"tickvals": ticks.tolist(), "ticktext": [theme.tick(10**tick) for tick in ticks]}
        return {"colorscale": theme.scale("parameter", look), "cmin": low, "cmax": high, "colorbar": bar}

    @property
    def ends(self) -> tuple[float, float]:
        low, high = float(self.values.min()), float(self.values.max())
        return (low, high) if high > low else (low - 0.5, high + 0.5)

    def shades(self, look: Look) -> list[Group]:
        """The runs in `SHADES` groups along the scale; those without a value are left out."""
        low, high = self.ends
        known = self.values.dropna()
        shade = ((known - low) / (high - low) * SHADES).astype(int).clip(upper=SHADES - 1)
        middles = [(index + 0.5) / SHADES for index in range(SHADES)]
        colours = sample_colorscale(theme.scale("parameter", look), middles)
        return [
            Group("", shade.index[shade == index].tolist(), {"color": colour})
            for index, colour in enumerate(colours)
            if (shade == index).any()
        ]


def scale_of(runs: pd.DataFrame, by: str, log_params: Sequence[str] = ()) -> Scale | None:
    """The scale for what has a number for each run and more values than colours; None for all else."""
    column = "number" if by == "number" else PARAM + by
    if column not in runs.columns or not is_number(runs[column]):
        return None
    values: pd.Series[float] = runs.set_index("id")[column].astype(float)
    if by != "number" and values.nunique() <= len(theme.ON_LIGHT):
        return None
    is_log = by in log_params and bool((values.dropna() > 0).all())
    return Scale(
        "run" if by == "number" else by, values.map(math.log10, na_action="ignore") if is_log else values, is_log
    )


def groups_of(runs: pd.DataFrame, by: str, look: Look) -> list[Group]:
    """The runs in groups of one colour each: by phase where `by` is neither a run's own colour nor a parameter."""
    if by == "none":
        return [Group(f"{len(runs):,} runs", runs["id"].tolist(), {"color": look.muted})]
    if by == "run":
        return _by_run(runs.sort_values("number")["id"].tolist(), look)
    if PARAM + by in runs.columns:
        return _by_choice(runs, by, look)
    colours = theme.phase_colours(runs, look)
    return [Group(name or "runs", _ids(runs, runs["phase"] == name), {"color": one}) for name, one in colours.items()]


def _by_run(ids: Sequence[str], look: Look) -> list[Group]:
    """A colour for each of a few; of many, those that share a colour are one group: hundreds would be slow to draw."""
    if len(ids) <= FEW:
        return [Group(mark(one), [one], theme.line_style(n, look)) for n, one in enumerate(ids)]
    num_colours = len(look.colours)
    return [Group("", ids[start::num_colours], {"color": look.colours[start]}) for start in range(num_colours)]


def _by_choice(runs: pd.DataFrame, by: str, look: Look) -> list[Group]:
    """A colour for each of the most frequent values, grey for the others."""
    values = runs[PARAM + by]
    texts = values.map(theme.number, na_action="ignore") if is_number(values) else values
    texts = as_choices(texts)
    frequent = texts.value_counts().index[: len(look.colours)]
    name = by.rpartition(".")[2]
    groups = [
        Group(f"{name} {one}", _ids(runs, texts == one), {"color": look.colours[index]})
        for index, one in enumerate(sorted(frequent, key=list(texts).index))
    ]
    rest = _ids(runs, ~texts.isin(frequent))
    return [*groups, *([Group(OTHERS, rest, {"color": look.muted})] if rest else [])]


def _ids(runs: pd.DataFrame, are_in: pd.Series[bool]) -> list[str]:
    ids: list[str] = runs.loc[are_in, "id"].tolist()
    return ids
