"""Choices that pages have above their figures: axes, scales and colours. Their names are fields of the view."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import dash_bootstrap_components as dbc
from dash import html

from metta_sweep.dashboard.figures import theme
from metta_sweep.dashboard.figures.colouring import COLOURS
from metta_sweep.dashboard.view import CURVE_AXES, PROGRESS_AXES, SCALES, View


def curve_choices(view: View, parameters: Sequence[str]) -> dbc.Row:
    """Of the Curves page."""
    return row(*curve_axes(view), colour_choice(view, parameters))


def chosen_choices(view: View) -> dbc.Row:
    """Of the curves of the chosen runs, which have colours of their own."""
    return row(*curve_axes(view))


def curve_axes(view: View) -> list[dbc.Col]:
    return [
        choice("curve_x", "Horizontal axis", CURVE_AXES, view.curve_x),
        choice("curve_scale", "Its scale", SCALES, view.curve_scale),
        score_scale(view),
    ]


def overview_choices(view: View, parameters: Sequence[str]) -> dbc.Row:
    """Of the Overview."""
    return row(
        colour_choice(view, parameters),
        score_scale(view),
        choice("progress_x", "Progression over", PROGRESS_AXES, view.progress_x),
        *pair_choices("Ranks", view, parameters),
    )


def pair_choices(figure: str, view: View, parameters: Sequence[str]) -> list[dbc.Col]:
    """The two parameters of a figure."""
    known = {"auto": "most important", **theme.short_names(parameters)}
    return [
        choice("x", f"{figure}, first parameter", known, view.x),
        choice("y", f"{figure}, second parameter", known, view.y),
    ]


def score_scale(view: View) -> dbc.Col:
    return choice("score_scale", "Scale of scores", SCALES, view.score_scale)


def colour_choice(view: View, parameters: Sequence[str]) -> dbc.Col:
    return choice("colour", "Colour by", {**COLOURS, **theme.short_names(parameters)}, view.colour)


def choice(name: str, label: str, choices: Mapping[str, str], value: str) -> dbc.Col:
    """A drop-down list with its label; the first choice stands in for a value that there is not."""
    known = value if value in choices else next(iter(choices))
    chosen = select({"type": "option", "name": name}, choices, known)
    return dbc.Col([html.Label([label, chosen], className="small w-100")], xs=6, md=4, lg=2)


def select(name: str | dict[str, str], choices: Mapping[str, str], value: str, **more: Any) -> dbc.Select:
    """A drop-down list.

    Args:
        choices: labels by value.
    """
    return dbc.Select(id=name, options=options_of(choices), value=value, size="sm", **more)


def options_of(choices: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"label": label, "value": value} for value, label in choices.items()]


def row(*columns: dbc.Col) -> dbc.Row:
    return dbc.Row(list(columns), className="g-3 mb-2")
