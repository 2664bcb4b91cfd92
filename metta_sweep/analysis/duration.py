"""Lengths of time in words."""

from __future__ import annotations


def duration(seconds: float) -> str:
    """`45 s`, `12 min`, `3.4 h`, `2.1 d`: two figures are all that a forecast is worth."""
    for limit, size, unit in ((120, 1, "s"), (7200, 60, "min"), (172_800, 3600, "h")):
        if seconds < limit:
            return f"{seconds / size:.2g} {unit}" if seconds / size < 10 else f"{seconds / size:.0f} {unit}"
    return f"{seconds / 86_400:.3g} d"
