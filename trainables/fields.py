"""Plain mappings into frozen dataclasses: every problem is collected, each with its dotted key, the value and the fix.

The type of a field says what it holds and in which range: `Whole`, `Share`, ... Pydantic walks the mapping; the rules
and their words are ours, and `searchers.config` has the same ones.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, fields, is_dataclass
from functools import cache
from typing import Annotated, Any, TypeVar, cast, get_type_hints

from pydantic import AfterValidator, ConfigDict, PlainValidator, TypeAdapter, ValidationError

from trainables.errors import Problem

T = TypeVar("T")


def whole(value: object) -> int:
    """Whole floats pass, since searches return them, and texts that spell one, since plain YAML reads 1e6 as text."""
    number = _finite(value, "need a whole number")
    if not number.is_integer():
        raise ValueError("need a whole number")
    return int(value) if isinstance(value, int) else int(number)


def number(value: object) -> float:
    """Numbers, and texts that spell one; neither NaN nor infinity."""
    return _finite(value, "need a finite number")


def _finite(value: object, wanted: str) -> float:
    try:
        found = float(value) if isinstance(value, int | float | str) and not isinstance(value, bool) else math.nan
    except (ValueError, OverflowError):  # no number, or a whole one of hundreds of digits
        found = math.nan
    if not math.isfinite(found):
        raise ValueError(wanted)
    return found


def _of(kind: type[Any] | tuple[type[Any], ...], wanted: str) -> Callable[[object], Any]:
    def check(value: object) -> Any:
        if not isinstance(value, kind):
            raise ValueError(f"need {wanted}")
        return value

    return check


def texts(value: object) -> tuple[str, ...]:
    """A list of texts."""
    if not isinstance(value, list | tuple) or not all(isinstance(item, str) for item in value):
        raise ValueError("need a list of texts")
    return tuple(value)


def in_range(wanted: str, holds: Callable[[Any], bool]) -> AfterValidator:
    """Refuses values for which `holds` is false; in `wanted`, {} stands for the value."""

    def check(value: Any) -> Any:
        if not holds(value):
            raise ValueError(f"need {wanted}")
        return value

    return AfterValidator(check)


def at_least(least: float, what: str = "") -> AfterValidator:
    """Refuses smaller numbers."""
    return in_range(f"at least {least}{what}", lambda value: value >= least)


@dataclass(frozen=True, slots=True)
class OneOf:
    """The rule of `one_of`."""

    choices: tuple[str, ...]
    wrong: str

    def __call__(self, value: object) -> str:
        if not isinstance(value, str):
            raise ValueError("need a text")
        if value not in self.choices:
            raise ValueError(f"{self.wrong}{nearest(value, self.choices)}")
        return value


def one_of(*choices: str, wrong: str = "unknown value {}") -> PlainValidator:
    """A text that is one of these; `wrong` is told of others, {} in it is the value."""
    return PlainValidator(OneOf(choices, wrong))


# What a plain type means, for values whose type is known at run time only
RULES: Mapping[type[Any], Callable[[object], Any]] = {
    int: whole,
    float: number,
    bool: _of(bool, "true or false"),
    str: _of(str, "a text"),
}
Whole = Annotated[int, PlainValidator(whole)]
Number = Annotated[float, PlainValidator(number)]
Flag = Annotated[bool, PlainValidator(RULES[bool])]
Text = Annotated[str, PlainValidator(RULES[str])]
Texts = Annotated[tuple[str, ...], PlainValidator(texts)]
Table = Annotated[Mapping[str, Any], PlainValidator(_of(Mapping, "a mapping"))]
TextOrTable = Annotated[str | Mapping[str, Any], PlainValidator(_of((str, Mapping), "a text or a mapping"))]
Count = Annotated[Whole, at_least(0)]
Positive = Annotated[Whole, at_least(1)]
Amount = Annotated[Number, at_least(0)]
Share = Annotated[Number, in_range("a number from 0 to 1", lambda value: 0 <= value <= 1)]
Limit = Annotated[Number, in_range("a number > 0, got {}; leave it out for no limit", lambda value: value > 0)] | None


def build(cls: type[T], mapping: object, path: str, problems: list[Problem], elsewhere: Collection[str] = ()) -> T:
    """An instance of the dataclass from a mapping with (some of) its field names.

    Args:
        cls: dataclass whose fields have the types above, or are dataclasses again; all with defaults.
        mapping: what the configuration says; None means nothing.
        path: dotted path of the mapping, for messages.
        problems: gets what is wrong; a field with a problem keeps its default.
        elsewhere: dotted keys among which an unknown one may be meant, when none of its own section is near.
    """
    given = dict(mapping) if isinstance(mapping, Mapping) else mapping
    try:
        return cast(T, _adapter(cast(Any, cls)).validate_python((given,))[0])
    except ValidationError as error:
        for one in error.errors(include_url=False):
            place = one["loc"][1:]
            if one["input"] is not None or one["type"] != "dataclass_type":  # a section may be left empty
                key = ".".join(map(str, (path, *place) if path else place))
                problems.append(Problem(key, _said(cls, one, key, elsewhere)))
            given = _without(given, place)
    return build(cls, given, path, problems)


def told(problems: Iterable[Problem], *keys: str) -> bool:
    """Whether one of the keys, or what lies above it, has a problem already."""
    return any(f"{key}.".startswith(f"{problem.key}.") for problem in problems for key in keys)


def convert(value: object, rule: Callable[[object], T]) -> tuple[T | None, str]:
    """(the value by a rule such as `whole`, what is wrong with it or "")."""
    try:
        return rule(value), ""
    except ValueError as error:
        return None, _got(str(error), value)


@cache
def _adapter(cls: type[Any]) -> TypeAdapter[Any]:
    inside: Any = tuple[cls]  # type: ignore[valid-type]  # a dataclass alone takes no configuration
    return TypeAdapter(inside, config=ConfigDict(extra="forbid"))


def _without(mapping: Any, place: tuple[Any, ...]) -> Any:
    if not place:
        return {}
    rest = {name: value for name, value in mapping.items() if isinstance(name, str) and name != place[0]}
    return rest if len(place) == 1 else {**rest, place[0]: _without(mapping[place[0]], place[1:])}


def _said(cls: type[Any], error: Any, key: str, elsewhere: Collection[str]) -> str:
    if error["type"] == "value_error":
        return _got(str(error["ctx"]["error"]), error["input"])
    if error["type"] == "dataclass_type":
        return f"need a mapping, got {error['input']!r}"
    for name in error["loc"][1:-1]:
        cls = get_type_hints(cls)[name]
    own = nearest(str(error["loc"][-1]), [field.name for field in fields(cls)], cutoff=0.5)
    return f"unknown key{own if '?' in own or not elsewhere else nearest(key, elsewhere)}"


def _got(wrong: str, value: object) -> str:
    return wrong.replace("{}", repr(value)) if "{}" in wrong else f"{wrong}, got {value!r}"


def nearest(name: str, known: Iterable[str], cutoff: float = 0.6) -> str:
    """`; did you mean a or b?` with the names closest to `name`, or the list of all when nothing is close."""
    names = sorted(set(known))
    near = difflib.get_close_matches(name, names, n=3, cutoff=cutoff)
    if not near and "." in name:  # the right leaf at the wrong place
        near = [other for other in names if other.rpartition(".")[2] == name.rpartition(".")[2]][:3]
    if near:
        return f"; did you mean {' or '.join(near)}?"
    return f"; known: {', '.join(names)}" if 0 < len(names) <= 30 else ""


def known_keys(cls: type[Any], path: str = "") -> dict[str, Any]:
    """Dotted keys of all leaves of a dataclass with their types."""
    keys: dict[str, Any] = {}
    for name, hint in get_type_hints(cls).items():
        keys |= known_keys(cast(Any, hint), join(path, name)) if is_dataclass(hint) else {join(path, name): hint}
    return keys


def join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name
