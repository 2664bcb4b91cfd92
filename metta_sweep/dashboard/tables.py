"""Cards, bars and tables as Dash components; React escapes every text in them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import dash_bootstrap_components as dbc
from dash import html

from metta_sweep.analysis.ending import Ending
from metta_sweep.analysis.estimates import Totals
from metta_sweep.analysis.money import Amount, Forecast, Money
from metta_sweep.dashboard.figures import theme
from metta_sweep.dashboard.wealth import shown


def summary_cards(totals: Totals, wealth: Money) -> dbc.Row:
    """Runs, best single score, total compute cost, average run time."""
    runs = f"{totals.num_completed:,} scored · {totals.num_failed:,} failed · {totals.num_unfinished:,} unfinished"
    paid = wealth.amounts[0]
    parts = f"run cost {shown(paid.spent, paid.unit)} + idle {shown(paid.idle, paid.unit)}"
    cards = [
        ("Runs", f"{totals.num_runs:,}", runs),
        ("Best single score", theme.number(totals.best_score), "luck included"),
        ("Total compute cost", shown(paid.node_bill, paid.unit), parts),
        ("Average run time", theme.seconds(totals.mean_wall_seconds), "of runs with a score"),
    ]
    return dbc.Row([dbc.Col(_card(*card), xs=6, lg=3) for card in cards], className="g-3")


def _card(title: str, value: str, note: str) -> dbc.Card:
    body = [
        html.Div(title, className="small text-body-secondary"),
        html.Div(value, className="fs-4 fw-semibold"),
        html.Div(note, className="small"),
    ]
    return dbc.Card(dbc.CardBody(body, className="py-2 px-3"), className="h-100 summary")


def money_bar(
    amounts: Sequence[Amount], num_more: int | None, expected: Forecast | None, over: Ending | None = None
) -> dbc.Card:
    """Spent, reserved and left in each unit, how fast it goes, and what the rest may buy; `over`: how it ended."""
    last = _ended(over) if over is not None and over.is_finished else _expected(num_more, expected)
    cells = [*(_amount(amount, is_over=over is not None) for amount in amounts), last]
    columns = dbc.Row([dbc.Col(cell, md=True) for cell in cells], className="g-4")
    return dbc.Card(dbc.CardBody(columns, className="py-2 px-3"), className="money mt-3")


TITLES = {
    "$": "Run cost",
    "GPU h": "GPU time of the runs",
    "slot h": "Compute time of the runs",
    "h": "Time since the start",
}


def _ended(over: Ending) -> html.Div:
    return _cell("State", [html.Span("Finished", className="fw-semibold")], None, over.reason)


def _amount(amount: Amount, *, is_over: bool = False) -> html.Div:
    """One thing that the sweep pays with; time cannot be promised: it has neither a reserved part nor a rate."""
    unit = amount.unit
    of = [] if amount.cap is None else [html.Span(f" of {shown(amount.cap, unit)}", className="text-body-secondary")]
    words = []
    if unit != "h" and not is_over:
        words.append(f"{shown(amount.committed, unit)} reserved")
    if amount.cap is not None:
        words.append(f"{shown(amount.left, unit)} {'unspent' if is_over else 'left'}")
    if unit != "h" and amount.per_hour > 0:
        words.append(rate(amount))
    if unit != "h" and math.isfinite(amount.hours_left):
        words.append(f"lasts {theme.seconds(amount.hours_left * 3600)}")
    spent = html.Span(shown(amount.spent, unit), className="fw-semibold")
    title = "Time from start to end" if unit == "h" and is_over else TITLES[unit]
    return _cell(title, [spent, *of], _progress(amount), " · ".join(words))


def rate(amount: Amount) -> str:
    """Dollars an hour; of time, how many slots or GPUs are paid for."""
    if amount.unit == "$":
        return f"{theme.dollars(amount.per_hour)} an hour"
    return f"{theme.number(amount.per_hour, 2)} {'GPUs' if amount.unit == 'GPU h' else 'slots'} busy"


def _cell(title: str, value: Sequence[Any], bar: Any, words: str) -> html.Div:
    head = html.Div(title, className="small text-body-secondary")
    return html.Div([head, html.Div(value), bar, html.Div(words, className="small")])


def _progress(amount: Amount) -> html.Div:
    """Spent and reserved as shares of the cap; no bar without one."""
    hidden = {"aria-hidden": "true"}
    if not amount.cap:
        return html.Div([], className="", style=None, **hidden)
    bars = [
        html.Div(
            className=f"progress-bar bg-{colour}",
            style={"width": f"{min(100 * value / amount.cap, 100):.2f}%"},
            title=name,
        )
        for value, colour, name in ((amount.spent, "primary", "spent"), (amount.committed, "warning", "reserved"))
    ]
    return html.Div(bars, className="progress my-1", style={"height": "6px"}, **hidden)


def _expected(num_more: int | None, expected: Forecast | None) -> html.Div:
    if num_more is None:
        return _cell("Expected best score", ["–"], None, "needs 5 scores, and a budget or sweep.num_samples")
    if expected is None:
        return _cell("Expected best score", ["–"], None, f"needs 5 scores; {num_more:,} more runs fit")
    value = [html.Span(theme.number(expected.mean), className="fw-semibold")]
    if num_more == 0:
        return _cell("Best score at this budget", value, None, "the budget allows no further run")
    interval = f"90 %: {theme.number(expected.low)} to {theme.number(expected.high)}"
    words = f"{interval}, after {num_more:,} more runs like the latest"
    return _cell("Expected best at this budget", value, None, words)


def table(head: Sequence[str], rows: Sequence[Sequence[Any]], *, label: str) -> html.Div:
    """A plain table that scrolls sideways when it must."""
    caption = html.Caption(label, className="visually-hidden")
    heads = [html.Thead(html.Tr([html.Th(name, scope="col") for name in head]))] if head else []
    body = html.Tbody([html.Tr([html.Td(cell) for cell in row]) for row in rows])
    cells = dbc.Table([caption, *heads, body], size="sm", hover=True, className="mb-0")
    return html.Div(cells, className="table-responsive")
