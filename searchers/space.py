"""The search space: parameters, fixed values, conditions and constraints, and the way between natural values and [-1,
1]^d.

Notation: d = number of free parameters, sorted by name (so that the order in a file changes nothing); p = number of
model features, where a categorical of k choices takes k columns; `points_unit` has shape (n, d).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from searchers.distributions import Array, CategoricalParameter, NumericParameter, Parameter, on_grid
from searchers.doubts import doubts
from searchers.errors import Keyed, SpaceError
from searchers.expression import Expression
from searchers.observation import Params, ParamValue, number_of
from searchers.outliers import squash
from searchers.space_config import parameter_config, parse_space
from searchers.values import column, constant, every_combination

logger = logging.getLogger(__name__)

Draw = Callable[[int], Array]
STOCK_DRAWS = 2**17  # a constraint that none of so many points fulfils is refused; not tuned
STOCK_SIZE = 256  # feasible points to fall back on where chance finds none; a round number, not tuned
EVERY_POINT = 4096  # a space of so few combinations is written out, so that the last new one is found
# Coordinates of runs from outside the space: a model that squares one of 1e5 has no digits left for the others.
FAR = 100.0


@dataclass(frozen=True)
class Space:
    """What may be suggested.

    Attributes:
        parameters: free parameters, sorted by name.
        fixed: parameters with one value, part of every suggestion.
        constraints: conditions that every suggestion fulfils; one that mentions an inactive parameter holds.
        conditions: `when:` of conditional parameters by name.
    """

    parameters: tuple[Parameter, ...]
    fixed: Mapping[str, ParamValue]
    constraints: tuple[Expression, ...]
    conditions: Mapping[str, Expression]

    @classmethod
    def from_config(cls, parameters: Mapping[str, Any], constraints: Sequence[str] = (), *, warn: bool = True) -> Space:
        """Build a space from nested or dotted keys, as they stand in a sweep file.

        Args:
            parameters: leaves hold `distribution`, `min`, `max`, `mean`, `scale`, or `choices`, or `value`; any may
                hold `when`.
            constraints: expressions over dotted names.
            warn: log the space's `doubts`; a caller that shows them itself says False.

        Raises:
            SpaceError: everything that is wrong, one line per problem.
        """
        space = cls(*parse_space(parameters, constraints))
        if space.stock.shape[0] == 0:
            raise SpaceError(
                (
                    "constraints",
                    f"no point among {STOCK_DRAWS} fulfils {[c.text for c in space.constraints]}; loosen them",
                )
            )
        for doubt in space.doubts if warn else ():
            logger.warning("%s: %s", *doubt)
        return space

    @property
    def names(self) -> tuple[str, ...]:
        """Free parameters, sorted."""
        return tuple(parameter.name for parameter in self.parameters)

    @property
    def dimension(self) -> int:
        """d."""
        return len(self.parameters)

    def center(self) -> Params:
        """The search centre: every `mean`, or the feasible point nearest to it."""
        return self.from_unit(self.center_unit)

    @cached_property
    def center_unit(self) -> Array:
        """(d,) the search centre."""
        wanted = self.snap(self.means_unit[None])
        if self.feasible(wanted)[0]:
            return cast(Array, wanted[0])
        # Move only the parameters that constraints mention, when that is enough.
        mentioned = np.isin(self.names, [name for constraint in self.constraints for name in constraint.names])
        moved = self._keep(np.where(mentioned, self.stock, wanted))
        options = moved if len(moved) else self.stock
        return cast(Array, options[int(np.argmin(np.linalg.norm(options - wanted, axis=1)))])

    @cached_property
    def means_unit(self) -> Array:
        """(d,) every `mean`, whatever constraints say."""
        return np.array([_mean_unit(parameter) for parameter in self.parameters])

    @cached_property
    def middle_unit(self) -> Array:
        """(d,) where the search would begin if nobody had written a centre; that centre where the constraints forbid
        it.
        """
        middle = self.snap(np.where(self.is_believed & ~self.is_choice, 0.0, self.center_unit)[None])
        return cast(Array, middle[0] if self.feasible(middle)[0] else self.center_unit)

    @cached_property
    def scales_unit(self) -> Array:
        """(d,) half-width of the search around a centre; categoricals have 1."""
        return np.array(
            [parameter.scale if isinstance(parameter, NumericParameter) else 1.0 for parameter in self.parameters]
        )

    @cached_property
    def is_choice(self) -> NDArray[np.bool_]:
        """(d,) whether each parameter has no order."""
        return np.array([isinstance(parameter, CategoricalParameter) for parameter in self.parameters], dtype=bool)

    @cached_property
    def is_believed(self) -> NDArray[np.bool_]:
        """(d,) whether somebody wrote each parameter's centre or scale."""
        return np.array([parameter.is_believed for parameter in self.parameters], dtype=bool)

    @cached_property
    def cell_widths(self) -> Array:
        """(d,) distance between neighbouring valid values; 0 where there is none or it varies."""
        return np.array([_cell_width(parameter) for parameter in self.parameters])

    def to_unit(self, params: Params) -> Array:
        """(d,) unit coordinates; inactive parameters take the search centre's.

        Raises:
            SpaceError: a parameter is missing, of the wrong type or no choice; values beyond the bounds are mapped
                beyond [-1, 1].
        """
        row = self.embed(params)
        problems = [
            (name, "missing")
            for name in self.names
            if name not in params and self.active(row[None])[0][self.names.index(name)]
        ]
        given = [parameter for parameter in self.parameters if parameter.name in params]
        nowhere = [parameter for parameter in given if not np.isfinite(_coordinate(parameter, params[parameter.name]))]
        problems += [(one.name, text) for one in nowhere if (text := one.problem(params[one.name]))]
        if problems:
            raise SpaceError(*problems)
        return row

    def embed(self, params: Params) -> Array:
        """(d,) like `to_unit`, but forgiving: what is missing, unknown or not finite takes the search centre's
        coordinate.

        What lies far outside keeps its side, and its order beyond 100, but not its distance.
        """
        row = np.array([_coordinate(parameter, params.get(parameter.name)) for parameter in self.parameters])
        row = squash(np.where(np.isfinite(row), row, self.means_unit), FAR)
        return np.where(self.active(row[None])[0], row, self.means_unit)

    def from_unit(self, point_unit: Array) -> dict[str, ParamValue]:
        """Natural values and types of one point, fixed values included, inactive parameters left out."""
        point = np.asarray(point_unit, dtype=float)[None]
        active = self.active(point)[0]
        free = {
            parameter.name: _native(parameter, point[0, i]) for i, parameter in enumerate(self.parameters) if active[i]
        }
        return {**free, **self.fixed}

    def columns(self, points_unit: Array) -> dict[str, NDArray[Any]]:
        """Natural values by name, each (n,), as constraints see them."""
        length = len(points_unit)
        free = {parameter.name: column(parameter, points_unit[:, i]) for i, parameter in enumerate(self.parameters)}
        return {**free, **{name: constant(value, length) for name, value in self.fixed.items()}}

    def active(self, points_unit: Array) -> NDArray[np.bool_]:
        """(n, d) whether each parameter exists at each point."""
        active = np.ones(points_unit.shape, dtype=bool)
        if not self.conditions:
            return active
        columns, index = self.columns(points_unit), {name: i for i, name in enumerate(self.names)}
        for name in self._condition_order:
            condition = self.conditions[name]
            parents = [active[:, index[parent]] for parent in condition.names if parent in index]
            active[:, index[name]] = np.logical_and.reduce([condition(columns), *parents])
        return active

    def snap(self, points_unit: Array) -> Array:
        """(n, d) the nearest valid points: whole numbers and choices at their cells' centres, inactive parameters at
        the search centre.
        """
        snapped = np.column_stack(
            [_snap(parameter, points_unit[:, i]) for i, parameter in enumerate(self.parameters)] or [points_unit]
        )
        if not self.conditions:
            return snapped
        return np.where(self.active(snapped), snapped, self.means_unit)

    def feasible(self, points_unit: Array) -> NDArray[np.bool_]:
        """(n,) whether all constraints hold."""
        holds = np.ones(len(points_unit), dtype=bool)
        if not self.constraints or not len(points_unit):
            return holds
        columns, active = self.columns(points_unit), self.active(points_unit)
        index = {name: i for i, name in enumerate(self.names)}
        for constraint in self.constraints:
            parents = [active[:, index[name]] for name in constraint.names if name in index]
            applies = np.logical_and.reduce(parents) if parents else np.ones(len(points_unit), dtype=bool)
            holds &= constraint(columns) | ~applies
        return holds

    def contains(self, params: Params) -> bool:
        """Whether `params` is a point of this space: every active parameter present, typed and inside its bounds,
        constraints kept.
        """
        row = self.embed(params)
        active = self.active(row[None])[0]
        for parameter, exists in zip(self.parameters, active, strict=True):
            if exists != (parameter.name in params) or (exists and parameter.problem(params[parameter.name])):
                return False
        return all(params.get(name, value) == value for name, value in self.fixed.items()) and self.is_feasible(params)

    def is_feasible(self, params: Params) -> bool:
        """Whether the constraints hold at `params`."""
        return bool(self.feasible(self.embed(params)[None])[0])

    def sample(self, count: int, draw: Draw) -> Array:
        """Feasible points from a proposal.

        Args:
            count: how many points are wanted.
            draw: n -> (n, d) proposals in unit space; snapped and filtered here.

        Returns:
            (count, d) feasible points. Where the constraints leave little room the rest comes from a stock of feasible
            points.
        """
        found = [self._keep(draw(count))]
        while (have := sum(map(len, found))) < count and len(found) < 4:
            found.append(self._keep(draw(2 * count)))
        if have < count:
            wanted = self.snap(draw(count - have))
            # The stock point nearest to each missing proposal keeps the proposal's spread.
            distances = np.linalg.norm(wanted[:, None, :] - self.stock[None, :, :], axis=2)
            found.append(self.stock[np.argmin(distances, axis=1)])
        return np.concatenate(found)[:count]

    def encode(self, points_unit: Array) -> Array:
        """(n, p) model features: numeric coordinates as they are; a choice as one of k columns, any two choices 2
        apart.
        """
        blocks = []
        for i, parameter in enumerate(self.parameters):
            column = points_unit[:, i]
            if isinstance(parameter, CategoricalParameter):
                codes = parameter.codes(column)
                blocks.append(np.sqrt(2.0) * (codes[:, None] == np.arange(len(parameter.choices))[None]))
            else:
                blocks.append(column[:, None])
        return np.hstack(blocks) if blocks else np.zeros((len(points_unit), 0))

    @cached_property
    def feature_groups(self) -> NDArray[np.int64]:
        """(p,) index of the parameter that each feature belongs to: one lengthscale each."""
        widths = [
            len(parameter.choices) if isinstance(parameter, CategoricalParameter) else 1
            for parameter in self.parameters
        ]
        return np.repeat(np.arange(self.dimension), widths)

    def to_config(self) -> dict[str, dict[str, Any]]:
        """Dotted configuration from which `from_config` (with the constraints' texts) builds an equal space."""
        config = {parameter.name: parameter_config(parameter) for parameter in self.parameters}
        return {**config, **{name: {"value": value} for name, value in self.fixed.items()}}

    @cached_property
    def every_point(self) -> Array | None:
        """(n, d) all feasible points; None where a number is continuous or there are more than 4096 combinations."""
        grid = every_combination(self.parameters, EVERY_POINT)
        return None if grid is None else np.unique(self._keep(grid), axis=0)

    @cached_property
    def doubts(self) -> tuple[Keyed, ...]:
        """Conditions and constraints that never or always hold, one line each, the key first."""
        return doubts(self.parameters, self.fixed, self.constraints, self.conditions)

    @cached_property
    def stock(self) -> Array:
        """(<= 256, d) feasible points; empty when the constraints leave none."""
        if not self.dimension:
            nothing = np.zeros((1, 0))
            return nothing[self.feasible(nothing)]
        rng = np.random.default_rng(0)
        found, drawn = np.zeros((0, self.dimension)), 0
        while len(found) < STOCK_SIZE and drawn < STOCK_DRAWS:
            count = max(STOCK_SIZE, drawn)
            found = np.concatenate([found, self._keep(rng.uniform(-1.0, 1.0, (count, self.dimension)))])
            drawn += count
        return found[:STOCK_SIZE]

    @cached_property
    def _condition_order(self) -> tuple[str, ...]:
        """Conditional parameters, each after the ones that its condition mentions."""
        order: list[str] = []
        waiting = sorted(self.conditions)
        while waiting:
            ready = [name for name in waiting if not set(self.conditions[name].names) & set(waiting)]
            order += ready
            waiting = [name for name in waiting if name not in ready]
        return tuple(order)

    def _keep(self, points_unit: Array) -> Array:
        snapped = self.snap(points_unit)
        return snapped[self.feasible(snapped)]

    def __getstate__(self) -> dict[str, Any]:
        """Pickle what was given, not what was derived from it."""
        return {name: self.__dict__[name] for name in ("parameters", "fixed", "constraints", "conditions")}


def _mean_unit(parameter: Parameter) -> float:
    if isinstance(parameter, CategoricalParameter):
        return parameter.to_unit(parameter.mean)
    return float(parameter.to_unit(np.array([parameter.mean]))[0])


def _cell_width(parameter: Parameter) -> float:
    if isinstance(parameter, CategoricalParameter):
        return 2.0 / len(parameter.choices)
    if not parameter.distribution.step:
        return 0.0
    return float(2.0 * (1.0 + parameter.to_unit(np.array([parameter.low]))[0]))


def _coordinate(parameter: Parameter, value: object) -> float:
    if isinstance(parameter, CategoricalParameter):
        return parameter.to_unit(value)
    with np.errstate(all="ignore"):
        values = np.array([number_of(value)])
        unit = float(parameter.to_unit(values)[0])
        # A finite value of a narrow range may be further away than floats reach.
        return float(np.clip(unit, -1e300, 1e300)) if np.isfinite(parameter.distribution.forward(values)[0]) else unit


def _native(parameter: Parameter, unit: float) -> ParamValue:
    if isinstance(parameter, CategoricalParameter):
        return parameter.choices[int(parameter.codes(np.array([unit]))[0])]
    value = float(parameter.from_unit(np.array([unit]))[0])
    return parameter.native(value if parameter.distribution.integer else parameter.shortest(value, unit))


def _snap(parameter: Parameter, unit: Array) -> Array:
    if isinstance(parameter, CategoricalParameter):
        return on_grid((2 * parameter.codes(unit) + 1) / len(parameter.choices) - 1)
    if parameter.distribution.integer:
        return parameter.to_unit(parameter.from_unit(unit))
    return on_grid(np.clip(unit, -1, 1))
