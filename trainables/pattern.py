"""Numbers in a program's output, found by `trainable.pattern`."""

from __future__ import annotations

import re
from collections.abc import Iterator


class PatternReader:
    """Finds reports line by line.

    Step and score may stand on lines of their own, found by alternatives: `step (?P<step>\\d+)|score (?P<score>.+)`.
    They are put together in the order of the pattern: a score belongs to the step before it, or, where the score comes
    first in the pattern, to the step after it.

    Args:
        pattern: with a group `score`, and others.
    """

    def __init__(self, pattern: str) -> None:
        self._pattern = re.compile(pattern)
        groups = self._pattern.groupindex
        self._closing = max(({"step", "score"} & groups.keys()), key=lambda name: groups[name], default="score")
        self._held: dict[str, str] = {}

    def read(self, line: str) -> Iterator[dict[str, str]]:
        """The reports that this line completes."""
        match = self._pattern.search(line)
        found = {name: value for name, value in match.groupdict().items() if value is not None} if match else {}
        if "score" in found:
            yield from self.rest()  # a score whose step never came
        self._held |= found
        is_whole = {"step", "score"} <= found.keys() or "step" not in self._pattern.groupindex
        if found and (is_whole or self._closing in found):
            told, self._held = self._held, {}
            if not is_whole and "step" in told and self._closing == "score":
                self._held = {"step": told["step"]}
            yield told

    def rest(self) -> Iterator[dict[str, str]]:
        """The last score, where its step never came."""
        if "score" in self._held:
            yield self._held
            self._held = {}
