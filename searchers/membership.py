"""Which values belong to a search space: what comes back from a registry or a file is held against it, name by name.

Constraints and missing parameters are not looked at: a point that was allowed yesterday may break a constraint of
today, and does no harm.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from searchers.distributions import LARGEST_BOUND, NumericParameter, Parameter
from searchers.observation import ParamValue

ROUNDING = 1e-9  # of the range: a value that was written and read again may lie that far beyond its bound


def foreign(
    parameters: Sequence[Parameter],
    fixed: Mapping[str, ParamValue],
    params: Mapping[str, object],
    *,
    is_strict: bool = True,
) -> list[str]:
    """What in `params` is no part of a space with these parameters and fixed values: one line for each name, empty when
    all of it is.

    Args:
        parameters: free parameters.
        fixed: fixed values.
        params: natural values by name.
        is_strict: also for numbers beyond the bounds, which a run from before the bounds were narrowed may have.
    """
    known = {parameter.name: parameter for parameter in parameters}
    problems: list[str] = []
    for name, value in params.items():
        if not is_strict and _is_number(value) and (name in fixed or isinstance(known.get(name), NumericParameter)):
            continue
        if name in known:
            problems += _wrong(known[name], value)
        elif name not in fixed:
            problems.append(f"{str(name)[:100]!r}: not a parameter of the search space")
        elif fixed[name] != value or isinstance(fixed[name], bool) != isinstance(value, bool):
            problems.append(f"{name}: fixed at {fixed[name]!r}, got {_short(value)}")
    return problems


def _wrong(parameter: Parameter, value: object) -> list[str]:
    if isinstance(parameter, NumericParameter):
        if not _is_number(value):
            return [f"{parameter.name}: need a finite number, got {_short(value)}"]
        assert isinstance(value, int | float)
        slack = ROUNDING * (parameter.high - parameter.low)
        if parameter.low - slack <= value < parameter.low or parameter.high < value <= parameter.high + slack:
            return []
    elif not isinstance(value, int | float | str | bool):
        return [f"{parameter.name}: need one of {list(parameter.choices)}, got {_short(value)}"]
    problem = parameter.problem(value)
    return [f"{parameter.name}: {problem}"] if problem else []


def _is_number(value: object) -> bool:
    return (
        isinstance(value, int | float)
        and not isinstance(value, bool)
        and abs(value) <= LARGEST_BOUND
        and math.isfinite(value)
    )


def _short(value: object) -> str:
    """The value as text, however long it is."""
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) > 10**30:
        return "a whole number of more than 30 digits"
    text = ascii(value) if isinstance(value, int | float | str | bool) or value is None else f"a {type(value).__name__}"
    return text if len(text) <= 80 else f"{text[:77]}..."
