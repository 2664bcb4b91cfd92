"""Protein with one part taken away or replaced: what each part gains."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import Any
from unittest.mock import patch

import numpy as np

from searchers import Observation, Params, Suggestion
from searchers.acquisition import Belief, Outlook
from searchers.acquisition_functions import log_expected_improvement
from searchers.distributions import Array
from searchers.features import Features
from searchers.objectives import ExpectedImprovement
from tests.benchmarks.search.harness import MakeMethod
from tests.benchmarks.search.ours import EarlierSweeps, EarlyStopping, Ours, protein
from tests.benchmarks.search.tasks import Task

ALMOST_0 = math.log(1e-4)
EARLIER_RUNS = 40


class Ablated(Ours):
    """A searcher with other parts in `searchers`, for this one only."""

    def __init__(self, searcher: Any, parts: Mapping[str, Any]) -> None:
        super().__init__(searcher)
        self.parts = parts

    def observe(self, observation: Observation) -> None:
        with self._replaced():
            super().observe(observation)

    def suggest(self, pending: Sequence[Params] = ()) -> Suggestion:
        with self._replaced():
            return super().suggest(pending)

    def _replaced(self) -> ExitStack:
        stack = ExitStack()
        for name, part in self.parts.items():
            stack.enter_context(patch(f"searchers.{name}", part))
        return stack


def ablated(parts: Mapping[str, Any]) -> MakeMethod:
    """Protein with other parts, by their path in `searchers`."""
    return lambda task, seed: Ablated(protein()(task, seed).searcher, parts)


def random_runs(sign: float) -> EarlierSweeps:
    """An earlier sweep of random runs on the same task; sign -1 turns its scores the wrong way round."""

    def earlier(task: Task, seed: int) -> list[list[Observation]]:
        rng = np.random.default_rng([seed, 2])
        points = task.space.sample(EARLIER_RUNS, lambda count: rng.uniform(-1, 1, (count, task.space.dimension)))
        runs = [(params, task.problem.run(params, rng)) for params in map(task.space.from_unit, points)]
        return [
            [Observation(params, sign * run.score, run.cost_seconds) for params, run in runs if run.score is not None]
        ]

    return earlier


def _curve_point_as_short_run(features: Features, full_row: Array, share: float) -> Array:
    row = _PARTIAL(features, full_row, share)
    if features.curve_points and features.length_column is not None:
        row[-1] = 0.0
    return row


def _own_improvement(acquisition: ExpectedImprovement, outlook: Outlook, belief: Belief) -> Array:
    improves = log_expected_improvement(outlook.mean, outlook.std, belief.best)
    return improves - acquisition.cost_exponent * outlook.log_cost


_PARTIAL = Features.partial

ABLATIONS: dict[str, MakeMethod] = {
    "front": protein(acquisition="front"),
    "initial-8": protein(num_random_samples=8),
    "resample-5": protein(resample_frequency=5),
    "no-refinement": ablated({"proposer.REFINEMENTS": ()}),
    "no-look-ahead": ablated({"objectives.ExpectedImprovement.value": _own_improvement}),
    "no-cost": ablated({"acquisition.cost_exponent": lambda models, config: 0.0}),
    "per-cost": ablated({"acquisition.cost_exponent": lambda models, config: 1.0}),
    "no-budget": protein(budget=None),
    "no-margin": ablated({"acquisition.CLEARLY_BETTER": 0.0}),
    "no-sceptic": ablated({"objectives.SCEPTICAL_EVERY": 10**9}),
    "independent-curves": ablated({"noise.SHARED": 0.0}),
    "no-trend": ablated({"kernel.LOG_TREND_MEAN": ALMOST_0, "kernel.BOUNDS_TREND": (ALMOST_0, ALMOST_0)}),
    "no-growth": ablated({"kernel.GROWTH_MEAN": 0.0, "kernel.BOUNDS_GROWTH": (0.0, 0.0)}),
    "no-curves": protein(curve_points=0),
    "curves-as-runs": ablated({"features.Features.partial": _curve_point_as_short_run}),
    "fixed-lengths": ablated({"kernel.LOG_LENGTH_SD": 1e-3}),
    "small-noise": ablated({"kernel.BOUNDS_NOISE": (math.log(1e-5), math.log(1e-4))}),
    "no-warp": ablated({"warp._bend": lambda values: values, "warp._unbend": lambda values: values}),
    "no-success-model": ablated({"surrogate.SuccessModel.probability": lambda model, rows: np.ones(len(rows))}),
    "no-believer": ablated({"gp.GaussianProcess.believe": lambda gp, x: gp}),
    "early-stopping": lambda task, seed: EarlyStopping(protein()(task, seed).searcher, task.fidelity),
    "warm-start": protein(earlier=random_runs(1.0)),
    "warm-start-wrong": protein(earlier=random_runs(-1.0)),
}
