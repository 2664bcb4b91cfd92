"""Wiring of notes and tags: shown to everybody, written by who may act."""

from __future__ import annotations

from typing import Any

from dash import ALL, MATCH, Dash, Input, Output, State, ctx

from metta_sweep.dashboard.actions import Actions
from metta_sweep.dashboard.queries import Queries
from metta_sweep.dashboard.remarks import tags_of, told
from metta_sweep.dashboard.wiring import VERSION, VIEW, on

RUN = Input("run", "data")


def register_remarks(app: Dash, queries: Queries) -> None:
    """What is written about the open run."""

    @on(app, Output("panel-remark", "children"), RUN, VERSION, VIEW)
    def tell_remark(run: str, _version: str, search: str) -> list[Any]:
        return told(queries.remark(run, queries.view(search))) if run else []


def register_writing(app: Dash, queries: Queries, actions: Actions) -> None:
    """The forms; only registered when the command line allowed actions."""
    filled = [Output({"type": f"remark-{part}", "of": "run"}, "value") for part in ("note", "tags")]

    @on(app, *filled, RUN, VIEW)
    def fill(run: str, search: str) -> tuple[str, str]:
        """Once for each run that is opened: what somebody is typing stays when results arrive."""
        remark = queries.remark(run, queries.view(search))
        return remark.note, ", ".join(remark.tags)

    answer = Output({"type": "remark-answer", "of": MATCH}, "children")
    clicked = Input({"type": "remark-save", "of": MATCH}, "n_clicks")
    fields = [State({"type": f"remark-{part}", "of": MATCH}, "value") for part in ("note", "tags")]
    tokens = (State("token", "value"), State({"type": "remark-token", "of": ALL}, "value"))

    @on(app, answer, clicked, *fields, *tokens, State("run", "data"), VIEW, late=True)
    def write(_clicks: int, note: str, tags: str, *state: Any) -> str:
        token, others, run, search = state
        is_run = ctx.triggered_id["of"] == "run"
        typed = token if is_run else next(filter(None, others), "")
        sweep = queries.view(search).sweep
        return actions.remark(sweep, run if is_run else None, note or "", tags_of(tags or ""), typed or "")
