"""Search spaces of Ray Tune as ours, and points of ours in the shape of Tune's `param_space`.

Knows no Ray: `ray_search.py` says what each of Tune's distributions draws.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from searchers.errors import SpaceError
from searchers.observation import Params, plain
from searchers.space import Space

_ABSENT = object()  # no value, not even None
Place = tuple[str | int, ...]  # keys and positions from the top of a `param_space`


@dataclass(frozen=True)
class Numbers:
    """Numbers that Tune would draw.

    Attributes:
        low: the smallest one.
        high: the largest one.
        is_whole: only whole ones.
        is_log: evenly on the scale of logarithms.
        step: only multiples of it; None = all.
    """

    low: float
    high: float
    is_whole: bool = False
    is_log: bool = False
    step: float | None = None

    def leaf(self) -> dict[str, Any]:
        """Our configuration; of multiples their count is searched."""
        low, high = self.encode(self.low, math.ceil), self.encode(self.high, math.floor)
        counts = self.is_whole or self.step is not None
        if low == high:
            return {"value": low}
        name = ("int_" if counts else "") + ("log_normal" if self.is_log else "uniform")
        return {"distribution": name, "min": low, "max": high}

    def encode(self, value: Any, whole: Any = round) -> Any:
        """Tune's value as ours."""
        if self.step is None:
            return value
        count = value / self.step
        return round(count) if math.isclose(count, round(count)) else whole(count)

    def decode(self, value: Any) -> Any:
        """Our value as Tune's."""
        if self.step is None:
            return value
        number = value * self.step
        return int(number) if self.is_whole else float(f"{number:.12g}")  # 3 * 0.1 is meant as 0.3


@dataclass(frozen=True)
class Choices:
    """One of these, of any hashable type: what is no plain value goes by its text."""

    values: tuple[Hashable, ...]

    @cached_property
    def _names(self) -> tuple[Any, ...]:
        values = tuple(map(plain, self.values))
        if all(isinstance(value, bool | int | float | str) for value in values):
            return values
        return tuple(f"{index}: {value!r}"[:80] for index, value in enumerate(values))

    def leaf(self) -> dict[str, Any]:
        """Our configuration."""
        return {"choices": list(self._names)} if len(self._names) > 1 else {"value": self._names[0]}

    def encode(self, value: Any) -> Any:
        """Tune's value as ours; what is none of them stays as it is."""
        known = [name for name, one in zip(self._names, self.values, strict=True) if type(one) is type(value)]
        same = [one for one in self.values if type(one) is type(value)]
        return known[same.index(value)] if value in same else value

    def decode(self, value: Any) -> Any:
        """Our value as Tune's."""
        for name, one in zip(self._names, self.values, strict=True):
            if name == value and isinstance(name, bool) == isinstance(value, bool):
                return one
        return value


@dataclass(frozen=True)
class TuneSpace:
    """A `param_space` and what is searched of it.

    Attributes:
        template: the `param_space`.
        drawn: what is drawn, by where it stands.
    """

    template: Mapping[str, Any]
    drawn: Mapping[Place, Numbers | Choices]

    @cached_property
    def space(self) -> Space:
        """Ours.

        Raises:
            SpaceError: what it may not hold, one line each.
        """
        names = [name_of(path) for path in self.drawn]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise SpaceError(*((f"param_space.{name}", "two places have this name; rename one") for name in twice))
        return Space.from_config({name_of(path): one.leaf() for path, one in self.drawn.items()})

    def nested(self, params: Params) -> dict[str, Any]:
        """A point in the shape of the `param_space`: what Tune puts in the place of its distributions."""
        tops = {path[0] for path in self.drawn}
        config = {key: copy.deepcopy(_mutable(value)) for key, value in self.template.items() if key in tops}
        for path, one in self.drawn.items():
            branch: Any = config
            for key in path[:-1]:
                branch = branch[key]
            branch[path[-1]] = one.decode(params[name_of(path)])
        return config

    def params(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """Our names and values of a configuration in that shape, or with dotted keys; what is missing is left out."""
        found = {}
        for path, one in self.drawn.items():
            name = name_of(path)
            value = config[name] if name in config else _at(config, path)
            if value is not _ABSENT:
                found[name] = one.encode(plain(value))
        return found


def name_of(path: Place) -> str:
    """Dotted."""
    return ".".join(map(str, path))


def _at(config: Any, path: Place) -> Any:
    for key in path:
        try:
            config = config[key]
        except (LookupError, TypeError):
            return _ABSENT
    return config


def _mutable(value: Any) -> Any:
    """Tuples as lists, so that their places can be filled."""
    if isinstance(value, Mapping):
        return {key: _mutable(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_mutable(inner) for inner in value]
    return value


def choices_of(values: Sequence[Any]) -> tuple[Choices | None, str]:
    """(the choices, what is wrong with them or "")."""
    if not values:
        return None, "nothing to choose from; give it values"
    unhashable = [value for value in values if not _hashes(value)]
    if unhashable:
        return None, (
            f"{unhashable[0]!r} has no hash, so that it cannot be told from others; choose among texts or numbers, and "
            "look the value up in the trainable"
        )
    return Choices(tuple(values)), ""


def _hashes(value: Any) -> bool:
    try:
        hash(value)
    except TypeError:
        return False
    return True


def unflatten(params: Params) -> dict[str, Any]:
    """Dotted keys -> nested dicts."""
    tree: dict[str, Any] = {}
    for name, value in params.items():
        *parents, leaf = name.split(".")
        branch = tree
        for parent in parents:
            branch = branch.setdefault(parent, {})
        branch[leaf] = value
    return tree


def flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested dicts -> dotted keys."""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        flat |= flatten(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return flat
