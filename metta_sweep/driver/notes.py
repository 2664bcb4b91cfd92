"""How parts of the driver tell people and the registry's log of something out of the ordinary."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol


class Note(Protocol):
    """Tells that something happened, once."""

    def __call__(self, kind: str, text: str, detail: Mapping[str, Any]) -> None:
        """Append an event.

        Args:
            kind: of the event, in snake case.
            text: one line for a person.
            detail: what a program may want to know.
        """
