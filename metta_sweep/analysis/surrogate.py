"""What a Gaussian process believes about a finished sweep: score and cost at any point, with their uncertainty.

The same kernel and prior as the optimiser's, fitted once to all completed runs: it says what the data say, where the
optimiser's own models also depend on the order in which the runs came. Notation: n runs, d parameters, m query points.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from metta_sweep.analysis.pareto import direction
from metta_sweep.registry.records import RunState
from searchers import CategoricalParameter, NumericParameter, Space
from searchers.gp import Data, GaussianProcess, fit
from searchers.kernel import Hyperparameters, Layout
from searchers.noise import Noise

Array = NDArray[np.float64]
QUANTILE_90 = 1.6448536269514722
MIN_RUNS = 6
MAX_ROWS = 600
FIT_ROWS = 200
SLICE_POINTS = 41
CONTOUR_POINTS = 31
FRONT_CANDIDATES = 3000


@dataclass(frozen=True)
class Response:
    """A Gaussian process of one quantity over the unit cube.

    Attributes:
        gp: posterior of (y - mean) / std.
        rows: (n, p) features of its runs.
        y: (n,) standardised targets.
        mean: of the targets.
        std: of the targets.
    """

    gp: GaussianProcess
    rows: Array
    y: Array
    mean: float
    std: float

    @classmethod
    def of(cls, space: Space, points_unit: Array, values: Array) -> Response:
        """Fit to (n, d) points and their (n,) values; hyperparameters on `FIT_ROWS` of them, evenly taken."""
        rows = space.encode(points_unit)
        mean, std = float(values.mean()), float(values.std()) or 1.0
        y = (values - mean) / std
        data = Data(rows, Noise.independent(len(rows)), Layout(space.feature_groups))
        chosen = np.unique(np.linspace(0, len(rows) - 1, min(FIT_ROWS, len(rows))).astype(np.int64))
        hyper = fit(data.rows(chosen), y[chosen], Hyperparameters.prior(data.layout))
        return cls(conditioned(data, y, hyper), rows, y, mean, std)

    def predict(self, rows: Array) -> tuple[Array, Array]:
        """(m,) mean and standard deviation of the noiseless quantity."""
        mean, std = self.gp.mean_std(rows)
        return self.mean + self.std * mean, self.std * std

    def resampled(self, index: NDArray[np.int64]) -> Response:
        """The same model on a bootstrap sample of its runs."""
        rows, y = self.rows[index], self.y[index]
        data = Data(rows, Noise.independent(len(index)), self.gp.data.layout)
        return Response(conditioned(data, y, self.gp.hyper), rows, y, self.mean, self.std)

    @property
    def noise(self) -> float:
        """Standard deviation between runs of the same point, as learned."""
        return self.std * math.sqrt(self.gp.hyper.noise)

    def leave_one_out(self) -> Array:
        """(n,) prediction of each run from all others: y_i - alpha_i / (K^-1)_ii.

        Source: Rasmussen and Williams 2006, Gaussian Processes for Machine Learning, equation 5.12.
        """
        inverse = np.linalg.inv(self.gp.factor)
        predicted: Array = self.mean + self.std * (self.y - self.gp.alpha / (inverse**2).sum(axis=0))
        return predicted

    def r_squared(self) -> float:
        """Share of the variance that leave-one-out predictions explain; below 0 when they are worse than the mean."""
        values = self.mean + self.std * self.y
        return 1.0 - float(((values - self.leave_one_out()) ** 2).sum() / ((values - values.mean()) ** 2).sum())


def interval_frame(mean: Array, std: Array) -> pd.DataFrame:
    """Columns mean, low, high: the central 90 % interval of (m,) Gaussian predictions."""
    return pd.DataFrame({"mean": mean, "low": mean - QUANTILE_90 * std, "high": mean + QUANTILE_90 * std})


def conditioned(data: Data, y: Array, hyper: Hyperparameters) -> GaussianProcess:
    gp = GaussianProcess.condition(data, hyper)
    gp.set_targets(y)
    return gp


@dataclass(frozen=True)
class Surrogate:
    """Beliefs about score and log cost.

    Attributes:
        space: what was searched.
        goal: maximize or minimize.
        points_unit: (n, d) the runs it was fitted to.
        score: in the sweep's own direction.
        log_cost: natural logarithm of `cost_seconds`.
        num_left_out: completed runs beyond `MAX_ROWS` that it does not know.
        counts: how many of its runs have each parameter; fewer than `MIN_RUNS` say nothing about it.
    """

    space: Space
    goal: str
    points_unit: Array
    score: Response
    log_cost: Response
    num_left_out: int
    counts: Mapping[str, int] = field(default_factory=dict)

    def score_band(self, points_unit: Array) -> pd.DataFrame:
        """Columns mean, low, high: central 90 % interval of the noiseless score at (m, d) points."""
        return interval_frame(*self.score.predict(features(self.space, points_unit)))

    def cost(self, points_unit: Array) -> Array:
        """(m,) median cost in the sweep's cost unit."""
        costs: Array = np.exp(np.clip(self.log_cost.predict(features(self.space, points_unit))[0], -60.0, 60.0))
        return costs

    def says_of(self, name: str) -> str:
        """What to say beside a parameter that not all runs have; "" when all have it."""
        total = len(self.points_unit)
        return active_in(self.counts.get(name, total), total, MIN_RUNS)

    def is_unknown(self, name: str) -> bool:
        """Whether so few runs have the parameter that nothing can be said of its effect."""
        return self.counts.get(name, MIN_RUNS) < MIN_RUNS


def active_in(count: int, total: int, enough: int) -> str:
    """What to say of a parameter that `count` of `total` runs have; "" when all have it."""
    if count == total:
        return ""
    return f"active in {count} of {total} runs" + (": too few to tell" if count < enough else "")


def features(space: Space, points_unit: Array) -> Array:
    """(m, p) what the models see of (m, d) points: a parameter that does not exist there has no effect there."""
    if space.conditions:
        center = space.embed({})
        points_unit = np.where(space.active(points_unit), points_unit, center)
    return space.encode(points_unit)


def fit_surrogate(runs: pd.DataFrame, space: Space, goal: str) -> Surrogate | None:
    """Fit to the completed runs; None with fewer than `MIN_RUNS` of them, or without a free parameter.

    Args:
        runs: a frame of `metta_sweep.analysis.frame`.
        space: parameters that runs lack take the search centre's value.
    """
    is_known = (runs["state"] == RunState.COMPLETED) & runs["score"].notna() & (runs["cost_seconds"] > 0)
    done = runs[is_known].sort_values("sequence")
    if len(done) < MIN_RUNS or not space.dimension:
        return None
    kept = done if len(done) <= MAX_ROWS else done[representative(done["score"], goal, MAX_ROWS)]
    points = np.array([space.embed(params) for params in kept["params"]])
    score = Response.of(space, points, kept["score"].to_numpy())
    log_cost = Response.of(space, points, np.log(kept["cost_seconds"].to_numpy()))
    counts = {name: sum(name in params for params in kept["params"]) for name in space.names}
    return Surrogate(space, goal, points, score, log_cost, len(done) - len(kept), counts)


def representative(score: pd.Series[float], goal: str, limit: int) -> NDArray[np.bool_]:
    """Mask of `limit` runs: a third the best, the rest evenly over time."""
    utility = direction(goal) * score.to_numpy()
    best = np.argsort(-utility, kind="stable")[: limit // 3]
    rest = np.setdiff1d(np.arange(len(utility)), best)
    evenly = rest[np.linspace(0, len(rest) - 1, limit - len(best)).astype(int)]
    return np.isin(np.arange(len(utility)), np.union1d(best, evenly))


def axis_units(space: Space, name: str, count: int) -> tuple[Array, list[Any]]:
    """(k,) unit coordinates along a parameter and their natural values; k = number of choices of a categorical."""
    parameter = next(one for one in space.parameters if one.name == name)
    if isinstance(parameter, CategoricalParameter):
        return np.array([parameter.to_unit(choice) for choice in parameter.choices]), list(map(str, parameter.choices))
    assert isinstance(parameter, NumericParameter)
    unit = np.linspace(-1.0, 1.0, count)
    return unit, [parameter.native(value) for value in parameter.from_unit(unit)]


def slice_along(surrogate: Surrogate, name: str, at: Mapping[str, Any]) -> pd.DataFrame:
    """Predicted score along one parameter, the others held: columns value, mean, low, high, cost."""
    unit, values = axis_units(surrogate.space, name, SLICE_POINTS)
    points = np.repeat(surrogate.space.embed(at)[None], len(unit), axis=0)
    points[:, surrogate.space.names.index(name)] = unit
    return surrogate.score_band(points).assign(value=values, cost=surrogate.cost(points))


@dataclass(frozen=True)
class Contour:
    """Predicted score over two parameters: natural values of the axes; (len(y), len(x)) mean and deviation."""

    x: list[Any]
    y: list[Any]
    mean: Array
    std: Array


def contour(surrogate: Surrogate, x: str, y: str, at: Mapping[str, Any]) -> Contour:
    """The model over a pair of parameters."""
    space = surrogate.space
    (x_unit, x_values), (y_unit, y_values) = (axis_units(space, name, CONTOUR_POINTS) for name in (x, y))
    points = np.repeat(space.embed(at)[None], len(x_unit) * len(y_unit), axis=0)
    points[:, space.names.index(x)] = np.tile(x_unit, len(y_unit))
    points[:, space.names.index(y)] = np.repeat(y_unit, len(x_unit))
    mean, std = surrogate.score.predict(features(space, points))
    shape = (len(y_unit), len(x_unit))
    return Contour(x_values, y_values, mean.reshape(shape), std.reshape(shape))


def predicted_front(surrogate: Surrogate, rng: np.random.Generator) -> pd.DataFrame:
    """The best predicted score at each predicted cost, of random points and the runs: columns cost, mean, low, high.

    Points dearer than the dearest run are left out: the model knows nothing of them.
    """
    space = surrogate.space
    drawn = space.sample(FRONT_CANDIDATES, lambda count: rng.uniform(-1.0, 1.0, (count, space.dimension)))
    points = np.vstack([surrogate.points_unit, drawn])
    band = surrogate.score_band(points).assign(cost=surrogate.cost(points))
    dearest = math.exp(surrogate.log_cost.mean + surrogate.log_cost.std * float(surrogate.log_cost.y.max()))
    band = band[band["cost"] <= dearest].sort_values("cost")
    utility = direction(surrogate.goal) * band["mean"].to_numpy()
    before = np.concatenate(([-np.inf], np.maximum.accumulate(utility)[:-1]))
    front = band[utility > before]
    # Of points that cost the same to a hundredth only the best: the others would be drawn as a wall.
    is_last = np.append(np.diff(np.log(front["cost"].to_numpy())) > 0.01, True)
    return front[is_last].reset_index(drop=True)


def bounds_hit(
    surrogate: Surrogate, front_points_unit: Array, *, margin: float = 0.1, share: float = 0.5
) -> list[tuple[str, str]]:
    """Parameters of whose best points at least `share` lie within `margin` of a bound: (name, "min" | "max").

    Args:
        front_points_unit: (k, d) the best runs' points.
    """
    hits = []
    for index, parameter in enumerate(surrogate.space.parameters):
        if isinstance(parameter, CategoricalParameter) or not len(front_points_unit):
            continue
        column = front_points_unit[:, index]
        for side, near in (("min", column <= -1.0 + 2 * margin), ("max", column >= 1.0 - 2 * margin)):
            if near.mean() >= share:
                hits.append((parameter.name, side))
    return hits
