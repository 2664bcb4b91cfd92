"""Cards, bars and tables as Dash components; React escapes every text in them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import dash_bootstrap_components as dbc
from dash import html

from metta_sweep.analysis.estimates import Forecast, Totals
from metta_sweep.analysis.money import Amount, Money
from metta_sweep.dashboard.figures import theme


def summary_cards(totals: Totals) -> dbc.Row:
    """Runs, best score, total compute cost, average run time."""
    runs = f"{totals.num_completed} with a score, {totals.num_failed} failed, {totals.num_unfinished} unfinished"
    paid = f"{theme.seconds(totals.paid_gpu_seconds)} of GPU, {theme.seconds(totals.paid_wall_seconds)} of slots"
    cards = [
        ("Runs", f"{totals.num_runs:,}", runs),
        ("Best score", theme.number(totals.best_score), "best single run"),
        ("Total compute cost", theme.dollars(totals.dollars), paid),
        ("Average run time", theme.seconds(totals.mean_wall_seconds), "of runs with a score"),
    ]
    return dbc.Row([dbc.Col(_card(*card), xs=6, lg=3) for card in cards], className="g-3")


def _card(title: str, value: str, note: str) -> dbc.Card:
    body = [html.Div(title, className="small text-body-secondary"), html.Div(value, className="fs-4 fw-semibold"), html.Div(note, className="small")]
    return dbc.Card(dbc.CardBody(body, className="py-2 px-3"), className="h-100 summary")


def money_bar(money: Money, expected: Forecast | None) -> dbc.Row:
    """Spent, committed and left in each unit, how fast it goes, and what the rest may buy."""
    cells = [*(_amount(amount) for amount in money.amounts), _expected(money, expected)]
    return dbc.Row([dbc.Col(cell, lg=True) for cell in cells], className="money g-3 pt-3")


def _show(value: float, unit: str) -> str:
    return theme.dollars(value) if unit == "$" else f"{theme.number(value, 3)} {unit}"


def _amount(amount: Amount) -> html.Div:
    unit = amount.unit
    words = [f"{_show(amount.spent, unit)} spent" if unit != "h" else f"{theme.seconds(amount.spent * 3600)} passed"]
    if unit != "h":
        words += [f"{_show(amount.committed, unit)} committed", f"{_show(amount.per_hour, unit)} per hour"]
    if amount.cap is not None:
        words += [f"{_show(amount.left, unit)} left of {_show(amount.cap, unit)}", _runs_out(amount.hours_left)]
    bar = [_progress(amount)] if unit != "h" or amount.cap is not None else []
    return html.Div([*bar, html.Div(" · ".join(word for word in words if word), className="small")])


def _progress(amount: Amount) -> html.Div:
    """Spent and committed as shares of the cap; of each other where there is no cap."""
    whole = amount.cap or amount.spent + amount.committed or 1.0
    parts = [(amount.spent, "primary", "spent"), (amount.committed, "warning", "committed")]
    bars = [
        html.Div(className=f"progress-bar bg-{colour}", style={"width": f"{min(100 * value / whole, 100):.2f}%"}, title=f"{name}")
        for value, colour, name in parts
    ]
    return html.Div(bars, className="progress mb-1", style={"height": "8px"}, **{"aria-hidden": "true"})


def _runs_out(hours: float) -> str:
    if math.isnan(hours):
        return ""
    return "nothing is being spent" if math.isinf(hours) else f"lasts {theme.seconds(hours * 3600)} more"


def _expected(money: Money, expected: Forecast | None) -> html.Div:
    if expected is None:
        text = "Expected best score: needs 5 scores and a budget"
    else:
        interval = f"{theme.number(expected.low)} to {theme.number(expected.high)}"
        text = f"Expected best at this budget: {theme.number(expected.mean)} (90 %: {interval}), {money.affordable_runs} more runs like the latest"
    return html.Div(text, className="small pt-2")


def table(head: Sequence[str], rows: Sequence[Sequence[Any]], *, label: str) -> html.Div:
    """A plain table that scrolls sideways when it must."""
    body = [html.Tr([html.Td(cell) for cell in row]) for row in rows]
    cells = dbc.Table(
        [html.Caption(label, className="visually-hidden"), html.Thead(html.Tr([html.Th(name, scope="col") for name in head])), html.Tbody(body)],
        size="sm",
        hover=True,
        className="mb-0",
    )
    return html.Div(cells, className="table-responsive")
