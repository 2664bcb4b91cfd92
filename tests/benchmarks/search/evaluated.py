"""Tasks whose runs are evaluated over few or many episodes, as when an evaluation was changed in the middle of a sweep:
half of the scores are five times as uncertain as the others, and each tells its own standard error.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from searchers import CurvePoint, Observation, Params
from tests.benchmarks.search.harness import MakeMethod, Method
from tests.benchmarks.search.tasks import Problem, Run, Task

EPISODES = (4, 100)
# Standard deviation over episodes, as a share of the way from a typical random point to the optimum: a score over four
# of them is wrong by 0.15, one over a hundred by 0.03.
EPISODE_SPREAD = 0.3


@dataclass(frozen=True)
class Evaluated:
    """A problem whose scores are means over episodes.

    Attributes:
        problem: the truth, with what seeds add.
        spread: standard deviation over episodes, in units of the score.
    """

    problem: Problem
    spread: float

    def run(self, params: Params, rng: np.random.Generator) -> Run:
        run = self.problem.run(params, rng)
        if run.score is None:
            return run
        score, error = self._played(run.score, int(rng.choice(EPISODES)), rng)
        curve = tuple(self._point(point, rng) for point in run.curve)
        return replace(run, score=score, score_se=error, curve=curve)

    def _point(self, point: CurvePoint, rng: np.random.Generator) -> CurvePoint:
        score, error = self._played(point.score, min(EPISODES), rng)
        return replace(point, score=score, score_se=error)

    def _played(self, score: float, count: int, rng: np.random.Generator) -> tuple[float, float]:
        """Mean over so many episodes, and the standard error that they show."""
        episodes = score + self.spread * rng.standard_normal(count)
        return float(episodes.mean()), float(episodes.std(ddof=1)) / count**0.5

    def true_mean(self, params: Params) -> float:
        return self.problem.true_mean(params)


def evaluated(make: Callable[[int], Task]) -> Callable[[int], Task]:
    """The task with few or many episodes per score."""

    def made(seed: int) -> Task:
        task = make(seed)
        problem = Evaluated(task.problem, EPISODE_SPREAD * abs(task.optimum - task.floor))
        return replace(task, name=f"{task.name}-mixed", family="mixed evaluations", problem=problem)

    return made


class Untold:
    """A method that is not told the standard errors."""

    def __init__(self, method: Method) -> None:
        self.suggest, self.recommend, self._method = method.suggest, method.recommend, method

    def observe(self, observation: Observation) -> None:
        curve = tuple(replace(point, score_se=None) for point in observation.curve)
        self._method.observe(replace(observation, score_se=None, curve=curve))


def untold(make: MakeMethod) -> MakeMethod:
    return lambda task, seed: Untold(make(task, seed))
