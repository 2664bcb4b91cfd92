"""Our own methods."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from searchers import Observation, Params, Protein, ProteinConfig, RunningCurve, Suggestion, make_searcher
from tests.benchmarks.search.harness import MakeMethod
from tests.benchmarks.search.tasks import Run, Task


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


class EarlyStopping(Ours):
    """A searcher that also stops runs by its own advice, at the points of their learning curves."""

    def __init__(self, searcher: Any, fidelity: str | None) -> None:
        super().__init__(searcher)
        self.fidelity = fidelity

    def watch(self, params: Params, run: Run) -> Run:
        """See `harness.StopsRuns`.

        The model is that of the run's start: with one run at a time nothing else ends meanwhile.
        """
        if not run.curve or self.fidelity is None:
            return run
        total = int(float(params[self.fidelity]))
        training_seconds = run.curve[-1].seconds * total / run.curve[-1].env_steps
        for count in range(1, len(run.curve) + 1):
            if self.searcher.advise(RunningCurve(params, run.curve[:count], total)).stop:
                return run.stopped_at(count, run.cost_seconds - training_seconds)
        return run


EarlierSweeps = Callable[[Task, int], Sequence[Sequence[Observation]]]


def protein(earlier: EarlierSweeps | None = None, **settings: Any) -> Callable[[Task, int], Ours]:
    """Protein for the best score within the task's budget, with other settings on top, and after earlier sweeps if some
    are given.
    """

    def make(task: Task, seed: int) -> Ours:
        config = replace(ProteinConfig(objective="best", budget=task.budget, fidelity=task.fidelity), **settings)
        sweeps = [] if earlier is None else earlier(task, seed)
        return Ours(Protein(task.space, config, task.goal, rng=np.random.default_rng(seed), earlier=sweeps))

    return make


def baseline(method: str) -> MakeMethod:
    def make(task: Task, seed: int) -> Ours:
        return Ours(make_searcher(method, task.space, ProteinConfig(), goal=task.goal, seed=seed))

    return make
