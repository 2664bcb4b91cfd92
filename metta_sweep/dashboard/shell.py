"""The frame of every page: a rail with the pages, a bar that says where one is, dialogs, and words that help on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from difflib import get_close_matches
from typing import Any

import dash_bootstrap_components as dbc
from dash import dcc, html

from metta_sweep.analysis.names import cut, cut_id
from metta_sweep.dashboard.choices import options_of
from metta_sweep.dashboard.layout import button, filters
from metta_sweep.dashboard.panels import link_to
from metta_sweep.dashboard.remarks import TOKEN_HINT, form
from metta_sweep.dashboard.view import FILTERED, HOME, OVERVIEW, PAGES, View

REFRESH_MILLISECONDS = 1500
NAME_ROOM = 34  # characters of a sweep's name in the bar; what fits beside the buttons on 1,280 pixels
MAX_NAMED = 10  # sweeps that are named to somebody who follows a link to none of them; a guess


def root() -> html.Div:
    """What is there before the URL is known."""
    return html.Div([dcc.Location(id="url", refresh=False), html.Div(id="page")])


def page(view: View, sweeps: list[str], *, version: str, actions: bool, problem: Sequence[Any] = ()) -> html.Div:
    """The whole page for a view; figures fill themselves in.

    Args:
        problem: what is wrong with the link that led here, and where to go on.
    """
    helps = html.Div(list(problem), className="alert alert-warning", role="alert", hidden=not problem)
    column = [
        header(view, sweeps, actions=actions),
        html.Main(
            [
                html.Div(id="notice", role="status", **{"aria-live": "polite"}),
                helps,
                html.Div(id="money", className="mb-3", hidden=view.page != OVERVIEW),
                html.Div(filters(view), id="filters", hidden=view.page not in FILTERED),
                html.Div(id="content", tabIndex="-1"),
            ],
            className="px-3 px-xl-4 pb-5",
        ),
    ]
    return html.Div(
        [
            *stores(view, version),
            html.A("Skip to the figures", href="#content", className="visually-hidden-focusable"),
            html.Div([rail(view), html.Div(column, className="column")], className="frame"),
            details(actions=actions),
            *([stop_dialog(view.sweep)] if actions and view.sweep else []),
        ]
    )


def stores(view: View, version: str) -> list[Any]:
    """What the page knows of itself."""
    return [
        dcc.Store(id="view", data=view.to_search()),
        dcc.Store(id="shown", data=view.drawn()),
        dcc.Store(id="brush", data={path: list(chosen) for path, chosen in view.narrowed.items()}),
        dcc.Store(id="run", data=view.run),
        dcc.Store(id="version", data=version),
        dcc.Store(id="picked"),
        dcc.Store(id="table", data=table_state(view)),
        dcc.Store(id="labels", data=PAGES),
        dcc.Interval(id="tick", interval=REFRESH_MILLISECONDS),
        dcc.Download(id="download"),
    ]


def table_state(view: View) -> dict[str, Any]:
    """The table's part of the view, as assets/grid.js keeps it."""
    where = {name: one.to_model() for name, one in view.where.items()}
    sort = None if view.sort is None else [list(pair) for pair in view.sort]
    return {"where": where, "sort": sort, "chosen": list(view.chosen), "find": view.find, "columns": view.columns}


def rail(view: View) -> html.Nav:
    """The pages as one group of radio buttons: the arrow keys go through them; without a sweep there is only one."""
    known: Mapping[str, str] = PAGES if view.sweep else {HOME: PAGES[HOME]}
    pages = dbc.RadioItems(
        id="tabs",
        options=options_of(known),
        value=view.page,
        className="nav flex-column",
        inputClassName="btn-check",
        labelClassName="nav-link",
        labelCheckedClassName="active",
    )
    mark = html.Img(src="assets/icon.svg", alt="", width=22, height=22)
    brand = html.A([mark, html.Span("metta_sweep")], href=home_of(view), className="brand", title="All sweeps")
    dark = dbc.Switch(id="dark", label="Dark", value=view.theme == "dark", className="theme-switch")
    return html.Nav([brand, pages, dark], className="rail", **{"aria-label": "Pages"})


def home_of(view: View) -> str:
    """Address of the list of sweeps."""
    return View(sweep=view.sweep, page=HOME, theme=view.theme).to_search()


def header(view: View, sweeps: list[str], *, actions: bool) -> html.Header:
    """Where one is, how the sweep stands, and what can be done with it."""
    exports = [
        button("CSV", "export-csv", "Download the runs shown as CSV"),
        button("Parquet", "export-parquet", "Download the runs shown as Parquet"),
    ]
    stop = [dbc.Button("Stop …", id="stop-open", size="sm", outline=True, color="danger", disabled=True)]
    of_sweep = html.Div([*exports, *(stop if actions and view.sweep else [])], className="of-sweep buttons")
    buttons = [of_sweep, button("Copy link", "copy-link", "Copy the address of this view")]
    where = html.Div([breadcrumb(view, sweeps), html.Div(id="state", className="small text-body-secondary")])
    return html.Header([where, html.Div(buttons, className="buttons")], className="topbar px-3 px-xl-4 py-2 mb-3")


def breadcrumb(view: View, sweeps: list[str]) -> html.Nav:
    """All sweeps / this sweep, to choose another / this page."""
    names = list(dict.fromkeys([view.sweep, *sweeps] if view.sweep else sweeps))
    options = [{"label": cut(name, NAME_ROOM), "value": name, "title": name} for name in names]
    more = {"className": "sweep-select", "placeholder": "Choose a sweep"}
    choice = dbc.Select(id="sweep", options=options, value=view.sweep, size="sm", **more)
    parts = [
        html.A(PAGES[HOME], href=home_of(view)),
        html.Span([html.Label("Sweep", htmlFor="sweep", className="visually-hidden"), choice], title=view.sweep),
        html.H1(PAGES[view.page], id="crumb", className="h6 mb-0"),
    ]
    return html.Nav(html.Ol([html.Li(part) for part in parts]), className="crumbs", **{"aria-label": "Breadcrumb"})


def details(*, actions: bool) -> dbc.Offcanvas:
    """The panel of one run."""
    parts = [html.Div(id="panel-remark"), html.Div(id="details"), *(acts() if actions else [])]
    place = {"placement": "end", "is_open": False, "scrollable": True, "backdrop": False}
    return dbc.Offcanvas(parts, id="panel", title="Run", className="run-panel", **place)


def acts() -> list[Any]:
    """What may be done with a run, for who has the token: a failed one can be run again, and all can have a note."""
    retry = [
        dbc.Button("Retry this run", id="retry-run", size="sm", color="secondary"),
        html.Span("The same configuration under the same id.", className="small ms-2"),
    ]
    return [
        html.H3("Actions", className="h6 mt-4"),
        dbc.Input(id="token", type="password", placeholder=TOKEN_HINT, size="sm", className="mb-2"),
        html.Div(retry, id="retry-box", hidden=True),
        html.Div(id="action-answer", className="small mt-2", role="status"),
        form("run"),
    ]


def stop_dialog(sweep: str) -> dbc.Modal:
    """Asks before a sweep is stopped; who stops it has the token."""
    label = html.Label(TOKEN_HINT.capitalize(), htmlFor="stop-token", className="small")
    body = [
        html.P("Runs that run now finish, and no new ones start. The command that started the sweep continues it."),
        label,
        dbc.Input(id="stop-token", type="password", size="sm"),
        html.Div(id="stop-answer", className="mt-2", role="status"),
    ]
    buttons = [
        dbc.Button("Let it run", id="stop-cancel", color="secondary", outline=True),
        dbc.Button("Stop the sweep", id="stop-sweep", color="danger"),
    ]
    title = dbc.ModalTitle(["Stop ", html.Span(cut(sweep, NAME_ROOM), title=sweep), "?"])
    return dbc.Modal([dbc.ModalHeader(title), dbc.ModalBody(body), dbc.ModalFooter(buttons)], id="stop-dialog")


def no_sweep(view: View, sweeps: Sequence[str]) -> list[Any]:
    """For a link to a sweep that there is not: those that are meant, perhaps, and the newest."""
    asked = html.Strong(cut(view.sweep, 2 * NAME_ROOM), title=view.sweep)
    if not sweeps:
        return [html.P(["There is no sweep ", asked, " here, nor any other yet."], className="mb-0")]
    alike = get_close_matches(view.sweep, sweeps, n=3)
    meant = [html.P(["Did you mean ", *listed([link_to(name, view) for name in alike]), "?"])] if alike else []
    newest = [link_to(name, view) for name in sweeps[:MAX_NAMED]]
    words = f"The newest {len(newest)} of {len(sweeps):,}: " if len(sweeps) > len(newest) else "Here are: "
    return [html.P(["There is no sweep ", asked, " here."]), *meant, html.P([words, *listed(newest)], className="mb-0")]


def no_run(view: View, run_ids: Sequence[str], sweeps: Sequence[str]) -> list[Any]:
    """For a link to a run that the sweep has not: what runs it has, and the sweep that may be meant."""
    asked = html.Strong(cut(view.run, 2 * NAME_ROOM), title=view.run)
    other, _, _ = view.run.rpartition(".r.")
    there = View(sweep=other, run=view.run, theme=view.theme).to_search()
    meant = [html.P(["Perhaps you look for it in ", html.A(cut(other, NAME_ROOM), href=there), "."])]
    return [
        html.P(["There is no run ", asked, " in this sweep."]),
        *(meant if other != view.sweep and other in sweeps else []),
        html.P(runs_there(view, run_ids) if run_ids else "It has no runs yet.", className="mb-0"),
    ]


def runs_there(view: View, run_ids: Sequence[str]) -> list[Any]:
    """How many runs a sweep has, with links."""
    table, newest = replace(view, run="", page="runs").to_search(), replace(view, run=run_ids[-1]).to_search()
    last = html.A(cut_id(run_ids[-1], NAME_ROOM), href=newest, title=run_ids[-1])
    return [f"It has {len(run_ids):,}: ", html.A("all of them", href=table), ", the newest is ", last, "."]


def listed(parts: Sequence[Any]) -> list[Any]:
    """With commas between."""
    return [item for part in parts for item in (part, ", ")][:-1]
