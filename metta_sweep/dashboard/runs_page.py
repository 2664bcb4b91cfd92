"""The Runs page: the configuration to use, the table with its search, and the chosen runs side by side."""

from __future__ import annotations

import json
from typing import Any

import dash_ag_grid as dag
import dash_bootstrap_components as dbc
import pandas as pd
from dash import dcc, html

from metta_sweep.dashboard import layout, runs_grid
from metta_sweep.dashboard.choices import chosen_choices, select
from metta_sweep.dashboard.remarks import form
from metta_sweep.dashboard.view import COLUMNS, View
from metta_sweep.registry.names import run_id
from metta_sweep.registry.records import RemarkRecord

GRID = "runs-grid"
SEARCH_MILLISECONDS = 300  # after the last key: between two letters of a word that is being typed
# Colours of the page, so that light and dark follow it by themselves.
THEME = {
    "accentColor": "var(--bs-primary)",
    "backgroundColor": "var(--bs-card-bg)",
    "borderColor": "var(--bs-border-color)",
    "browserColorScheme": "inherit",
    "fontFamily": "inherit",
    "fontSize": 13,
    "foregroundColor": "var(--bs-body-color)",
    "headerBackgroundColor": "var(--bs-tertiary-bg)",
    "headerFontSize": 13,
    "spacing": 5,
    "wrapperBorderRadius": "var(--bs-border-radius)",
}
OPTIONS = {
    "theme": {"function": f"themeQuartz.withParams({json.dumps(THEME)})"},
    "columnTypes": runs_grid.TYPES,
    "rowSelection": {"mode": "multiRow", "checkboxes": True, "headerCheckbox": True, "selectAll": "filtered"},
    "selectionColumnDef": {"pinned": "left", "width": 44, "resizable": False, "suppressHeaderMenuButton": True},
    "isExternalFilterPresent": {"function": "isSearching()"},
    "doesExternalFilterPass": {"function": "hasWords(params)"},
    "suppressFieldDotNotation": True,
    "maintainColumnOrder": True,  # as somebody dragged them, when a new metric brings a column
    "tooltipShowDelay": 500,
    "enableCellTextSelection": True,
    "animateRows": False,
}


def content(view: View, runs: pd.DataFrame, goal: str, remark: RemarkRecord | None) -> list[Any]:
    """Everything below the filters.

    Args:
        runs: all runs of the sweep: they decide which columns there are.
        remark: what is written about the sweep, for the form; None without a form.
    """
    writing = "Write a note on this sweep"
    writer = [] if remark is None else [form("sweep", remark, needs_token=True)]
    return [
        html.Div(id={"type": "panel", "name": "runs"}),
        html.Div(id={"type": "panel", "name": "remark"}),
        *[html.Details([html.Summary(writing, className="small"), one]) for one in writer],
        html.H2("Runs", className="h6 mt-4"),
        tools(view),
        table(view, runs, goal),
        html.Div(id={"type": "panel", "name": "compared"}, className="my-3"),
        chosen_choices(view),
        layout.cards("runs"),
        dcc.Store(id="rows-news"),
        dcc.Store(id="rows-have"),
        dcc.Store(id="sort-default", data=runs_grid.default_sort(goal)),
    ]


def tools(view: View) -> html.Div:
    """Search, columns, and what to do with the chosen runs."""
    title = "In names, states, phases, choices, tags, notes and messages; a run must have every word"
    more = {"type": "search", "placeholder": "Search", "size": "sm"}
    search = dbc.Input(id="find", value=view.find, debounce=SEARCH_MILLISECONDS, **more)
    columns = select("columns-choice", COLUMNS, view.columns, className="w-auto")
    export = layout.button("CSV of chosen", "export-chosen", "Download the chosen runs as CSV")
    label = html.Label("Search the runs", htmlFor="find", className="visually-hidden")
    parts = [html.Div([label, search], className="table-search", title=title), columns, export]
    return html.Div([*parts, html.Span(id="chosen-words", className="small", role="status")], className="table-tools")


def table(view: View, runs: pd.DataFrame, goal: str) -> dag.AgGrid:
    """The table without rows: they follow."""
    return dag.AgGrid(
        id=GRID,
        columnDefs=runs_grid.definitions(runs, view, goal),
        defaultColDef={"cellDataType": False, "comparator": {"function": "unknownLast"}, "minWidth": 60},
        filterModel=runs_grid.filter_model(runs, view.where),
        selectedRows={"ids": [run_id(view.sweep, number) for number in view.chosen]},
        getRowId="params.data.id",
        dashGridOptions=OPTIONS,
        eventListeners={"cellKeyDown": ["openOnEnter(params, setEventData)"]},
        className="runs-table",
        style={"height": "min(34rem, 70vh)"},
    )
