"""New data for a figure that is on the page already, zoom and pan kept."""

from __future__ import annotations

import re

import plotly.graph_objects as go
from dash import Patch

AXIS = re.compile(r"[xy]axis\d*")
ZOOM = ("range", "autorange")
MAY_GO = ("annotations", "shapes")  # what an earlier figure of this place may have had and this one has not


def update_of(figure: go.Figure) -> Patch:
    """Everything but the ranges of the axes.

    Dash writes a zoom into its own copy of the figure; a whole new figure would undo it, whatever `uirevision` says.
    """
    new = figure.to_plotly_json()
    patch = Patch()
    patch["data"] = new["data"]
    layout = {**dict.fromkeys(MAY_GO, ()), **new["layout"]}
    for key, value in layout.items():
        if not AXIS.fullmatch(key):
            patch["layout"][key] = value
            continue
        for part, setting in value.items():
            if part not in ZOOM:
                patch["layout"][key][part] = setting
    return patch
