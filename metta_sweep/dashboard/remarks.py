"""Notes and tags that people write on runs and sweeps: how they are shown, and the form that writes them."""

from __future__ import annotations

from typing import Any

import dash_bootstrap_components as dbc
from dash import html

from metta_sweep.dashboard.figure_input import FigureInput
from metta_sweep.registry.records import MAX_NOTE, NO_REMARK, RemarkRecord

TOKEN_HINT = "token, as shown where the dashboard was started"


def told(remark: RemarkRecord) -> list[Any]:
    """Tags as badges, and the note as it was written; nothing where nobody wrote any."""
    badges = [html.Span(tag, className="badge text-bg-secondary") for tag in remark.tags]
    parts: list[Any] = [html.Div(badges, className="tags")] if badges else []
    return [*parts, *([html.P(remark.note, className="note-text")] if remark.note else [])]


def sweep_remark(inputs: FigureInput) -> list[Any]:
    """What is written about the sweep itself."""
    return told(inputs.snapshot.remarks.get("", NO_REMARK))


def form(kind: str, remark: RemarkRecord = NO_REMARK, *, needs_token: bool = False) -> html.Div:
    """Note and tags of a run or of the sweep, to be written.

    Args:
        kind: run or sweep.
        needs_token: whether the form has a field of its own for the token.
    """
    ids = {part: {"type": f"remark-{part}", "of": kind} for part in ("note", "tags", "token", "save", "answer")}
    note = dbc.Textarea(id=ids["note"], value=remark.note, maxlength=MAX_NOTE, rows=3, size="sm", className="mb-2")
    tags = dbc.Input(id=ids["tags"], value=", ".join(remark.tags), placeholder="tags, with commas", size="sm")
    token = dbc.Input(id=ids["token"], type="password", placeholder=TOKEN_HINT, size="sm", className="mt-2")
    save = dbc.Button("Save", id=ids["save"], size="sm", color="secondary", className="mt-2")
    label = html.Label(f"Note on this {kind}", className="small fw-semibold")
    answer = html.Div(id=ids["answer"], className="small mt-2", role="status")
    return html.Div([label, note, tags, *([token] if needs_token else []), save, answer], className="remark-form mt-3")


def tags_of(text: str) -> list[str]:
    """Tags with commas between them."""
    return [tag for tag in (part.strip() for part in text.split(",")) if tag]
