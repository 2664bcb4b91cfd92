"""Choices that pages have above their figures: axes, scales and colours. Their names are fields of the view."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import dash_bootstrap_components as dbc
from dash import html

from metta_sweep.dashboard.figures import theme
from metta_sweep.dashboard.figures.colouring import COLOURS
from metta_sweep.dashboard.view import CURVE_AXES, PROGRESS_AXES, SCALES, View


def curve_choices(view: View, parameters: Sequence[str]) -> dbc.Row:
    """Of the Curves page."""
    return row(
        choice("curve_x", "Horizontal axis", CURVE_AXES, view.curve_x),
        choice("curve_scale", "Its scale", SCALES, view.curve_scale),
        choice("score_scale", "Scale of scores", SCALES, view.score_scale),
        colour_choice(view, parameters),
    )


def chosen_choices(view: View) -> dbc.Row:
    """Of the curves of the chosen runs, which have colours of their own."""
    return row(
        choice("curve_x", "Horizontal axis", CURVE_AXES, view.curve_x),
        choice("curve_scale", "Its scale", SCALES, view.curve_scale),
        choice("score_scale", "Scale of scores", SCALES, view.score_scale),
    )


def overview_choices(view: View, parameters: Sequence[str]) -> dbc.Row:
    """Of the Overview."""
    pairs = {"auto": "most important", **theme.short_names(parameters)}
    return row(
        colour_choice(view, parameters),
        choice("score_scale", "Scale of scores", SCALES, view.score_scale),
        choice("progress_x", "Progression over", PROGRESS_AXES, view.progress_x),
        choice("x", "Ranks, first parameter", pairs, view.x),
        choice("y", "Ranks, second parameter", pairs, view.y),
    )


def colour_choice(view: View, parameters: Sequence[str]) -> dbc.Col:
    return choice("colour", "Colour by", {**COLOURS, **theme.short_names(parameters)}, view.colour)


def choice(name: str, label: str, choices: Mapping[str, str], value: str) -> dbc.Col:
    """A drop-down list with its label; the first choice stands in for a value that there is not."""
    options = [{"label": one, "value": key} for key, one in choices.items()]
    known = value if value in choices else next(iter(choices))
    select = dbc.Select(id={"type": "option", "name": name}, options=options, value=known, size="sm")
    return dbc.Col([html.Label([label, select], className="small w-100")], xs=6, md=4, lg=2)


def row(*columns: dbc.Col) -> dbc.Row:
    return dbc.Row(list(columns), className="g-3 mb-2")
