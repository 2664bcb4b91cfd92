"""How one parameter is laid out on [-1, 1]: named distributions, and the registry that new ones join."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import numpy as np
from numpy.typing import NDArray

from searchers.observation import ParamValue, number_of, plain

Array = NDArray[np.float64]
Ufunc = Callable[[Array], Array]
DIGITS = 10  # of a coordinate: a value that was written and read again lands on the same one
SIGNIFICANT_DIGITS = 17  # enough for any float
LARGEST_WHOLE = 2**53  # up to here floats hold every whole number
# Beyond it the width of a range, or a product with it, may be no float any more.
LARGEST_BOUND = 1e300


def on_grid(unit: Array) -> Array:
    """Unit coordinates on a grid of 1e-10, without negative zeros.

    A change of units moves the last bits of a coordinate, and so does the way to natural values and back; neither may
    change a suggestion or make one point look like two.
    """
    return np.round(unit, DIGITS) + 0.0


def shown(value: object) -> str:
    """A value in an error: whole numbers of thousands of digits only by their size."""
    return (
        f"a whole number of {value.bit_length()} bits"
        if isinstance(value, int) and value.bit_length() > 1000
        else repr(value)
    )


def _identity(values: Array) -> Array:
    return values


def _logit(values: Array) -> Array:
    return np.log(values) - np.log1p(-values)


def _expit(values: Array) -> Array:
    # Far below 0 the sum is exp(-x) to the last bit, and would overflow.
    return np.where(
        values < -700.0, np.exp(np.minimum(values, -700.0)), 1.0 / (1.0 + np.exp(-np.maximum(values, -700.0)))
    )


def _no_problem(key: str, value: float) -> str | None:
    return None


def _positive(key: str, value: float) -> str | None:
    return (
        None
        if value > 0
        else f"log_normal needs {key} > 0, got {value}; use a small positive number or distribution: uniform"
    )


def _probability(key: str, value: float) -> str | None:
    if value <= 0:
        return f"logit_normal needs {key} > 0, got {value}; use 0.0001 or distribution: uniform"
    if value >= 1:
        return f"logit_normal needs {key} < 1, got {value}; use 0.9999 or distribution: uniform"
    return None


def _whole(key: str, value: float) -> str | None:
    if abs(value) > LARGEST_WHOLE:
        return (
            "int_uniform needs whole numbers from -2**53 to 2**53, between which floats hold all of them, got "
            f"{value}; use distribution: uniform"
        )
    return (
        None
        if float(value).is_integer()
        else f"int_uniform needs a whole number, got {value}; use {round(value)} or distribution: uniform"
    )


def _whole_positive(key: str, value: float) -> str | None:
    if value > LARGEST_WHOLE:
        return (
            f"int_log_normal needs whole numbers up to 2**53, up to which floats hold all of them, got {value}; "
            "use distribution: log_normal"
        )
    if float(value).is_integer() and value >= 1:
        return None
    return (
        f"int_log_normal needs a whole number >= 1, got {value}; use {max(1, round(value))} or distribution: log_normal"
    )


def _power_of_two(key: str, value: float) -> str | None:
    if value >= 1 and math.frexp(value)[0] == 0.5:
        return None
    nearest = 2 ** max(0, round(math.log2(value))) if value > 0 else 1
    return f"uniform_pow2 needs a power of two, got {value}; use {nearest} or distribution: int_uniform"


@dataclass(frozen=True, slots=True)
class Distribution:
    """A named scale: natural values are `inverse` of an even spread over `forward(min)` to `forward(max)`.

    Attributes:
        name: as written in `distribution:`.
        forward: natural value -> even scale, elementwise, increasing.
        inverse: its inverse.
        integer: natural values are whole numbers.
        step: spacing of the valid values on the even scale; 0 when they are not evenly spaced. Evenly spaced values get
            equal cells of [-1, 1], so that both ends are as likely as the middle.
        problem: (key, natural value) -> what is wrong with it and the fix, or None.
    """

    name: str
    forward: Ufunc = _identity
    inverse: Ufunc = _identity
    integer: bool = False
    step: float = 0.0
    problem: Callable[[str, float], str | None] = _no_problem


# By name; `register_distribution` adds to it
DISTRIBUTIONS: dict[str, Distribution] = {
    distribution.name: distribution
    for distribution in (
        Distribution("uniform"),
        Distribution("int_uniform", integer=True, step=1.0, problem=_whole),
        Distribution(
            "uniform_pow2", cast(Ufunc, np.log2), cast(Ufunc, np.exp2), integer=True, step=1.0, problem=_power_of_two
        ),
        Distribution("log_normal", cast(Ufunc, np.log), cast(Ufunc, np.exp), problem=_positive),
        Distribution("int_log_normal", cast(Ufunc, np.log), cast(Ufunc, np.exp), integer=True, problem=_whole_positive),
        Distribution("logit_normal", _logit, _expit, problem=_probability),
    )
}


def register_distribution(distribution: Distribution) -> None:
    """Make a new distribution known to search spaces by its name.

    Its functions must be importable (they are pickled).
    """
    if DISTRIBUTIONS.get(distribution.name, distribution) != distribution:
        raise ValueError(f"distribution {distribution.name!r} exists already; choose another name")
    DISTRIBUTIONS[distribution.name] = distribution


@dataclass(frozen=True, slots=True)
class NumericParameter:
    """A number between two bounds.

    Attributes:
        name: dotted path.
        distribution: its scale.
        low: smallest value, natural units.
        high: largest value, natural units.
        mean: search centre, natural units.
        scale: half-width of the search around the centre as a share of half the range: 1.0 reaches the bounds from the
            middle.
        when: text of the condition under which the parameter exists; "" = always.
        is_believed: whether somebody wrote the centre (or the scale), so that it weighs the search; see `belief.py`.
    """

    name: str
    distribution: Distribution
    low: float
    high: float
    mean: float
    scale: float = 0.5
    when: str = ""
    is_believed: bool = False

    @property
    def _ends(self) -> tuple[float, float]:
        low, high = self.distribution.forward(np.array([self.low, self.high]))
        half_cell = self.distribution.step / 2
        return float(low) - half_cell, float(high) + half_cell

    def to_unit(self, values: Array) -> Array:
        """Natural values -> unit coordinates, elementwise; values beyond the bounds fall outside [-1, 1]."""
        low, high = self._ends
        return on_grid(2 * ((self.distribution.forward(np.asarray(values, dtype=float)) - low) / (high - low)) - 1)

    def from_unit(self, unit: Array) -> Array:
        """Unit coordinates -> nearest valid natural values inside the bounds, elementwise, as floats."""
        low, high = self._ends
        even = low + (np.clip(unit, -1, 1) + 1) / 2 * (high - low)
        if self.distribution.step:
            # The upper edge of a cell belongs to the next one, except at the top.
            even = (
                np.minimum(np.floor((even - low) / self.distribution.step), round(high - low) - 1)
                + low
                + self.distribution.step / 2
            )
        natural = self.distribution.inverse(even)
        if self.distribution.integer:
            natural = np.round(natural)
        # Bounds and mean come back to the last bit, whatever logarithms made of them.
        if not self.distribution.step and (not self.distribution.integer or float(self.mean).is_integer()):
            natural = np.where(unit == self.to_unit(np.array([self.mean])), self.mean, natural)
        exact = np.where(unit <= -1, self.low, np.where(unit >= 1, self.high, natural))
        return np.clip(exact, self.low, self.high)

    def shortest(self, value: float, unit: float) -> float:
        """The number with the fewest digits among those that have this unit coordinate, as `value` has: what a person
        would write.
        """
        if value in (self.low, self.high, self.mean):
            return value
        rounded = np.array([float(f"{value:.{digits}e}") for digits in range(SIGNIFICANT_DIGITS)])
        rounded = rounded[(rounded >= self.low) & (rounded <= self.high)]
        same = rounded[self.to_unit(rounded) == on_grid(np.array([unit]))]
        return float(same[0]) if len(same) else value

    def native(self, value: float) -> ParamValue:
        """The value as the plain Python type that a configuration holds."""
        return round(value) if self.distribution.integer else float(value)

    def problem(self, value: object) -> str | None:
        """Why `value` is not one of this parameter's, or None."""
        number = math.nan if isinstance(plain(value), bool) else number_of(value)
        if not math.isfinite(number):
            return f"need a finite number, got {shown(value)}"
        if not self.low <= number <= self.high:
            return f"need a value from {self.low} to {self.high}, got {plain(value)!r}"
        return self.distribution.problem("value", plain(value)) if self.distribution.integer else None


@dataclass(frozen=True, slots=True)
class CategoricalParameter:
    """One of a few values without an order; `mean` is the choice that the search starts from, and `is_believed` says
    whether somebody wrote it.
    """

    name: str
    choices: tuple[ParamValue, ...]
    mean: ParamValue
    when: str = ""
    is_believed: bool = False

    def index(self, value: object) -> int:
        """Position of `value` among the choices; -1 when it is none of them. True and 1 are different choices."""
        value = plain(value)
        if not isinstance(value, bool | int | float | str):
            return -1
        for position, choice in enumerate(self.choices):
            if choice == value and isinstance(choice, bool) == isinstance(value, bool):
                return position
        return -1

    def to_unit(self, value: object) -> float:
        """Centre of the choice's cell of [-1, 1]; nan for a value that is no choice."""
        position = self.index(value)
        return round((2 * position + 1) / len(self.choices) - 1, DIGITS) + 0.0 if position >= 0 else math.nan

    def codes(self, unit: Array) -> NDArray[np.int64]:
        """Unit coordinates -> positions among the choices, elementwise."""
        cells = np.floor((np.clip(unit, -1, 1) + 1) / 2 * len(self.choices))
        return np.minimum(cells, len(self.choices) - 1).astype(np.int64)

    def problem(self, value: object) -> str | None:
        """Why `value` is not one of the choices, or None."""
        return None if self.index(value) >= 0 else f"need one of {list(self.choices)}, got {shown(value)}"


Parameter = NumericParameter | CategoricalParameter
