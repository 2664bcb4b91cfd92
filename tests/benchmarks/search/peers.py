"""General optimisers behind the harness's contract; each is imported when it is asked for (`pip install .[bench]`)."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from searchers import Explanation, Observation, Origin, Params, Suggestion
from searchers.distributions import CategoricalParameter, NumericParameter
from tests.benchmarks.search.harness import MakeMethod
from tests.benchmarks.search.tasks import Task


class OptunaMethod:
    """Optuna with one of its samplers; failed runs are told as FAIL, pending runs are open trials, as its manual says.

    Points violating a constraint are not told: the sampler is asked again, up to 100 times.
    """

    def __init__(self, task: Task, sampler: Any) -> None:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        warnings.simplefilter("ignore")
        self.optuna = optuna
        self.task = task
        self.study = optuna.create_study(direction=task.goal, sampler=sampler)
        self.open: list[tuple[Params, Any]] = []
        self.count = 0

    def suggest(self, pending: Sequence[Params] = ()) -> Suggestion:
        for _ in range(100):
            trial = self.study.ask()
            params = {p.name: self._ask(trial, p) for p in self.task.space.parameters} | dict(self.task.space.fixed)
            if self.task.space.is_feasible(params):
                break
        self.open.append((params, trial))
        self.count += 1
        return Suggestion(params, self.count - 1, Explanation(Origin.BASELINE, "optuna"))

    def _ask(self, trial: Any, parameter: NumericParameter | CategoricalParameter) -> Any:
        if isinstance(parameter, CategoricalParameter):
            return trial.suggest_categorical(parameter.name, list(parameter.choices))
        kind, low, high = parameter.distribution.name, parameter.low, parameter.high
        if kind == "uniform_pow2":
            return 2 ** trial.suggest_int(parameter.name, round(np.log2(low)), round(np.log2(high)))
        if kind in ("int_uniform", "int_log_normal"):
            return trial.suggest_int(parameter.name, int(low), int(high), log=kind == "int_log_normal")
        if kind == "logit_normal":
            low_even, high_even = parameter.distribution.forward(np.array([low, high]))
            even = trial.suggest_float(parameter.name, float(low_even), float(high_even))
            return float(np.clip(parameter.distribution.inverse(np.array([even]))[0], low, high))
        return trial.suggest_float(parameter.name, low, high, log=kind == "log_normal")

    def observe(self, observation: Observation) -> None:
        index = next(i for i, (params, _) in enumerate(self.open) if params == observation.params)
        _, trial = self.open.pop(index)
        if observation.score is None:
            self.study.tell(trial, state=self.optuna.trial.TrialState.FAIL)
        else:
            self.study.tell(trial, observation.score)
            self._remember(trial.number, observation.params)

    def _remember(self, number: int, params: Params) -> None:
        self.points = getattr(self, "points", {}) | {number: params}

    def recommend(self) -> Params | None:
        try:
            return self.points[self.study.best_trial.number]  # type: ignore[no-any-return]
        except (ValueError, AttributeError):
            return None


def optuna_tpe(task: Task, seed: int) -> OptunaMethod:
    """TPE as people use it for parallel runs: multivariate off (the default), constant liar on."""
    import optuna

    return OptunaMethod(task, optuna.samplers.TPESampler(seed=seed, constant_liar=True))


def optuna_gp(task: Task, seed: int) -> OptunaMethod:
    """Optuna's Gaussian process; needs torch."""
    import optuna

    return OptunaMethod(task, optuna.samplers.GPSampler(seed=seed, deterministic_objective=False))


PEERS: dict[str, MakeMethod] = {"optuna-tpe": optuna_tpe, "optuna-gp": optuna_gp}
