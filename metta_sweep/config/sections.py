"""Reads one section of the configuration into its frozen dataclass, and says everything that is wrong with it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import fields
from types import UnionType
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from metta_sweep.config import tree as trees
from trainables.errors import Problem

Section = TypeVar("Section")
WANTED = {int: "a whole number", float: "a finite number", bool: "true or false", str: "a text"}


def read(kind: type[Section], values: Any, key: str, problems: list[Problem]) -> Section | None:
    """Build a dataclass from a mapping.

    Args:
        kind: the dataclass; its defaults fill what is left out.
        values: the section; None is an empty one.
        key: dotted key of the section, for messages.
        problems: everything wrong is appended here.

    Returns:
        The dataclass, or None when something is wrong.
    """
    if not isinstance(values, Mapping | None):
        problems.append(Problem(key, f"need keys below it, got {values!r}"))
        return None
    before = len(problems)
    hints = get_type_hints(kind)
    known = {field.name for field in fields(kind)}  # type: ignore[arg-type]
    out: dict[str, Any] = {}
    for name, value in (values or {}).items():
        if name not in known:
            problems.append(Problem(f"{key}.{name}", f"unknown key{trees.hint(str(name), known)}"))
            continue
        wrong, out[name] = convert(value, hints[name])
        if wrong:
            problems.append(Problem(f"{key}.{name}", wrong))
    return kind(**out) if len(problems) == before else None


def convert(value: Any, kind: Any) -> tuple[str | None, Any]:
    """(what is wrong or None, the value as `kind`); whole floats pass as int, numbers in quotes do not."""
    kinds = get_args(kind) if isinstance(kind, UnionType) else (kind,)
    if value is None and type(None) in kinds:
        return None, None
    if get_origin(kinds[0]) is tuple:
        ok = isinstance(value, list) and all(isinstance(item, str) for item in value)
        return (None, tuple(value)) if ok else (f"need a list of texts, got {value!r}", value)
    wanted = kinds[0]
    if wanted in (int, float) and isinstance(value, int | float) and not isinstance(value, bool):
        if is_finite(value) and (wanted is float or float(value).is_integer()):
            return None, wanted(value)
    elif isinstance(value, wanted):
        return None, value
    optional = " or null" if type(None) in kinds else ""
    return f"need {WANTED[wanted]}{optional}, got {value!r}", value


def is_finite(value: float) -> bool:
    """Whether the number is one that a float can hold."""
    try:
        return math.isfinite(value)
    except OverflowError:  # a whole number of hundreds of digits
        return False


def not_finite(tree: Mapping[str, Any]) -> list[Problem]:
    """Every NaN and infinity in a configuration, whoever would read it."""
    found: list[Problem] = []
    for path, value in trees.leaves(tree):
        wrong = [item for item in (value if isinstance(value, list) else [value]) if _is_no_number(item)]
        found += [Problem(".".join(path), f"need a finite number, got {item!r}") for item in wrong]
    return found


def _is_no_number(value: Any) -> bool:
    return isinstance(value, float) and not math.isfinite(value)
