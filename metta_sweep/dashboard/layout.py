"""The page: bars, tabs, cards. Only components, no data access."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import dash_bootstrap_components as dbc
from dash import dcc, html

from metta_sweep.dashboard.choices import curve_choices, overview_choices
from metta_sweep.dashboard.pages import Figure, figures_of
from metta_sweep.dashboard.remarks import form
from metta_sweep.dashboard.view import COST_AXES, FILTERED, HOME, MEASURES, PAGES, View

REFRESH_MILLISECONDS = 1500
# Plotly's own export (the cards have one), a button that sends the data to a web site, and buttons that the mouse makes
# superfluous. A flat list: Plotly takes nested ones (`modeBarButtons`) for changed at every update and then draws anew,
# zoom lost.
HIDDEN_BUTTONS = ["toImage", "sendChartToCloud", "lasso2d", "select2d", "zoomIn2d", "zoomOut2d", "autoScale2d"]
GRAPH_CONFIG = {"displaylogo": False, "responsive": True, "modeBarButtonsToRemove": HIDDEN_BUTTONS}


def shell() -> html.Div:
    """What is there before the URL is known."""
    return html.Div([dcc.Location(id="url", refresh=False), html.Div(id="page")])


def page(view: View, sweeps: list[str], *, version: str, actions: bool) -> html.Div:
    """The whole page for a view; figures fill themselves in."""
    return html.Div(
        [
            dcc.Store(id="view", data=view.to_search()),
            dcc.Store(id="shown", data=view.drawn()),
            dcc.Store(id="brush", data={path: list(chosen) for path, chosen in view.narrowed.items()}),
            dcc.Store(id="run", data=view.run),
            dcc.Store(id="version", data=version),
            dcc.Store(id="picked"),
            dcc.Store(id="table", data=table_state(view)),
            dcc.Interval(id="tick", interval=REFRESH_MILLISECONDS),
            dcc.Download(id="download"),
            html.A("Skip to the figures", href="#content", className="visually-hidden-focusable"),
            header(view, sweeps),
            html.Main(
                [
                    html.Div(id="notice", role="status", **{"aria-live": "polite"}),
                    html.Div(id="money", className="mb-3", hidden=view.page == HOME),
                    tabs(view),
                    html.Div(filters(view), id="filters", hidden=view.page not in FILTERED),
                    html.Div(id="content", tabIndex="-1"),
                ],
                className="container-fluid px-4 pb-5",
            ),
            details(actions=actions),
        ]
    )


def table_state(view: View) -> dict[str, Any]:
    """The table's part of the view, as assets/grid.js keeps it."""
    where = {name: one.to_model() for name, one in view.where.items()}
    sort = None if view.sort is None else [list(pair) for pair in view.sort]
    return {"where": where, "sort": sort, "chosen": list(view.chosen), "find": view.find, "columns": view.columns}


def header(view: View, sweeps: list[str]) -> html.Header:
    """Name of the sweep, exports, theme."""
    names = [view.sweep, *sweeps] if view.sweep else sweeps
    return html.Header(
        [
            html.H1("metta_sweep", className="h5 mb-0 me-2"),
            html.Label("Sweep", htmlFor="sweep", className="visually-hidden"),
            _select("sweep", {name: name for name in names}, view.sweep, className="sweep-select"),
            html.Span(id="state", className="ms-2 small text-body-secondary"),
            html.Div(
                [
                    _button("CSV", "export-csv", "Download the runs shown as CSV"),
                    _button("Parquet", "export-parquet", "Download the runs shown as Parquet"),
                    _button("Copy link", "copy-link", "Copy the address of this view"),
                    dbc.Switch(id="dark", label="Dark", value=view.theme == "dark", className="ms-2 mb-0"),
                ],
                className="ms-auto d-flex gap-2 align-items-center",
            ),
        ],
        className="topbar d-flex align-items-center px-4 py-2 mb-3 border-bottom",
    )


def _button(label: str, name: str | dict[str, str], title: str) -> dbc.Button:
    return dbc.Button(label, id=name, size="sm", outline=True, color="secondary", title=title)


def _select(name: str | dict[str, str], choices: Mapping[str, str], value: str, **more: Any) -> dbc.Select:
    """A drop-down list.

    Args:
        choices: labels by value.
    """
    return dbc.Select(id=name, options=_options(choices), value=value, size="sm", **more)


def _options(choices: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"label": label, "value": value} for value, label in choices.items()]


def tabs(view: View) -> html.Nav:
    """Pages as one group of radio buttons that look like tabs: the arrow keys go through them."""
    radios = dbc.RadioItems(
        id="tabs",
        options=_options(PAGES),
        value=view.page,
        className="nav nav-tabs",
        inputClassName="btn-check",
        labelClassName="nav-link",
        labelCheckedClassName="active",
    )
    return html.Nav(radios, className="mb-3", **{"aria-label": "Pages"})


def filters(view: View) -> list[Any]:
    """Sliders for score and cost, the axis that cost is shown on, and what all ranges together leave."""
    axis_label = html.Label("Cost axis", htmlFor="cost-axis", className="small")
    columns = [
        _range_slider("score", "Score", view.score, "shortNumber"),
        _range_slider("cost", "Cost (s)", view.cost, "decades"),
        dbc.Col([axis_label, _select("cost-axis", COST_AXES, view.cost_axis)], lg=2),
    ]
    clear = _button("Show all runs", "clear-ranges", "Clear every range and choice")
    clear.hidden = not view.is_filtered
    words = [html.Span(id="filter-words", className="small", role="status"), clear]
    return [
        dbc.Row(columns, className="filters gx-5 gy-4"),
        html.Div(words, className="d-flex align-items-center gap-3 mb-2"),
    ]


def _range_slider(name: str, label: str, limits: tuple[float, float] | None, transform: str) -> dbc.Col:
    """A slider without bounds yet, and its label: the first tick brings the bounds."""
    low, high = limits or (0.0, 1.0)
    slider = dcc.RangeSlider(
        id=name,
        min=low,
        max=high,
        value=[low, high],
        marks=None,
        allowCross=False,
        updatemode="mouseup",
        allow_direct_input=False,
        tooltip={"placement": "bottom", "always_visible": True, "transform": transform},
    )
    return dbc.Col([html.Label(label, id=f"{name}-label", className="small"), slider], lg=5)


def content(name: str, view: View, parameters: list[str]) -> list[Any]:
    """What a page says, its choices, and the cards of its figures."""
    panel = html.Div(id={"type": "panel", "name": name})
    return [*options(name, view, parameters), panel, cards(name)]


def cards(name: str) -> dbc.Row:
    """The cards of a page's figures."""
    return dbc.Row([card(key, figure) for key, figure in figures_of(name).items()], className="g-3")


def options(name: str, view: View, parameters: list[str]) -> list[Any]:
    """Choices that only this page has."""
    if name == "curves":
        return [curve_choices(view, parameters)]
    if name == "overview":
        return [overview_choices(view, parameters)]
    if name == "importance":
        return [radios("measure", "Importance is:", MEASURES, view.measure)]
    if name == "model":
        first = parameter_choice("x", "Contour, first parameter", view.x, parameters)
        second = parameter_choice("y", "Contour, second parameter", view.y, parameters)
        return [dbc.Row([first, second], className="g-3 mb-2")]
    return [brush_buttons()] if name == "parallel" else []


def radios(name: str, label: str, choices: Mapping[str, str], value: str) -> html.Div:
    """A choice of a few, in one line."""
    identity = {"type": "option", "name": name}
    buttons = dbc.RadioItems(id=identity, options=_options(choices), value=value, inline=True)
    return html.Div([html.Span(label, className="me-2"), buttons], className="d-flex align-items-center small mb-2")


def parameter_choice(name: str, label: str, value: str, parameters: list[str]) -> dbc.Col:
    choices = {"auto": "most important", **{path: path for path in parameters}}
    select = _select({"type": "option", "name": name}, choices, value if value in parameters else "auto")
    return dbc.Col([html.Label([label, select], className="small w-100")], lg=4)


def brush_buttons() -> html.Div:
    """What to do with the brushed ranges."""
    buttons = [
        _button(
            f"Narrowed space as next {kind}",
            {"type": "narrowed", "name": kind},
            f"Download a {what} with these ranges as bounds",
        )
        for kind, what in (("sweep", "sweep file"), ("phase", "phase"))
    ]
    return html.Div(buttons, className="d-flex flex-wrap gap-2 mb-2")


def card(name: str, figure: Figure) -> dbc.Col:
    """A figure with its heading, help and exports."""
    buttons = [
        html.Button(
            kind.upper(),
            className="btn btn-sm btn-link py-0",
            title=f"Save as {kind.upper()}",
            type="button",
            **{"data-export": kind},
        )
        for kind in ("png", "svg")
    ]
    head = [html.H2(figure.title, className="h6 mb-0"), html.Div(buttons, className="ms-auto text-nowrap")]
    graph = dcc.Graph(id={"type": "figure", "name": name}, config=GRAPH_CONFIG, className="graph", responsive=True)
    drawn = dcc.Store(id={"type": "drawn", "name": name})  # by the server; shown by assets/dashboard.js
    body = [
        html.Div(head, className="d-flex align-items-center"),
        html.P(figure.help, className="small text-body-secondary mb-1"),
        dcc.Loading([graph, drawn], delay_show=600, type="dot"),
    ]
    return dbc.Col(dbc.Card(dbc.CardBody(body, className="p-3"), **{"class_name": "h-100"}), xs=12, lg=figure.width)


def details(*, actions: bool) -> dbc.Offcanvas:
    """The panel of one run."""
    remark = [html.Div(id="panel-remark")]
    parts = [*remark, html.Div(id="details"), *([action_box(), form("run")] if actions else [])]
    place = {"placement": "end", "is_open": False, "scrollable": True, "backdrop": False}
    return dbc.Offcanvas(parts, id="panel", title="Run", className="run-panel", **place)


def action_box() -> html.Div:
    """Retry and stop, for who has the token."""
    hint = "token shown by the command line"
    buttons = [
        dbc.Button("Retry this run", id="retry-run", size="sm", color="secondary"),
        dbc.Button("Stop the sweep", id="stop-sweep", size="sm", color="danger"),
    ]
    return html.Div(
        [
            html.H3("Actions", className="h6 mt-4"),
            dbc.Input(id="token", type="password", placeholder=hint, size="sm", className="mb-2"),
            dbc.ButtonGroup(buttons),
            html.Div(id="action-answer", className="small mt-2", role="status"),
        ]
    )
