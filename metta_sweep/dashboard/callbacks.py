"""Wiring: which change on the page asks the queries for what. Nothing is computed here."""

from __future__ import annotations

import dataclasses
from typing import Any

from dash import ALL, MATCH, ClientsideFunction, Dash, Input, Output, State, ctx, dcc, no_update

from metta_sweep.dashboard import export
from metta_sweep.dashboard.figures.parallel import Brush
from metta_sweep.dashboard.grid_callbacks import read_table, register_grid
from metta_sweep.dashboard.queries import Queries
from metta_sweep.dashboard.remark_callbacks import register_remarks
from metta_sweep.dashboard.shell_callbacks import register_shell, remembered_theme
from metta_sweep.dashboard.view import FILTERED, HOME, OVERVIEW, Range, View
from metta_sweep.dashboard.wiring import CLEARED, SHOWN, VERSION, VIEW, on

FIGURE = {"type": "figure", "name": ALL}
COMPARE = {"type": "compare", "sweep": ALL}
OPTION = {"type": "option", "name": ALL}
PICK = {"type": "pick", "run": ALL}


def register(app: Dash, queries: Queries) -> None:
    """Connect every callback."""
    register_page(app, queries)
    register_view(app, queries)
    register_updates(app, queries)
    register_brush(app, queries)
    register_run(app, queries)
    register_grid(app, queries)
    register_remarks(app, queries)
    register_exports(app, queries)
    register_browser(app)
    register_shell(app)


def register_page(app: Dash, queries: Queries) -> None:
    @on(app, Output("page", "children"), Input("url", "search"))
    def open_page(search: str | None) -> Any:
        return queries.page(queries.view(search or "", remembered_theme()))

    @on(app, Output("page", "children", allow_duplicate=True), Input("sweep", "value"), VIEW, late=True)
    def open_sweep(name: str, search: str) -> Any:
        view = queries.view(search)
        if name == view.sweep:
            return no_update
        return queries.page(View(sweep=name, page=OVERVIEW if view.page == HOME else view.page, theme=view.theme))

    outputs = (Output("content", "children"), Output("filters", "hidden"), Output("money", "hidden"))

    @on(app, *outputs, Input("tabs", "value"), VIEW)
    def open_tab(page: str, search: str) -> tuple[Any, bool, bool]:
        view = dataclasses.replace(queries.view(search), page=page)
        has_ranges = page in FILTERED and bool(view.sweep)
        return queries.content(view), not has_ranges, page != OVERVIEW


def register_view(app: Dash, queries: Queries) -> None:
    controls = {
        "page": Input("tabs", "value"),
        "dark": Input("dark", "value"),
        "cost_axis": Input("cost-axis", "value"),
        "ranges": {"score": Input("score", "value"), "cost": Input("cost", "value")},
        "brush": Input("brush", "data"),
        "run": Input("run", "data"),
        "chosen": Input(OPTION, "value"),
        "compared": Input(COMPARE, "value"),
        "table": Input("table", "data"),
        "ends": [State(name, end) for name in ("score", "cost") for end in ("min", "max")],
        "before": VIEW,
        "shown": State("shown", "data"),
    }

    @on(app, Output("view", "data"), Output("shown", "data"), controls)
    def note_view(**now: Any) -> tuple[str, Any]:
        view = read_controls(queries.view(now["before"]), now, ctx.args_grouping)
        drawn = view.drawn()
        return view.to_search(), no_update if drawn == now["shown"] else drawn


def read_controls(before: View, now: dict[str, Any], inputs: Any) -> View:
    """The view that the controls describe."""
    chosen = {item["id"]["name"]: item.get("value") for item in inputs["chosen"]}
    options: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in chosen.items() if value is not None
    }
    compared = [(item["id"]["sweep"], item.get("value")) for item in inputs["compared"]]
    if compared:
        options["compare"] = tuple(name for name, is_ticked in compared if is_ticked)
    score_low, score_high, cost_low, cost_high = now["ends"]
    return dataclasses.replace(
        before,
        page=now["page"],
        theme="dark" if now["dark"] else "light",
        cost_axis=now["cost_axis"],
        score=narrowed(now["ranges"]["score"], (score_low, score_high)),
        cost=costs_of(narrowed(now["ranges"]["cost"], (cost_low, cost_high))),
        brush={path: (chosen[0], chosen[1]) for path, chosen in now["brush"].items() if not isinstance(chosen[0], str)},
        only={path: tuple(chosen) for path, chosen in now["brush"].items() if isinstance(chosen[0], str)},
        run=now["run"],
        **read_table(now["table"]),
        **options,
    )


def narrowed(value: list[float], ends: Range) -> Range | None:
    """None for a slider that is open at both ends: it stays open when new runs widen it."""
    return None if value[0] <= ends[0] and value[1] >= ends[1] else (value[0], value[1])


def costs_of(slider: Range | None) -> Range | None:
    """Costs that the slider stands at: it moves in decades."""
    return None if slider is None else (10 ** slider[0], 10 ** slider[1])


def register_updates(app: Dash, queries: Queries) -> None:
    ticked = (Input("tick", "n_intervals"), VIEW, State("version", "data"))

    @on(app, Output("version", "data"), Output("notice", "children"), *ticked, late=True)
    def look(_ticks: int, search: str, version: str) -> tuple[Any, Any]:
        return queries.news(queries.view(search), version)

    @on(app, Output("money", "children"), Output("state", "children"), VERSION, VIEW)
    def show_summary(_version: str, search: str) -> tuple[Any, str]:
        view = queries.view(search)
        return queries.summary(view), queries.state(view)

    sliders = [Output(name, part) for name in ("score", "cost") for part in ("min", "max", "value", "step")]

    @on(app, *sliders, VERSION, CLEARED, VIEW)
    def move_ends(_version: str, _clear: int, search: str) -> tuple[Any, ...]:
        view = queries.view(search)
        is_cleared = ctx.triggered_id == "clear-ranges"
        return queries.slider_ends(dataclasses.replace(view, score=None, cost=None) if is_cleared else view)

    drawn = {"type": "drawn", "name": MATCH}

    @on(app, Output(drawn, "data"), SHOWN, VERSION, State(drawn, "id"))
    def draw(search: str, _version: str, identity: dict[str, str]) -> dict[str, Any]:
        figure = queries.figure(identity["name"], queries.view(search))
        return {"figure": figure, "keeps_zoom": ctx.triggered_id == "version"}

    panel = {"type": "panel", "name": MATCH}

    @on(app, Output(panel, "children"), SHOWN, VERSION, State(panel, "id"))
    def tell(search: str, _version: str, identity: dict[str, str]) -> Any:
        return queries.panel(identity["name"], queries.view(search))


def register_brush(app: Dash, queries: Queries) -> None:
    @on(app, Output("brush", "data"), Input(FIGURE, "restyleData"), CLEARED, State("brush", "data"), VIEW, late=True)
    def brush(_changes: Any, _clear: int, before: Brush, search: str) -> Any:
        source, value = ctx.triggered_id, ctx.triggered[0]["value"]
        if source == "clear-ranges":
            return {}
        is_brush = value and isinstance(source, dict) and source["name"] == "parallel"
        return queries.brushed(value, before, queries.view(search)) if is_brush else no_update

    download = Output("download", "data", allow_duplicate=True)

    @on(app, download, Input({"type": "narrowed", "name": ALL}, "n_clicks"), VIEW, late=True)
    def save_space(_clicks: Any, search: str) -> Any:
        if not ctx.triggered[0]["value"]:
            return no_update
        kind, view = ctx.triggered_id["name"], queries.view(search)
        text = export.narrowed_yaml(queries.inputs(view), as_phase=kind == "phase")
        return dcc.send_string(text, f"{view.sweep}_{'phase' if kind == 'phase' else 'narrowed'}.yaml")

    @on(app, Output("filter-words", "children"), Output("clear-ranges", "hidden"), SHOWN, VERSION)
    def say_filters(search: str, _version: str) -> tuple[str, bool]:
        view = queries.view(search)
        return queries.filter_words(view), not view.is_filtered


def register_run(app: Dash, queries: Queries) -> None:
    panel = (Output("run", "data"), Output("panel", "is_open"), Output("details", "children"))
    clicked = (Input(FIGURE, "clickData"), Input(PICK, "n_clicks"), Input("picked", "data"))
    chosen_by = (*clicked, Input("panel", "is_open"), SHOWN)

    @on(app, *panel, *chosen_by, State("run", "data"))
    def open_run(
        _clicks: list[Any], _picks: list[Any], _picked: Any, is_open: bool, search: str, run: str
    ) -> tuple[str, bool, Any]:
        chosen = chosen_run(ctx.triggered, ctx.triggered_id, run, is_open=is_open)
        panel = queries.details(chosen, queries.view(search)) if chosen else None
        return (chosen, True, panel) if panel is not None else ("", False, None)


def chosen_run(triggered: list[dict[str, Any]], source: Any, run: str, *, is_open: bool) -> str:
    """The run that was clicked; the same one as before when something else happened, none when its panel was closed."""
    kind = source.get("type") if isinstance(source, dict) else source
    value = triggered[0]["value"] if triggered else None
    if kind == "figure" and value:
        identity = value["points"][0].get("customdata")
        return str(identity[0] if isinstance(identity, list) else identity) if identity else run
    if kind == "pick" and value:
        return str(source["run"])
    if kind == "picked" and value:
        return str(value["run"])
    return "" if kind == "panel" and not is_open else run


def register_exports(app: Dash, queries: Queries) -> None:
    clicked = (Input("export-csv", "n_clicks"), Input("export-parquet", "n_clicks"))

    @on(app, Output("download", "data"), *clicked, VIEW, late=True)
    def save(_csv: int, _parquet: int, search: str) -> Any:
        view = queries.view(search)
        runs = queries.inputs(view).runs
        if ctx.triggered_id == "export-csv":
            return dcc.send_string(export.csv_text(runs), f"{view.sweep}.csv")
        return dcc.send_bytes(export.parquet_bytes(runs), f"{view.sweep}.parquet")


def register_browser(app: Dash) -> None:
    """What runs in the browser, see assets/dashboard.js."""
    copied = (Output("copy-link", "children"), Input("copy-link", "n_clicks"))
    app.clientside_callback(ClientsideFunction("dashboard", "copyLink"), *copied)
    app.clientside_callback(
        ClientsideFunction("dashboard", "show"),
        Output({"type": "figure", "name": MATCH}, "figure"),
        Output({"type": "figure", "name": MATCH}, "style"),
        Input({"type": "drawn", "name": MATCH}, "data"),
        State({"type": "figure", "name": MATCH}, "figure"),
    )
