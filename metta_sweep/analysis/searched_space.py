"""The space that a whole sweep searched: what any of its phases could suggest lies inside it.

A phase may narrow, widen or fix a parameter; a model of all runs that knew the last phase's bounds alone would see the
runs of the others far outside, or not see at all what they had varied.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from metta_sweep.config.job import SweepSpec
from searchers import CategoricalParameter, NumericParameter, ParamValue, Space
from searchers.distributions import DISTRIBUTIONS, Distribution, Parameter

DECADE = 10.0  # values that were only ever fixed: from this ratio on they are meant as factors; a round number


def searched_space(spec: SweepSpec | None) -> Space | None:
    """The union of all phases' spaces; None for a sweep without a specification."""
    return union([phase.space for phase in spec.phases]) if spec is not None else None


def union(spaces: Sequence[Space]) -> Space:
    """The smallest space that holds every point of these; where they disagree the last one's centre and scale count.

    A parameter that one phase searches and another fixes is searched. A condition or constraint stays when all agree.
    """
    if len(spaces) == 1:
        return spaces[0]
    names = sorted({name for space in spaces for name in (*space.names, *space.fixed)})
    fixed = {name: value for name in names if (value := _only_value(spaces, name)) is not None}
    free = tuple(_merged(spaces, name) for name in names if name not in fixed)
    conditions = {one.name: _condition(spaces, one.name) for one in free if one.when}
    shared = [one for one in spaces[-1].constraints if all(one.text in _texts(space) for space in spaces)]
    whole = Space(free, fixed, tuple(shared), conditions)
    return whole if len(whole.stock) else Space(free, fixed, (), conditions)


def _texts(space: Space) -> list[str]:
    return [constraint.text for constraint in space.constraints]


def _condition(spaces: Sequence[Space], name: str) -> Any:
    return next(space.conditions[name] for space in reversed(spaces) if name in space.conditions)


def _only_value(spaces: Sequence[Space], name: str) -> ParamValue | None:
    """The value that a parameter has in every space that knows it; None when it varied."""
    if any(name in space.names for space in spaces):
        return None
    values = [space.fixed[name] for space in spaces if name in space.fixed]
    return values[-1] if all(value == values[-1] and type(value) is type(values[-1]) for value in values) else None


def _merged(spaces: Sequence[Space], name: str) -> Parameter:
    """One parameter over all that the spaces make of it."""
    free = [one for space in spaces for one in space.parameters if one.name == name]
    values = [space.fixed[name] for space in spaces if name in space.fixed]
    is_number = all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
    when = _agreed_when(free) if not values else ""
    if is_number and all(isinstance(one, NumericParameter) for one in free):
        return _number(name, [one for one in free if isinstance(one, NumericParameter)], values, when)
    choices = [choice for one in free if isinstance(one, CategoricalParameter) for choice in one.choices]
    known = _distinct([*choices, *values])
    means = [one.mean for one in free if isinstance(one, CategoricalParameter)]
    return CategoricalParameter(name, known, means[-1] if means else known[-1], when)


def _agreed_when(free: Sequence[Parameter]) -> str:
    return free[-1].when if len({one.when for one in free}) == 1 else ""


def _number(name: str, free: Sequence[NumericParameter], values: Sequence[Any], when: str) -> NumericParameter:
    low = float(min([one.low for one in free] + [float(value) for value in values]))
    high = float(max([one.high for one in free] + [float(value) for value in values]))
    scale = _scale_for([one.distribution for one in reversed(free)], values, (low, high))
    mean = free[-1].mean if free else float(values[-1])
    return NumericParameter(name, scale, low, high, mean, free[-1].scale if free else 1.0, when)


def _scale_for(known: Sequence[Distribution], values: Sequence[Any], ends: tuple[float, float]) -> Distribution:
    """The first scale that is defined at both ends; for values that were only ever fixed, one that spreads them."""
    low, high = ends
    is_whole = not known and all(isinstance(value, int) for value in values)
    is_factor = not known and low > 0 and high >= DECADE * low
    own = ("int_" if is_whole else "") + ("log_normal" if is_factor else "uniform")
    fits = (one for one in known if one.problem("", low) is None and one.problem("", high) is None)
    return next(fits, DISTRIBUTIONS[own])


def _distinct(values: Sequence[ParamValue]) -> tuple[ParamValue, ...]:
    """In order, each once; True and 1 are different."""
    seen: Mapping[tuple[type, ParamValue], None] = dict.fromkeys((type(value), value) for value in values)
    return tuple(value for _, value in seen)
