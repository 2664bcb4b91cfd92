"""What most callbacks have in common."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from dash import Dash, Input, State

Function = TypeVar("Function", bound=Callable[..., Any])
# A "version" that changed means new results, a "shown" that changed another view.
VIEW = State("view", "data")
SHOWN = Input("shown", "data")
VERSION = Input("version", "data")
CLEARED = Input("clear-ranges", "n_clicks")


def on(app: Dash, *dependencies: Any, late: bool = False) -> Callable[[Function], Function]:
    """`app.callback`, typed.

    Args:
        late: not called when the page is opened.
    """
    connect: Callable[[Function], Function] = app.callback(*dependencies, prevent_initial_call=late)
    return connect
