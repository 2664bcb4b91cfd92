"""Runs that are chosen in the table, side by side: what differs first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import dash_bootstrap_components as dbc
import pandas as pd
from dash import html

from metta_sweep.analysis.frame import METRIC, PARAM
from metta_sweep.dashboard import tables
from metta_sweep.dashboard.figure_input import FigureInput
from metta_sweep.dashboard.figures.theme import line_style
from metta_sweep.dashboard.runs_grid import columns_of

MAX_COMPARED = 12  # as many columns as a wide screen holds, and curves that colour and dashes tell apart
RESULTS = ("state", "phase", "score", "standard_error", "cost_seconds", "dollars", "env_steps")


def compared(inputs: FigureInput) -> list[Any]:
    """A table with a column for each chosen run."""
    rows = inputs.chosen
    if len(rows) < 2:
        return []  # the figure below says how
    shown = rows.head(MAX_COMPARED)
    different, same = lines(shown)
    note = f" The first {MAX_COMPARED} of {len(rows):,}." if len(shown) < len(rows) else ""
    words = f"{len(different)} values differ, {len(same)} are the same.{note}"
    heads = [head(row, index, inputs) for index, row in enumerate(shown.to_dict("records"))]
    parts = [html.H2("Compared", className="h6"), html.P(words, className="small mb-1")]
    parts.append(tables.table(("", *heads), different, label="Values that differ"))
    if same:
        rest = tables.table((), same, label="Values that are the same")
        parts.append(html.Details([html.Summary("The same in all", className="small"), rest], className="mt-2"))
    return [dbc.Card(dbc.CardBody(parts, className="p-3"), className="compared")]


def head(row: Mapping[Any, Any], index: int, inputs: FigureInput) -> html.Div:
    """The run's number, in the colour of its curve."""
    colour = line_style(index, inputs.look)["color"]
    dot = html.Span(className="swatch", style={"background": colour})
    button = {"color": "link", "size": "sm", "className": "p-0", "title": row["id"]}
    opener = dbc.Button(f"#{row['number']}", id={"type": "pick", "run": row["id"]}, **button)
    return html.Div([dot, opener], className="d-flex align-items-center gap-1")


def lines(rows: pd.DataFrame) -> tuple[list[Sequence[Any]], list[Sequence[Any]]]:
    """(what differs, what is the same): the name of a value, then the value of each run. What nobody has is left out.

    Results come first, then parameters, then metrics.
    """
    columns = columns_of(rows)
    names = [*RESULTS, *(name for name in columns if name.startswith((PARAM, METRIC)))]
    different: list[Sequence[Any]] = []
    same: list[Sequence[Any]] = []
    for name in (one for one in names if one in columns):
        values = [columns[name].written(value) for value in rows[name]]
        told = rows[name].astype(object).where(rows[name].notna(), None)
        line = (html.Span(columns[name].title, title=name.removeprefix(PARAM)), *values)
        (same if told.map(repr).nunique() == 1 else different).append(line)
    return different, same
