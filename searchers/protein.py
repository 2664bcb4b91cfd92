"""Protein: cost-aware Bayesian optimisation of (hyperparameters, training length)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from searchers.belief import CentrePrior
from searchers.config import ProteinConfig
from searchers.earlier import EarlierSweep, LearnedSweep
from searchers.early_stop import Advice, RunningCurve, advise
from searchers.features import Features
from searchers.observation import Interval, Observation, Params, Suggestion
from searchers.proposer import Proposer
from searchers.space import Space
from searchers.surrogate_models import SurrogateModels

Goal = Literal["maximize", "minimize"]


@dataclass(frozen=True, slots=True)
class Prediction:
    """What is believed of one point.

    Attributes:
        score: posterior of the noiseless score, with its 90 % interval; None before there is a score.
        cost: in the sweep's cost unit; None before there is a cost.
        success_probability: chance that the run does not fail by its hyperparameters.
    """

    score: Interval | None
    cost: Interval | None
    success_probability: float


@dataclass(frozen=True, slots=True)
class FrontPoint:
    """A point that was run and that no other beats in both score and cost.

    Attributes:
        params: natural units.
        score: posterior mean with its 90 % interval.
        cost: mean cost of its runs.
        runs: how often it was run.
    """

    params: Params
    score: Interval
    cost: float
    runs: int


class Protein:
    """Suggests what to run next from what was run so far.

    The n-th suggestion depends on seed, n, the observations in their order and the pending points: never on how often
    `suggest` was called. Models are fitted inside `observe`, off the path of `suggest`.
    """

    def __init__(
        self,
        space: Space,
        config: ProteinConfig | None = None,
        goal: Goal = "maximize",
        *,
        rng: np.random.Generator,
        earlier: Sequence[EarlierSweep | Sequence[Observation]] = (),
        since: Mapping[str, int] = MappingProxyType({}),
    ) -> None:
        """Start without observations.

        Args:
            space: what may be suggested.
            config: settings; None = defaults.
            goal: direction of the score.
            rng: gives the seed of this optimiser, once.
            earlier: earlier sweeps with the same goal, or their observations where they searched the same parameters.
            since: number of the run from which each search centre counts, by parameter; 0 where it is not named.
        """
        if goal not in ("maximize", "minimize"):
            raise ValueError(f"goal: need maximize or minimize, got {goal!r}")
        self.space = space
        self.config = config or ProteinConfig()
        self.goal = goal
        self._seed = int(rng.integers(2**63))
        self._earlier = tuple(one if isinstance(one, EarlierSweep) else EarlierSweep(tuple(one)) for one in earlier)
        self._next_number = 0
        features = Features.of(space, self.config.fidelity, self.config.curve_points)
        self._prior = CentrePrior(space, features.fidelity, since)
        sign = 1.0 if goal == "maximize" else -1.0
        learned = (LearnedSweep.of(sweep, features, sign) for sweep in self._earlier)
        self._models = SurrogateModels(space, features, sign, tuple(one for one in learned if one.has_scores))

    @property
    def observations(self) -> tuple[Observation, ...]:
        """The history, in order."""
        return tuple(self._models.observations)

    def observe(self, observation: Observation) -> None:
        """Learn from one run. Order matters: it is part of the history.

        Never fails: a model that cannot take the run in stays as it was, and the log says so.
        """
        self._models.observe(observation)

    @property
    def memory(self) -> dict[str, float]:
        """Present weight of each earlier sweep by its name: 0 = its scores say nothing here, below 0 = the contrary."""
        trend = self._models.score.trend
        return (
            {} if trend is None else {one.name: weight for one, weight in zip(trend.models, trend.weights, strict=True)}
        )

    def suggest(self, pending: Sequence[Params] = (), number: int | None = None) -> Suggestion:
        """The next point to run.

        Args:
            pending: points that were suggested and are not back yet.
            number: of this suggestion in the sweep; None = one more than the last.
        """
        number = self._next_number if number is None else number
        self._next_number = number + 1
        points = [self.space.embed(params) for params in pending]
        pending_unit = np.array(points).reshape(len(points), self.space.dimension)
        features = self._models.features
        pending_rows = np.array([features.row(*one) for one in zip(pending, points, strict=True)]).reshape(
            len(points), len(features.groups)
        )
        weights = self._prior.weights(self._models, number)
        proposer = Proposer(self._models, self.config, self._seed, weights)
        return proposer.suggest(number, pending_unit, pending_rows)

    def incumbent(self) -> FrontPoint | None:
        """The completed run with the best posterior mean (never merely the luckiest draw); None before there is one."""
        if not self._models.has_completed:
            return None
        evaluated = self._models.evaluated
        return self._front_points(np.array([evaluated.best]))[0]

    def front(self) -> tuple[FrontPoint, ...]:
        """The score-cost front of completed runs by posterior mean, cheapest first."""
        if not self._models.has_completed:
            return ()
        return tuple(self._front_points(self._models.evaluated.front))

    def predict(self, params: Params) -> Prediction:
        """What is believed of a run at `params`."""
        point = self.space.embed(params)[None]
        predictions = self._models.predict(point)
        score = self._models.score_intervals(predictions.mean, predictions.std)[0] if self._models.num_scored else None
        cost = self._models.cost_interval(point)
        return Prediction(score, cost, float(predictions.success[0]))

    def advise(self, curve: RunningCurve) -> Advice:
        """Whether a running run should be stopped early; see `early_stop`."""
        return advise(self._models, self.config, curve)

    def with_phase(self, space: Space, config: ProteinConfig) -> Protein:
        """A new optimiser over another space and with other settings: same seed, same observations; search centres that
        moved count from now on.
        """
        since = self._prior.moved(space, max(self._next_number, len(self.observations)))
        rng = np.random.default_rng(0)
        other = Protein(space, config, self.goal, rng=rng, earlier=self._earlier, since=since)
        other._seed, other._next_number = self._seed, self._next_number
        for observation in self._models.observations:
            other.observe(observation)
        return other

    def _front_points(self, index: NDArray[np.int64]) -> list[FrontPoint]:
        evaluated = self._models.evaluated
        points = evaluated.points_unit[index]
        predictions = self._models.predict(points)
        intervals = self._models.score_intervals(predictions.mean, predictions.std)
        observations = [self._models.observations[i] for i in evaluated.observation[index]]
        costs, runs = evaluated.cost[index], evaluated.runs[index]
        return [
            FrontPoint(observation.params, interval, float(cost), int(count))
            for observation, interval, cost, count in zip(observations, intervals, costs, runs, strict=True)
        ]
