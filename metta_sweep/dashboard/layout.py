"""What a page holds: filters, choices, cards of figures. Only components, no data access."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import dash_bootstrap_components as dbc
from dash import dcc, html

from metta_sweep.dashboard.choices import curve_choices, options_of, overview_choices, pair_choices, row, select
from metta_sweep.dashboard.pages import Figure, figures_of
from metta_sweep.dashboard.view import COST_AXES, MEASURES, View

# Plotly's own export (the cards have one), a button that sends the data to a web site, and buttons that the mouse makes
# superfluous. A flat list: Plotly takes nested ones (`modeBarButtons`) for changed at every update and then draws anew,
# zoom lost.
HIDDEN_BUTTONS = ["toImage", "sendChartToCloud", "lasso2d", "select2d", "zoomIn2d", "zoomOut2d", "autoScale2d"]
NO_AXIS = {"visible": False}
CLEAR = "rgba(0,0,0,0)"
# Before its data is there a figure has the colour of its card: Plotly's own is white.
BLANK = {"data": [], "layout": {"paper_bgcolor": CLEAR, "plot_bgcolor": CLEAR, "xaxis": NO_AXIS, "yaxis": NO_AXIS}}
# Buttons only under the pointer: they stand where a wide legend ends.
GRAPH_CONFIG = {
    "displaylogo": False,
    "displayModeBar": "hover",
    "responsive": True,
    "modeBarButtonsToRemove": HIDDEN_BUTTONS,
}


def button(label: str, name: str | dict[str, str], title: str) -> dbc.Button:
    return dbc.Button(label, id=name, size="sm", outline=True, color="secondary", title=title)


def filters(view: View) -> list[Any]:
    """Sliders for score and cost, the axis that cost is shown on, and what all ranges together leave."""
    axis_label = html.Label("Cost axis", htmlFor="cost-axis", className="small")
    columns = [
        _range_slider("score", "Score", view.score, "shortNumber"),
        _range_slider("cost", "Cost (s)", view.cost, "decades"),
        dbc.Col([axis_label, select("cost-axis", COST_AXES, view.cost_axis)], md=2),
    ]
    clear = button("Show all runs", "clear-ranges", "Clear every range and choice")
    clear.hidden = not view.is_filtered
    words = [clear, html.Span(id="filter-words", className="small", role="status")]  # the run's panel covers the right
    return [
        dbc.Row(columns, className="filters gx-4 gy-4"),
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
    return dbc.Col([html.Label(label, id=f"{name}-label", className="small"), slider], md=5)


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
        return [row(*pair_choices("Contour", view, parameters))]
    return [brush_buttons()] if name == "parallel" else []


def radios(name: str, label: str, choices: Mapping[str, str], value: str) -> html.Div:
    """A choice of a few, in one line."""
    identity = {"type": "option", "name": name}
    buttons = dbc.RadioItems(id=identity, options=options_of(choices), value=value, inline=True)
    return html.Div([html.Span(label, className="me-2"), buttons], className="d-flex align-items-center small mb-2")


def brush_buttons() -> html.Div:
    """What to do with the brushed ranges."""
    buttons = [
        button(
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
    identity = {"type": "figure", "name": name}
    graph = dcc.Graph(id=identity, figure=BLANK, config=GRAPH_CONFIG, className="graph", responsive=True)
    drawn = dcc.Store(id={"type": "drawn", "name": name})  # by the server; shown by assets/dashboard.js
    body = [
        html.Div(head, className="d-flex align-items-center"),
        html.P(figure.help, className="small text-body-secondary mb-1"),
        dcc.Loading([graph, drawn], delay_show=600, type="dot"),
    ]
    return dbc.Col(dbc.Card(dbc.CardBody(body, className="p-3"), **{"class_name": "h-100"}), xs=12, lg=figure.width)
