"""Wiring of the table of runs: its rows come from the server, its state goes into the view. See assets/grid.js."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dash import ClientsideFunction, Dash, Input, Output, State, dcc, no_update

from metta_sweep.dashboard import export
from metta_sweep.dashboard.conditions import MAX_CONDITIONS, MAX_TEXT, Condition
from metta_sweep.dashboard.queries import Queries
from metta_sweep.dashboard.runs_page import GRID
from metta_sweep.dashboard.view import COLUMNS, MAX_SORTED
from metta_sweep.dashboard.wiring import CLEARED, SHOWN, VERSION, VIEW, on


def register_grid(app: Dash, queries: Queries) -> None:
    """Rows, words and exports of the table."""

    @on(app, Output("rows-news", "data"), SHOWN, VERSION, State("rows-have", "data"))
    def bring_rows(search: str, _version: str, have: Mapping[str, Any] | None) -> Any:
        news = queries.table_news(queries.view(search), have)
        return no_update if news is None else news

    @on(app, Output("chosen-words", "children"), Output("export-chosen", "disabled"), SHOWN)
    def say_chosen(search: str) -> tuple[str, bool]:
        view = queries.view(search)
        return queries.chosen_words(view), not view.chosen

    clicked = Input("export-chosen", "n_clicks")

    @on(app, Output("download", "data", allow_duplicate=True), clicked, VIEW, late=True)
    def save_chosen(clicks: int | None, search: str) -> Any:
        if not clicks:
            return no_update
        view = queries.view(search)
        return dcc.send_string(export.csv_text(queries.inputs(view).chosen), f"{view.sweep}_chosen.csv")

    register_browser(app)


def register_browser(app: Dash) -> None:
    """What runs in the browser."""
    rows = (Output(GRID, "rowData"), Output(GRID, "columnDefs"), Output("rows-have", "data"))
    news = (Input("rows-news", "data"), State(GRID, "rowData"))
    app.clientside_callback(ClientsideFunction("grid", "rows"), *rows, *news)
    app.clientside_callback(ClientsideFunction("grid", "search"), Output("find", "className"), Input("find", "value"))
    picked = (Input(GRID, "cellClicked"), Input(GRID, "eventData"))
    app.clientside_callback(
        ClientsideFunction("grid", "picked"), Output("picked", "data"), *picked, prevent_initial_call=True
    )
    state = [Input(GRID, name) for name in ("filterModel", "columnState", "selectedRows")]
    state += [Input("find", "value"), Input("columns-choice", "value")]
    before = State("table", "data")
    app.clientside_callback(
        ClientsideFunction("grid", "state"), Output("table", "data"), *state, before, State("sort-default", "data")
    )
    app.clientside_callback(
        ClientsideFunction("grid", "columns"),
        Output(GRID, "columnDefs", allow_duplicate=True),
        Input("columns-choice", "value"),
        State(GRID, "columnDefs"),
        prevent_initial_call=True,
    )
    app.clientside_callback(
        ClientsideFunction("grid", "cleared"),
        Output("table", "data", allow_duplicate=True),
        CLEARED,
        before,
        prevent_initial_call=True,
    )
    app.clientside_callback(
        ClientsideFunction("grid", "emptied"),
        Output(GRID, "filterModel"),
        Output("find", "value"),
        CLEARED,
        prevent_initial_call=True,
    )


def read_table(state: Mapping[str, Any]) -> dict[str, Any]:
    """The parts of a view that the table's state says; what makes no sense in it is left out."""
    models = list((state.get("where") or {}).items())[:MAX_CONDITIONS]
    where = {str(name): one for name, model in models if (one := Condition.of_model(model)) is not None}
    sort = state.get("sort")
    pairs = None if sort is None else tuple((str(name), str(way)) for name, way in sort[:MAX_SORTED])
    chosen = tuple(number for number in state.get("chosen") or () if isinstance(number, int))
    columns = state.get("columns")
    find = str(state.get("find") or "")[:MAX_TEXT]
    known = columns if columns in COLUMNS else "main"
    return {"where": where, "sort": pairs, "chosen": chosen, "find": find, "columns": known}
