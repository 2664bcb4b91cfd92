"""Wiring of the page's frame: the tab's title, the theme, the address bar; and what may be done with a sweep."""

from __future__ import annotations

import flask
from dash import ClientsideFunction, Dash, Input, Output, State, ctx

from metta_sweep.dashboard.actions import Actions
from metta_sweep.dashboard.queries import Queries
from metta_sweep.dashboard.wiring import VERSION, VIEW, on

THEME_COOKIE = "metta_sweep_theme"  # written by assets/shell.js


def remembered_theme() -> str:
    """What the reader chose last in this browser; whatever a cookie says, it is checked where it is used."""
    return flask.request.cookies.get(THEME_COOKIE, "light")


def register_shell(app: Dash) -> None:
    """What runs in the browser, see assets/shell.js."""
    for function, output, *inputs in (
        ("address", Output("view", "modified_timestamp"), Input("view", "data")),
        ("theme", Output("dark", "className"), Input("dark", "value")),
        ("title", Output("crumb", "children"), Input("view", "data"), State("labels", "data")),
    ):
        app.clientside_callback(ClientsideFunction("shell", function), output, *inputs)


def register_actions(app: Dash, queries: Queries, actions: Actions) -> None:
    """Retry and stop; only registered when the command line allowed them."""

    run, typed = State("run", "data"), State("token", "value")

    @on(app, Output("action-answer", "children"), Input("retry-run", "n_clicks"), typed, run, late=True)
    def retry(_clicks: int, token: str | None, run: str) -> str:
        return actions.retry(run, token or "")

    @on(app, Output("retry-box", "hidden"), Input("run", "data"), VERSION, VIEW)
    def may_retry(run: str, _version: str, search: str) -> bool:
        return not queries.can_retry(run, queries.view(search))

    stopped, typed = Input("stop-sweep", "n_clicks"), State("stop-token", "value")

    @on(app, Output("stop-answer", "children"), stopped, typed, VIEW, late=True)
    def stop(_clicks: int, token: str | None, search: str) -> str:
        return actions.stop(queries.view(search).sweep, token or "")

    clicked = (Input("stop-open", "n_clicks"), Input("stop-cancel", "n_clicks"))

    @on(app, Output("stop-dialog", "is_open"), *clicked, late=True)
    def ask(_asked: int | None, _cancelled: int | None) -> bool:
        return ctx.triggered_id == "stop-open" and bool(ctx.triggered[0]["value"])

    @on(app, Output("stop-open", "disabled"), Output("stop-open", "title"), VERSION, VIEW)
    def may_stop(_version: str, search: str) -> tuple[bool, str]:
        why_not = queries.why_not_stop(queries.view(search))
        return bool(why_not), why_not or "Let running runs finish and start no new ones"
