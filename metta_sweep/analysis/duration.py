"""Lengths of time in words."""

from __future__ import annotations

UNITS = (("s", 1, 60), ("min", 60, 60), ("h", 3600, 24), ("d", 86_400, 0))  # name, seconds, how many make the next


def duration(seconds: float) -> str:
    """`45 s`, `12 min`, `3.4 h`, `2.1 d`: two figures are all that a forecast is worth."""
    for limit, size, unit in ((120, 1, "s"), (7200, 60, "min"), (172_800, 3600, "h")):
        if seconds < limit:
            return f"{seconds / size:.2g} {unit}" if seconds / size < 10 else f"{seconds / size:.0f} {unit}"
    return f"{seconds / 86_400:.3g} d"


def elapsed(seconds: float) -> str:
    """`0.42 s`, `45 s`, `3 min 35 s`, `2 h 5 min`, `5 d 4 h`: a time that was measured, in its two largest units."""
    if seconds < 0:
        return f"-{elapsed(-seconds)}"
    if seconds < 9.95:
        return f"{seconds:.2g} s"
    whole = round(seconds)
    if whole >= 3600:  # of hours the seconds are left out
        whole = round(seconds / 60) * 60
    if whole >= 86_400:
        whole = round(seconds / 3600) * 3600
    parts = [(whole // size % (many or whole + 1), name) for name, size, many in reversed(UNITS)]
    return " ".join(f"{count:,} {name}" for count, name in parts if count) or "0 s"
