"""Filters of the table's columns and its search, as values: they stand in the URL, and hold for figures and exports.

The table in the browser filters by itself; what is here leaves the same runs. Texts are compared without their case.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, unquote

import pandas as pd

from metta_sweep.analysis.frame import PARAM, as_choices, is_number

# Named as AG Grid names them; `inRange` holds its ends.
BLANKS = {"blank": "is empty", "notBlank": "is not empty"}
NUMBERS = {"greaterThanOrEqual": "≥", "lessThanOrEqual": "≤", "inRange": "from", "equals": "=", **BLANKS}
TEXTS = {
    "contains": "contains",
    "notContains": "does not contain",
    "equals": "is",
    "startsWith": "begins with",
    **BLANKS,
}
KINDS = NUMBERS | TEXTS
TESTS: dict[str, Callable[..., pd.Series[bool]]] = {
    "greaterThanOrEqual": lambda values, one: values >= one,
    "lessThanOrEqual": lambda values, one: values <= one,
    "inRange": lambda values, low, high: values.between(low, high),
    "contains": lambda values, one: values.str.contains(one, regex=False),
    "notContains": lambda values, one: ~values.str.contains(one, regex=False),
    "equals": lambda values, one: values == one,
    "startsWith": lambda values, one: values.str.startswith(one),
    "blank": lambda values: values.isna() | (values == ""),
    "notBlank": lambda values: values.notna() & (values != ""),
}
SEARCHED = ("id", "state", "phase", "failure", "message", "tags", "note")  # beside the parameters that are choices
MAX_TEXT = 200
MAX_CONDITIONS = 50


@dataclass(frozen=True, slots=True)
class Condition:
    """What one column must be: a kind of `KINDS`, and its numbers or its text."""

    kind: str
    values: tuple[float | str, ...] = ()

    @classmethod
    def of_model(cls, model: Any) -> Condition | None:
        """One entry of the table's filter model; None for what it cannot be."""
        if not isinstance(model, Mapping) or model.get("type") not in KINDS:
            return None
        given = [model.get(key) for key in ("filter", "filterTo") if model.get(key) is not None]
        return checked(model["type"], given)

    @classmethod
    def of_text(cls, text: str) -> Condition | None:
        """What `to_text` wrote; None for anything else."""
        kind, *values = text.split("~")
        if kind not in KINDS:
            return None
        texts = [unquote(value) for value in values]
        return checked(kind, texts if kind in TEXTS else [as_number(one) for one in texts])

    def to_text(self) -> str:
        return "~".join([self.kind, *(quote(str(value), safe="").replace("~", "%7E") for value in self.values)])

    def to_model(self, *, has_numbers: bool | None = None) -> dict[str, Any]:
        """The entry of the table's filter model; of a column of numbers, of texts, or of one that is not known."""
        kind = {} if has_numbers is None else {"filterType": "number" if has_numbers else "text"}
        values = [as_number(value) if has_numbers else value for value in self.values]
        return {**kind, "type": self.kind, **dict(zip(("filter", "filterTo"), values, strict=False))}

    def words(self) -> str:
        shown = " to ".join(value if isinstance(value, str) else f"{value:.6g}" for value in self.values)
        return f"{KINDS[self.kind]} {shown}".strip()


def checked(kind: str, values: list[Any]) -> Condition | None:
    """The condition with as many values as its kind takes; None where one is missing or no number."""
    wanted = 0 if kind in BLANKS else 2 if kind == "inRange" else 1
    some: list[float | str] = [value[:MAX_TEXT] if isinstance(value, str) else value for value in values[:wanted]]
    if len(some) < wanted or not all(isinstance(one, str | float | int) and not isinstance(one, bool) for one in some):
        return None
    if kind in TEXTS:  # `equals`, too, which is of both: a number's column reads its text as a number
        return Condition(kind, tuple(str(one) for one in some))
    good = all(isinstance(one, float | int) and math.isfinite(one) for one in some)
    return Condition(kind, tuple(some)) if good else None


def as_number(value: float | str) -> float | str:
    """The number that a text is; the text itself where it is none."""
    try:
        number = float(value)
    except ValueError:
        return value
    return int(number) if number.is_integer() and abs(number) < 2**53 else number


def holds(values: pd.Series[Any], condition: Condition) -> pd.Series[bool]:
    """Which cells of a column the condition lets through; all where it is not one for such a column."""
    has_numbers = is_number(values)
    wanted: list[Any] = [as_number(one) if has_numbers else str(one).lower() for one in condition.values]
    is_strange = has_numbers and any(isinstance(one, str) for one in wanted)
    if is_strange or condition.kind not in (NUMBERS if has_numbers else TEXTS):
        return pd.Series(True, index=values.index)
    cells = values if has_numbers else shown(values).str.lower()
    return TESTS[condition.kind](cells, *wanted)


def shown(values: pd.Series[Any]) -> pd.Series[str]:
    """A column of texts as the table shows it: "" for what is not known."""
    if values.name is not None and str(values.name).startswith(PARAM):
        return as_choices(values).where(values.notna(), "")
    return values.astype(str)


def finds(runs: pd.DataFrame, search: str) -> pd.Series[bool]:
    """Runs in which every word of the search stands somewhere: in a text of `SEARCHED`, or a choice."""
    choices = [name for name in runs.columns if str(name).startswith(PARAM) and not is_number(runs[name])]
    columns = [shown(runs[name]) for name in (*SEARCHED, *choices) if name in runs.columns]
    texts = pd.Series(["\n".join(row).lower() for row in zip(*columns, strict=True)], index=runs.index, dtype=object)
    keep = pd.Series(True, index=runs.index)
    for word in search.lower().split():
        keep &= texts.map(lambda text, word=word: word in text).astype(bool)
    return keep
