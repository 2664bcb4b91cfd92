"""All that the observations taught: score, cost, wall time and success models, and the front of what was run.

Direction is applied here, once, on entry: inside, larger is better.
"""

from __future__ import annotations

import logging
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from searchers.cost_model import LARGEST_RATIO, CostModel
from searchers.distributions import Array
from searchers.features import Features
from searchers.observation import FailureKind, Interval, Observation, Outcome, Params
from searchers.outliers import squash
from searchers.pareto import front_indices
from searchers.space import Space
from searchers.surrogate import ScoreModel, SuccessModel
from searchers.warm_start import Earlier, Trend, portfolio

logger = logging.getLogger(__name__)

QUANTILE_90 = 1.6448536269514722  # standard deviations from the mean to either end of a 90 % interval
RECOMMENDED = 20  # best points of each earlier sweep that may be tried first; not tuned
SHORTER = (0.33, 0.67)  # shares of a recommended point's length, on its axis, that may be tried, too; not tuned
INHERITED = 2  # so many of them per earlier sweep are; not tuned
LARGEST_LOG = 700.0  # the exponential of more is no float


@dataclass(frozen=True, slots=True)
class EvaluatedPoints:
    """The distinct completed points that the model holds; k of them.

    Attributes:
        points_unit: (k, d).
        mean: (k,) posterior mean, z.
        log_cost: (k,) mean log cost of the point's runs, outliers squashed.
        cost: (k,) geometric mean cost of the point's runs.
        runs: (k,) how often each was run.
        is_here: (k,) whether each is a point of the space, and not of an earlier phase's, as which it was run.
        observation: (k,) index of one of its observations.
        front: indices into these arrays, by increasing cost.
    """

    points_unit: Array
    mean: Array
    log_cost: Array
    cost: Array
    runs: NDArray[np.int64]
    is_here: NDArray[np.bool_]
    observation: NDArray[np.int64]
    front: NDArray[np.int64]

    @property
    def best(self) -> int:
        """Index of the incumbent: largest posterior mean, the cheaper of equals."""
        return int(np.lexsort((self.log_cost, -self.mean))[0])


@dataclass(frozen=True, slots=True)
class Predictions:
    """What is believed of m candidates; scores as z, larger is better.

    Attributes:
        mean: (m,) score.
        std: (m,) standard deviation of the noiseless score.
        log_cost: (m,) mean log cost, in the sweep's cost unit; 0 without a cost model.
        log_wall: (m,) mean log wall seconds; -inf without a cost model.
        success: (m,) probability that the run does not fail.
    """

    mean: Array
    std: Array
    log_cost: Array
    log_wall: Array
    success: Array


@dataclass
class SurrogateModels:
    """The models over one space.

    Attributes:
        space: candidates' space; observations of other spaces are embedded.
        features: rows of the models.
        sign: +1 to maximise, -1 to minimise.
        earlier: what earlier sweeps taught, of those that taught anything about scores.
    """

    space: Space
    features: Features
    sign: float
    earlier: tuple[Earlier, ...] = ()
    observations: list[Observation] = field(default_factory=list)
    points_unit: list[Array] = field(default_factory=list)
    spent: float = 0.0
    score: ScoreModel = field(init=False)
    cost: CostModel = field(init=False)
    success: SuccessModel = field(init=False)
    _wall: CostModel | None = None
    _keys: Counter[bytes] = field(default_factory=Counter)
    _here: set[bytes] = field(default_factory=set)
    _numbers: dict[bytes, int] = field(default_factory=dict)
    _identities: list[int] = field(default_factory=list)
    _log_costs: list[float] = field(default_factory=list)
    _evaluated: EvaluatedPoints | None = None

    def __post_init__(self) -> None:
        self.score = ScoreModel(self.features, Trend.fresh(self.earlier) if self.earlier else None)
        self.cost = CostModel(self.features)
        self.success = SuccessModel(self.features, self.earlier)

    def observe(self, observation: Observation) -> None:
        """Learn from one more run, in the order of the history."""
        self.observe_all([observation])

    def observe_all(self, observations: Sequence[Observation]) -> None:
        """Learn from several runs in the order of the history, at the price of one."""
        first = len(self.observations)
        points = [self._remember(observation) for observation in observations]
        runs = [
            (first + offset, observation, point)
            for offset, (observation, point) in enumerate(zip(observations, points, strict=True))
            if observation.failure not in (FailureKind.INFRASTRUCTURE, FailureKind.CODE)
        ]
        if not runs:
            return
        scored = [run for run in runs if run[1].score is not None]
        try:
            self.success.observe_all([(observation, point) for _, observation, point in runs])
            self._observe_costs([(observation, point) for _, observation, point in scored])
        except np.linalg.LinAlgError:
            # Both take all rows at their next fit; until then they know what they knew.
            logger.warning(
                "observation %d: the models of success and cost could not be factorised", len(self.observations) - 1
            )
        if scored:
            self.score.observe_all([(index, self._directed(one), point) for index, one, point in scored])

    def _remember(self, observation: Observation) -> Array:
        """(d,) the run's point."""
        point = self.space.embed(observation.params)
        self.observations.append(observation)
        self.points_unit.append(point)
        self._identities.append(self._numbers.setdefault(point.tobytes(), len(self._numbers)))
        self._log_costs.append(math.log(observation.cost_seconds))
        self.spent += observation.cost_seconds
        self._evaluated = None
        if observation.failure not in (FailureKind.INFRASTRUCTURE, FailureKind.CODE):
            self._keys[point.tobytes()] += 1
            if self.space.contains(observation.params):
                self._here.add(point.tobytes())
        return point

    def learn_scores(self, observations: Sequence[Observation]) -> None:
        """Learn the scores of many runs at once, and nothing else of them; not to be mixed with `observe`.

        Args:
            observations: runs with a score.

        Raises:
            numpy.linalg.LinAlgError: the model cannot be factorised.
        """
        points = [self.space.embed(one.params) for one in observations]
        self.score.observe_all(
            [
                (index, self._directed(one), point)
                for index, (one, point) in enumerate(zip(observations, points, strict=True))
            ]
        )
        if self.score.gp is None:
            raise np.linalg.LinAlgError(f"no model of {len(observations)} scores can be factorised")

    def _directed(self, observation: Observation) -> Observation:
        """The observation with larger scores better."""
        if self.sign > 0 or observation.score is None:
            return observation
        curve = tuple(replace(point, score=-point.score) for point in observation.curve)
        return replace(observation, score=-observation.score, curve=curve)

    def _observe_costs(self, runs: Sequence[tuple[Observation, Array]]) -> None:
        known = [(self._cost_row(*run), run[0]) for run in runs]
        costs = [(row, one.cost_seconds) for row, one in known if row is not None]
        walls = [(row, one.wall_seconds or one.cost_seconds) for row, one in known if row is not None]
        if not costs:
            return
        if self._wall is None and any(wall != cost for (_, wall), (_, cost) in zip(walls, costs, strict=True)):
            self._wall = self.cost.copy()
        self.cost.observe_all(costs)
        if self._wall is not None:
            self._wall.observe_all(walls)

    def _cost_row(self, observation: Observation, point: Array) -> Array | None:
        """(p,) what the run's cost is the cost of; None where a partial one says nothing about a whole run."""
        if observation.outcome is Outcome.STOPPED_EARLY and self.features.length_index is None:
            return None  # the training length is not known
        row = self.features.row(observation.params, point)
        share = self.features.completed_share(observation, self.features.total_steps(observation.params))
        if share < 1.0:
            row = self.features.partial(row, share)
            row[-1] = 0.0
        return row

    @property
    def num_scored(self) -> int:
        """Runs with a score."""
        return self.score.num_finals

    @property
    def has_completed(self) -> bool:
        """Whether a run was completed with a score."""
        return len(self.score.fitted()[0]) > 0

    def times_run(self, point_unit: Array) -> int:
        """How often exactly this point has been observed (infrastructure failures do not count)."""
        return self._keys[point_unit.tobytes()]

    def is_repeat(self, point_unit: Array) -> bool:
        """Whether a run at this point repeats an earlier one.

        A run of another phase may share its coordinates without being the same: one that lacks a parameter has the
        search centre's, and what lay beyond the bounds or had another fixed value is no point of this space.
        """
        return point_unit.tobytes() in self._here

    def inherited_points(self) -> Array:
        """(k, d) points that earlier sweeps recommend: worth a run before any design, the first one most; none as soon
        as the scores speak against them.
        """
        if self.score.trend is None or sum(self.score.trend.weights) <= 0:
            return np.zeros((0, self.space.dimension))
        points = np.concatenate([known.points()[:RECOMMENDED] for known in self.earlier])
        points = np.unique(self.space.snap(np.concatenate([points, *self.shorter(points)])), axis=0)
        points = points[self.space.feasible(points)]
        if not len(points):
            return points
        rows, centre = self.features.full(points), self.features.full(self.space.center_unit[None])
        values = np.array([known.mean(rows) for known in self.earlier])
        costs = np.mean([known.log_cost(rows) for known in self.earlier], axis=0)
        base = np.array([known.mean(centre)[0] for known in self.earlier])
        return points[portfolio(values, costs, base, INHERITED * len(self.earlier))]

    def shorter(self, points_unit: Array) -> list[Array]:
        """The same points at shorter training lengths, if it is searched."""
        index, found = self.features.length_index, list[Array]()
        for share in SHORTER if index is not None else ():
            points = points_unit.copy()
            points[:, index] = share * (points[:, index] + 1.0) - 1.0
            found.append(points)
        return found

    @property
    def evaluated(self) -> EvaluatedPoints:
        """What was run, by posterior mean. Costs O(n) once per observation: K alpha = y - noise * alpha.

        Raises:
            RuntimeError: nothing has a score yet.
        """
        if self._evaluated is None:
            self._evaluated = self._evaluate()
        return self._evaluated

    def _evaluate(self) -> EvaluatedPoints:
        index, means = self.score.fitted()
        if not len(index):
            raise RuntimeError("models: no run has a score yet")
        identities = np.array(self._identities)[index]
        _, first, member, counts = np.unique(identities, return_index=True, return_inverse=True, return_counts=True)
        log_cost = np.bincount(member, np.array(self._log_costs)[index]) / counts
        cost = np.exp(log_cost)
        log_cost = squash(log_cost, LARGEST_RATIO, float(np.median(log_cost)))
        mean = np.bincount(member, means) / counts
        run = index[first]
        points = np.array(self.points_unit)[run]
        runs = np.array([self._keys[self.points_unit[i].tobytes()] for i in run])
        is_here = np.array([self.is_repeat(point) for point in points])
        return EvaluatedPoints(points, mean, log_cost, cost, runs, is_here, run, front_indices(mean, log_cost))

    def predict(self, points_unit: Array) -> Predictions:
        """Predictions for whole runs at points (m, d)."""
        rows = self.features.full(points_unit)
        gp = self.score.gp
        mean, std = gp.mean_std(rows) if gp is not None else (np.zeros(len(rows)), np.ones(len(rows)))
        return Predictions(mean, std, self.log_cost(rows), self.log_wall(rows), self.success.probability(rows))

    def log_cost(self, rows: Array) -> Array:
        """(m,) mean log cost; 0 without a model."""
        return self.cost.mean(rows) if self.cost.is_ready else np.zeros(len(rows))

    def log_wall(self, rows: Array) -> Array:
        """(m,) mean log wall seconds; -inf without a model."""
        model = self._wall or self.cost
        return model.mean(rows) if model.is_ready else np.full(len(rows), -np.inf)

    def longest(self, points_unit: Array, max_cost: float | None, budget: float | None = None) -> Array:
        """(m, d) the same points at the longest training length that `max_cost` wall seconds and `budget`, in the
        sweep's cost unit, allow.
        """
        index, parameter = self.features.length_index, self.features.length_parameter
        if index is None or parameter is None:
            return points_unit
        longest = points_unit.copy()
        longest[:, index] = 1.0
        longest = self.space.snap(longest)
        if (max_cost is None and budget is None) or not self.cost.is_ready:
            return longest
        rows, excess = self.features.full(longest), np.zeros(len(longest))
        for log_cost, limit in ((self.log_wall, max_cost), (self.log_cost, budget)):
            if limit is not None:
                excess = np.maximum(excess, log_cost(rows) - math.log(limit))
        steps = parameter.high * np.exp(-excess)
        longest[:, index] = parameter.to_unit(np.maximum(steps, parameter.low))
        return np.where((excess > 0)[:, None], self.space.snap(longest), longest)

    def scores_of(self, z: Array) -> Array:
        """z -> scores in the sweep's own direction."""
        return self.sign * self.score.warp.inverse(z)

    def score_intervals(self, mean: Array, std: Array) -> list[Interval]:
        """Central 90 % intervals of noiseless scores in the sweep's own direction, from the models' z."""
        ends = np.sort(self.sign * np.array(self.score.interval(mean, std, QUANTILE_90)), axis=0)
        return [
            Interval(float(m), float(a), float(b))
            for m, a, b in zip(self.scores_of(mean), ends[0], ends[1], strict=True)
        ]

    def cost_interval(self, point_unit: Array) -> Interval | None:
        """Predicted cost of one point (1, d), with its central 90 % interval."""
        if not self.cost.is_ready:
            return None
        mean, std = self.cost.predict(self.features.full(point_unit))
        low, middle, high = (
            math.exp(min(float(mean[0]) + k * QUANTILE_90 * float(std[0]), LARGEST_LOG)) for k in (-1, 0, 1)
        )
        return Interval(middle, low, high)

    def nearest(self, point_unit: Array, count: int) -> tuple[tuple[float, Params, float | None], ...]:
        """The nearest observed points: (distance in unit space, params, score)."""
        if not self.points_unit:
            return ()
        distance = np.linalg.norm(np.array(self.points_unit) - point_unit, axis=1)
        order = np.argsort(distance, kind="stable")[:count]
        return tuple((float(distance[i]), self.observations[i].params, self.observations[i].score) for i in order)
