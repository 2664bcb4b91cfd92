"""Plain mappings into frozen dataclasses: every problem is collected, each with its dotted key, the value and the
fix.
"""

from __future__ import annotations

import difflib
import math
import types
from collections.abc import Collection, Iterable, Mapping
from dataclasses import MISSING, fields, is_dataclass
from functools import cache
from typing import Any, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from trainables.errors import Problem

T = TypeVar("T")


def build(cls: type[T], mapping: object, path: str, problems: list[Problem], elsewhere: Collection[str] = ()) -> T:
    """An instance of the dataclass from a mapping with (some of) its field names.

    Args:
        cls: dataclass whose fields are scalars, optional scalars, tuples of str, mappings, or dataclasses again; all
            with defaults.
        mapping: what the configuration says; None means nothing.
        path: dotted path of the mapping, for messages.
        problems: gets what is wrong; a field with a problem keeps its default.
        elsewhere: dotted keys among which an unknown one may be meant, when none of its own section is near.
    """
    if mapping is None:
        mapping = {}
    if not isinstance(mapping, Mapping):
        problems.append(Problem(path, f"need a mapping, got {mapping!r}"))
        mapping = {}
    hints = _hints(cast(Any, cls))
    problems += [
        Problem(key := join(path, str(name)), f"unknown key{nearest(str(name), hints, key, elsewhere)}")
        for name in mapping
        if name not in hints
    ]
    values: dict[str, Any] = {}
    for name, hint in hints.items():
        if name not in mapping:
            continue
        key = join(path, name)
        if is_dataclass(hint):
            values[name] = build(cast("type[Any]", hint), mapping[name], key, problems, elsewhere)
            continue
        value, problem = convert(mapping[name], hint)
        if problem:
            problems.append(Problem(key, f"{problem}, got {mapping[name]!r}"))
        else:
            values[name] = value
    return cls(**values)


@cache
def _hints(cls: type[Any]) -> dict[str, Any]:
    return get_type_hints(cls)


def nearest(name: str, known: Iterable[str], key: str = "", elsewhere: Collection[str] = ()) -> str:
    """`; did you mean a or b?` with the names closest to `name`, or those of `elsewhere` closest to its whole `key`;
    the list of all when nothing is close.
    """
    names = sorted(known)
    close = _close(name, names) or _close(key, sorted(elsewhere))
    if close:
        return f"; did you mean {' or '.join(close)}?"
    return f"; known: {', '.join(names)}" if 0 < len(names) <= 30 else ""


def _close(name: str, known: list[str]) -> list[str]:
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    if not near and "." in name:  # the right leaf at the wrong place
        near = [other for other in known if other.rpartition(".")[2] == name.rpartition(".")[2]][:3]
    return near


def convert(value: object, hint: Any) -> tuple[Any, str]:
    """The value as the type of a field, and what is wrong with it ("" when nothing is)."""
    options = get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)
    if value is None and type(None) in options:
        return None, ""
    plain = [option for option in options if option is not type(None)]
    answers = [_convert_plain(value, option) for option in plain]
    return next((answer for answer in answers if not answer[1]), answers[0])


def _convert_plain(value: object, hint: Any) -> tuple[Any, str]:
    if hint is bool:
        return (value, "") if isinstance(value, bool) else (None, "need true or false")
    if hint in (int, float):
        return _number(value, hint)
    if hint is str:
        return (value, "") if isinstance(value, str) else (None, "need a text")
    if get_origin(hint) is tuple:
        good = isinstance(value, list | tuple) and all(isinstance(item, str) for item in value)
        return (tuple(cast("list[str]", value)), "") if good else (None, "need a list of texts")
    return (value, "") if isinstance(value, Mapping) else (None, "need a mapping")


def _number(value: object, kind: type) -> tuple[Any, str]:
    """Numbers also from text, since YAML reads 3e-4 as text, and whole floats as int, since searches return them."""
    wanted = "a whole number" if kind is int else "a finite number"
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None, f"need {wanted}"
    try:
        number = float(value)
    except (ValueError, OverflowError):  # no number, or a whole one of hundreds of digits
        return None, f"need {wanted}"
    if not math.isfinite(number):
        return None, f"need {wanted}"
    if kind is float:
        return number, ""
    return (
        (int(value) if isinstance(value, int) else int(number), "") if number.is_integer() else (None, f"need {wanted}")
    )


def known_keys(cls: type[Any], path: str = "") -> dict[str, Any]:
    """Dotted keys of all leaves of a dataclass with their types."""
    keys: dict[str, Any] = {}
    for name, hint in get_type_hints(cls).items():
        if is_dataclass(hint):
            keys |= known_keys(cast("type[Any]", hint), join(path, name))
        else:
            keys[join(path, name)] = hint
    return keys


def defaults(cls: type[Any]) -> dict[str, Any]:
    """Default of every field of a dataclass, nested dataclasses as nested dicts: what a configuration file may spell
    out.
    """
    answer: dict[str, Any] = {}
    for field in fields(cls):
        value = (
            field.default
            if field.default is not MISSING
            else field.default_factory()
            if field.default_factory is not MISSING
            else None
        )
        answer[field.name] = defaults(type(value)) if is_dataclass(value) else value
    return answer


def join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name
