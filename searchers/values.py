"""The values of one parameter as columns: as expressions see them, and all of them where they can be counted."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from searchers.distributions import Array, CategoricalParameter, NumericParameter, Parameter
from searchers.observation import ParamValue


def column(parameter: Parameter, unit: Array) -> NDArray[Any]:
    """(n,) natural values at coordinates (n,)."""
    if isinstance(parameter, NumericParameter):
        return parameter.from_unit(unit)
    return np.array(parameter.choices, dtype=column_type(parameter.choices))[parameter.codes(unit)]


def constant(value: ParamValue, length: int) -> NDArray[Any]:
    """(n,) the same value n times."""
    return np.full(length, value, dtype=column_type((value,)))


def column_type(values: tuple[ParamValue, ...]) -> type[Any]:
    """Of a column that holds these values: truth values, numbers, or anything."""
    if all(isinstance(value, bool) for value in values):
        return bool
    return float if all(isinstance(value, int | float) for value in values) else object


def count_values(parameter: Parameter) -> int | None:
    """How many values a parameter has; None where it is continuous."""
    if isinstance(parameter, CategoricalParameter):
        return len(parameter.choices)
    distribution = parameter.distribution
    if not distribution.integer:
        return None
    low, high = (
        distribution.forward(np.array([parameter.low, parameter.high]))
        if distribution.step
        else (parameter.low, parameter.high)
    )
    return round((high - low) / (distribution.step or 1.0)) + 1


def all_units(parameter: Parameter, count: int) -> Array:
    """(count,) coordinates of all values of a parameter that has so many."""
    if isinstance(parameter, NumericParameter) and not parameter.distribution.step:
        return parameter.to_unit(parameter.low + np.arange(float(count)))
    return (2 * np.arange(count) + 1) / count - 1


def every_combination(parameters: tuple[Parameter, ...], limit: int) -> Array | None:
    """(n, d) all points of parameters, None where they are more than `limit`."""
    total, columns = 1, []
    for parameter in parameters:
        count = count_values(parameter)
        if count is None or (total := total * count) > limit:
            return None
        columns.append(all_units(parameter, count))
    grid = np.stack(np.meshgrid(*columns, indexing="ij"), axis=-1) if columns else np.zeros((1, 0))
    return grid.reshape(total, len(parameters))
