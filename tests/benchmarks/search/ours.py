"""Our own methods."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from searchers import Observation, Params, Protein, ProteinConfig, Suggestion, make_searcher
from tests.benchmarks.search.harness import MakeMethod
from tests.benchmarks.search.tasks import Task


class Ours:
    """A searcher of ours behind the harness's contract."""

    def __init__(self, searcher: Any) -> None:
        self.searcher = searcher

    def observe(self, observation: Observation) -> None:
        self.searcher.observe(observation)

    def suggest(self, pending: Sequence[Params] = ()) -> Suggestion:
        suggestion: Suggestion = self.searcher.suggest(pending)
        return suggestion

    def recommend(self) -> Params | None:
        incumbent = self.searcher.incumbent()
        return None if incumbent is None else incumbent.params


EarlierRuns = Callable[[Task, int], Sequence[Observation]]


def protein(earlier: EarlierRuns | None = None, **settings: Any) -> Callable[[Task, int], Ours]:
    """Protein for the best score within the task's budget, with other settings on top, and after an earlier sweep if one is given."""

    def make(task: Task, seed: int) -> Ours:
        config = replace(ProteinConfig(objective="best", budget=task.budget, fidelity=task.fidelity), **settings)
        sweeps = [] if earlier is None else [earlier(task, seed)]
        return Ours(Protein(task.space, config, task.goal, rng=np.random.default_rng(seed), earlier=sweeps))

    return make


def baseline(method: str) -> MakeMethod:
    def make(task: Task, seed: int) -> Ours:
        return Ours(make_searcher(method, task.space, ProteinConfig(), goal=task.goal, seed=seed))

    return make
