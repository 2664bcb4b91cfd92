"""What pages say in words and tables: findings, failures, runs, bounds, idle time, and the list of sweeps."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any

import dash_bootstrap_components as dbc
from dash import dcc, html

from metta_sweep.analysis.failed import failures
from metta_sweep.analysis.health import Finding
from metta_sweep.analysis.memory import learned, learned_text
from metta_sweep.analysis.names import cut
from metta_sweep.analysis.recommend import head_lines, next_commands, sentences
from metta_sweep.config.patches import patch_text
from metta_sweep.dashboard import tables
from metta_sweep.dashboard.comparison import compared
from metta_sweep.dashboard.figure_input import FigureInput
from metta_sweep.dashboard.figures import theme
from metta_sweep.dashboard.figures.compare import sparkline
from metta_sweep.dashboard.figures.theme import LOOKS
from metta_sweep.dashboard.remarks import sweep_remark, told
from metta_sweep.dashboard.sweep_summaries import SweepSummary
from metta_sweep.dashboard.view import View
from metta_sweep.dashboard.wealth import bill_of, wealth_of
from metta_sweep.typed_commands import NO_ADDRESS, Address

NAME_ROOM = 32  # characters of a sweep's name in the list; what leaves its other columns on one line
LEVELS = {"good": "✓ good", "note": "i note", "warning": "! warning"}


def health(inputs: FigureInput) -> list[Any]:
    """Findings, warnings first."""
    order = list(LEVELS)[::-1]
    cards = [finding(one) for one in sorted(inputs.findings, key=lambda one: order.index(one.level))]
    if inputs.fit is None:
        cards.append(html.P("The model's findings follow when it is fitted.", className="text-body-secondary"))
    return cards or [html.P("Nothing to say before the first run ended.", className="text-body-secondary")]


def finding(one: Finding) -> html.Div:
    advice = [html.Div(one.advice, className="fst-italic")] if one.advice else []
    badge = html.Span(LEVELS[one.level], className="badge text-bg-secondary me-2")
    head = html.Div([badge, html.Span(one.title, className="fw-semibold")])
    return html.Div([head, html.Div(one.text), *advice], className=f"finding {one.level} mb-3")


def failed(inputs: FigureInput) -> list[Any]:
    """One card per signature with the log of the newest run."""
    table = failures(inputs.snapshot.all_runs)
    if table.empty:
        return [html.P("No run has failed.", className="text-body-secondary")]
    return [failure_card(inputs, row) for row in table.to_dict("records")]


def failure_card(inputs: FigureInput, row: dict[Any, Any]) -> dbc.Card:
    record = inputs.snapshot.records[row["example"]]
    lost = f"{theme.seconds(row['paid_wall_seconds'])} and {theme.dollars(row['dollars'])} lost"
    words = f"{row['num_runs']} runs · {row['failure']} · {lost} · last {theme.when(row['last_at'])}"
    body = [
        html.H2([html.Code(row["signature"] or "no signature")], className="h6"),
        html.Div(words, className="small"),
        html.P(row["message"], className="mb-1"),
        pick(row["example"], "Newest example"),
    ]
    if record.log_tail:
        body.append(html.Details([html.Summary("Log tail"), html.Pre(record.log_tail, className="small mb-0")]))
    return dbc.Card(dbc.CardBody(body), className="mb-3")


def configuration(inputs: FigureInput) -> list[Any]:
    """A card with the configuration to use: why, as a patch to copy, and the commands that write it and train."""
    title, found = html.H2("Use this configuration", className="h6"), inputs.recommendation
    if found is None:
        words = "It follows when the model is fitted." if inputs.fit is None else "No run has a score yet."
        return [card([title, html.P(words, className="text-body-secondary mb-0")])]
    name = inputs.snapshot.sweep.name
    to_copy = [
        copyable(patch_text(found.winner.params, head_lines(name, found.winner))),
        html.P("Write it as a patch file, and train with it:", className="mb-1"),
        copyable("\n".join(next_commands(name, inputs.snapshot.address))),
    ]
    told = [html.P(text, className="mb-1") for text in sentences(found)]
    opener = html.Summary("The configuration, and how to train with it")
    return [card([title, *told, pick(found.winner.id, "Show the run"), html.Details([opener, *to_copy])])]


def card(body: list[Any]) -> dbc.Card:
    return dbc.Card(dbc.CardBody(body, className="py-2 px-3"), className="mb-3 recommended")


def copyable(text: str) -> html.Div:
    """Text with a button that copies it."""
    button = dcc.Clipboard(content=text, title="Copy", className="copy")
    return html.Div([html.Pre(text, className="p-2 border rounded small"), button], className="position-relative")


def idle(inputs: FigureInput) -> list[Any]:
    """What the slots cost: for runs, and idle."""
    return [html.P(f"{bill_of(wealth_of(inputs.snapshot))}.")]


def model_notes(inputs: FigureInput) -> list[Any]:
    """What the search learns from, what the page's own model rests on, and its warnings."""
    return [*memory_note(inputs), *fit_notes(inputs)]


def memory_note(inputs: FigureInput) -> list[Any]:
    """Earlier sweeps with their present weights; nothing where nothing is learned from."""
    snapshot = inputs.snapshot
    remembered = snapshot.spec.remembered if snapshot.spec is not None else ()
    words = learned_text(learned(remembered, snapshot.records.values()))
    return [html.P(f"The search {words}.", className="small")] if words else []


def fit_notes(inputs: FigureInput) -> list[Any]:
    fit = inputs.fit
    if fit is None or fit.surrogate is None:
        return []
    left_out = f", {fit.surrogate.num_left_out} more are left out" if fit.surrogate.num_left_out else ""
    known = f"{len(fit.surrogate.score.y)} completed runs{left_out}"
    words = f"Fitted by this page to {known}; results so far: {fit.num_results}."
    notes = [finding(one) for one in fit.findings if one.title in ("Bounds", "Score model")]
    return [html.P(words, className="small text-body-secondary"), *notes]


def sweeps_table(summaries: Sequence[SweepSummary], view: View, at: Address = NO_ADDRESS) -> list[Any]:
    """Every sweep with its owner, state, runs, best score, cost and a sparkline; ticked ones are compared below."""
    if not summaries:
        words = f"No sweeps yet. Start one with: {at.command('run', 'sweep_name=demo', 'sweep=quick')}"
        return [html.P(words, className="text-body-secondary")]
    rows = [
        (
            tick_box(one.sweep.name, is_ticked=one.sweep.name in view.compare),
            html.Div([link_to(one.sweep.name, view), *told(one.remark)]),
            state_of(one),
            f"{one.num_ended:,} of {one.num_runs:,}" + (f", {one.num_failed} failed" if one.num_failed else ""),
            theme.number(one.best[-1]) if one.best else "–",
            picture(one.spark, LOOKS[view.theme].accent),
            html.Span(theme.seconds(one.cost_seconds), className="text-nowrap"),
            one.owner,
            html.Span(theme.when(one.last_at), className="text-nowrap"),
        )
        for one in summaries
    ]
    head = ("compare", "sweep", "state", "runs ended", "best single score", "best so far", "search cost")
    return [html.Div(tables.table((*head, "last owner", "last event (UTC)"), rows, label="Sweeps"), className="mb-3")]


def link_to(name: str, view: View) -> html.A:
    """A sweep's first page in this view's look; the whole of a long name on hovering."""
    address = View(sweep=name, theme=view.theme).to_search()
    return html.A(cut(name, NAME_ROOM), href=address, title=name, className="text-nowrap")


def state_of(one: SweepSummary) -> Any:
    """In a word, and why on hovering."""
    if one.unreadable:
        return f"unreadable: {one.unreadable}"
    return one.sweep.state.value if one.ending is None else html.Span(one.ending.word, title=one.ending.reason)


def tick_box(name: str, *, is_ticked: bool) -> dbc.Checkbox:
    label = html.Span(f"Compare {name}", className="visually-hidden")
    return dbc.Checkbox(id={"type": "compare", "sweep": name}, value=is_ticked, label=label)


def picture(values: list[float], hue: str) -> Any:
    """A sparkline as an image: text of a sweep never becomes markup of the page."""
    if not (svg := sparkline(values, hue)):
        return ""
    source = f"data:image/svg+xml;base64,{base64.b64encode(svg.encode()).decode()}"
    return html.Img(src=source, alt=f"from {theme.number(values[0])} to {theme.number(values[-1])}")


def pick(run_id: str, label: str) -> dbc.Button:
    """Opens a run's panel, from the keyboard as well."""
    return dbc.Button(label, id={"type": "pick", "run": run_id}, color="link", size="sm", className="p-0", title=run_id)


PANELS = {
    "overview": configuration,
    "health": health,
    "failures": failed,
    "runs": configuration,
    "compared": compared,
    "remark": sweep_remark,
    "timeline": idle,
    "model": model_notes,
}
