"""Runs one method on one task on a simulated clock, with any number of parallel slots."""

from __future__ import annotations

import heapq
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import numpy as np

from searchers import Observation, Params, Suggestion
from tests.benchmarks.search.tasks import Run, Task


class Method(Protocol):
    """What the harness asks of an optimiser."""

    def observe(self, observation: Observation) -> None: ...

    def suggest(self, pending: Sequence[Params] = ()) -> Suggestion: ...

    def recommend(self) -> Params | None: ...


@runtime_checkable
class StopsRuns(Protocol):
    """A method that may stop a run early."""

    def watch(self, params: Params, run: Run) -> Run:
        """The run as far as it gets."""


MakeMethod = Callable[[Task, int], Method]


@dataclass
class Trace:
    """What happened, in order of completion.

    Attributes:
        cost: total cost that had been committed when each run ended.
        ended: total cost of the runs that had ended by then, this one included.
        quality: true quality of each run's point (0 = typical random point, 1 = optimum); failed and stopped runs count
            as -inf.
        recommended: true quality of the method's own recommendation after each run.
        suggest_seconds: CPU time of each suggestion.
        failed: whether each run failed.
    """

    cost: list[float] = field(default_factory=list)
    ended: list[float] = field(default_factory=list)
    quality: list[float] = field(default_factory=list)
    recommended: list[float] = field(default_factory=list)
    suggest_seconds: list[float] = field(default_factory=list)
    failed: list[bool] = field(default_factory=list)

    def cost_to(self, target: float) -> float | None:
        """Cost at which a run's true quality first reached `target`."""
        return next((cost for cost, quality in zip(self.cost, self.quality, strict=True) if quality >= target), None)

    def quality_at(self, cost: float) -> float:
        """True quality of the recommendation when the runs that had ended cost so much; 0 before the first."""
        reached = [quality for spent, quality in zip(self.ended, self.recommended, strict=True) if spent <= cost]
        return reached[-1] if reached else 0.0

    def mean_regret(self, cost: float) -> float:
        """1 - true quality of the recommendation, the mean over all costs from 0 to `cost`."""
        edges = np.minimum([0.0, *self.ended, np.inf], cost)
        return 1.0 - float(np.diff(edges) @ [0.0, *self.recommended]) / cost


def simulate(task: Task, make: MakeMethod, seed: int, slots: int = 1, max_runs: int = 10_000) -> Trace:
    """Spend the task's budget.

    Args:
        task: what is optimised.
        make: (task, seed) -> method.
        seed: of the method and of the runs' noise; the same noise stream for every method.
        slots: runs at once; a run's cost is also its duration.
        max_runs: stop after so many suggestions.
    """
    method, trace = make(task, seed), Trace()
    clock: list[tuple[float, int, Params]] = []
    now, spent, started = 0.0, 0.0, 0
    results = {}
    while True:
        while len(clock) < slots and spent < task.budget and started < max_runs:
            begin = time.process_time()
            params = method.suggest([params for _, _, params in clock]).params
            trace.suggest_seconds.append(time.process_time() - begin)
            run = task.problem.run(params, np.random.default_rng([seed, started, 1]))
            run = method.watch(params, run) if isinstance(method, StopsRuns) else run
            spent += run.cost_seconds
            results[started] = (run, spent)
            heapq.heappush(clock, (now + run.cost_seconds, started, params))
            started += 1
        if not clock:
            return trace
        now, number, params = heapq.heappop(clock)
        run, cost = results.pop(number)
        method.observe(run.observation(params))
        _record(trace, task, params, cost, method.recommend(), run)


def _record(trace: Trace, task: Task, params: Params, cost: float, recommended: Params | None, run: Run) -> None:
    trace.cost.append(cost)
    trace.ended.append(run.cost_seconds + (trace.ended[-1] if trace.ended else 0.0))
    trace.failed.append(run.score is None)
    trace.quality.append(-np.inf if run.score is None or run.is_stopped else task.quality(params))
    trace.recommended.append(task.quality(recommended) if recommended is not None else 0.0)
