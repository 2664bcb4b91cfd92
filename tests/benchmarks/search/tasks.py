"""What a benchmark task is: a search space, a noisy run with a cost, and the truth that only the judge sees."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np

from searchers import CurvePoint, FailureKind, Goal, Observation, Outcome, Params, Space


@dataclass(frozen=True)
class Run:
    """One simulated run; `score` is None when it failed by its hyperparameters, and that of the last curve point when
    it was stopped early.
    """

    score: float | None
    cost_seconds: float
    curve: tuple[CurvePoint, ...] = ()
    is_stopped: bool = False
    score_se: float | None = None

    def observation(self, params: Params) -> Observation:
        if self.score is None:
            return Observation.failed(params, self.cost_seconds, FailureKind.HYPERPARAMETERS)
        outcome = Outcome.STOPPED_EARLY if self.is_stopped else Outcome.COMPLETED
        told = {"curve": self.curve, "score_se": self.score_se}
        return Observation(params, self.score, self.cost_seconds, outcome, **told)

    def stopped_at(self, count: int, overhead_seconds: float) -> Run:
        """The run as it is when it is stopped after its first `count` curve points."""
        curve = self.curve[:count]
        last = curve[-1]
        return Run(last.score, overhead_seconds + last.seconds, curve, is_stopped=True, score_se=last.score_se)


class Problem(Protocol):
    """The hidden truth of a task."""

    def run(self, params: Params, rng: np.random.Generator) -> Run:
        """A noisy run."""

    def true_mean(self, params: Params) -> float:
        """Mean score over seeds, in the task's own direction; the worst value for a point that fails."""


@dataclass(frozen=True)
class Task:
    """A problem with its budget and its scale.

    Attributes:
        name: unique.
        family: tasks that are averaged together.
        problem: the truth.
        parameters: search space, as configuration.
        constraints: of the space.
        goal: direction of the score.
        budget: total cost that a method may spend.
        optimum: true mean of the best point.
        fidelity: the parameter that sets the training length.
    """

    name: str
    family: str
    problem: Problem
    parameters: Mapping[str, Any]
    goal: Goal
    budget: float
    optimum: float
    constraints: Sequence[str] = ()
    fidelity: str | None = None
    reference_draws: int = 512

    @cached_property
    def space(self) -> Space:
        return Space.from_config(self.parameters, self.constraints)

    @cached_property
    def floor(self) -> float:
        """True mean of a typical random point: 0 % on the scale whose 100 % is the optimum."""
        rng = np.random.default_rng(0)
        points = self.space.sample(
            self.reference_draws, lambda count: rng.uniform(-1, 1, (count, self.space.dimension))
        )
        return float(np.median([self.problem.true_mean(self.space.from_unit(point)) for point in points]))

    def quality(self, params: Params) -> float:
        """Share of the way from a typical random point to the optimum."""
        return (self.problem.true_mean(params) - self.floor) / (self.optimum - self.floor)
