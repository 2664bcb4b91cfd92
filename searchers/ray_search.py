"""Protein for any Ray Tune script: `tune.TuneConfig(search_alg=ProteinSearch(space, metric="score", mode="max", seed=0))`.

Thin: it keeps the suggestion of each live trial, turns results into observations, and saves history instead of models.
"""

from __future__ import annotations

import logging
import math
import os
import pickle
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ray.tune.search import Searcher as TuneSearcher

from searchers.config import ProteinConfig
from searchers.errors import SpaceError
from searchers.observation import CurvePoint, FailureKind, Observation, Params
from searchers.protein import Goal
from searchers.searcher import make_searcher
from searchers.space import Space

logger = logging.getLogger(__name__)

GOALS: Mapping[str, Goal] = {"max": "maximize", "min": "minimize"}


@dataclass(frozen=True, slots=True)
class ResultKeys:
    """Where a Tune result holds what the optimiser needs.

    Attributes:
        cost: cost of the run; `time_total_s` is Tune's own clock.
        steps: environment steps so far, for the learning curve; absent = no curve.
        failure: set by the trainable to "hyperparameters", "infrastructure" or "code" when it knows.
    """

    cost: str = "time_total_s"
    steps: str = "env_steps"
    failure: str = "failure"


@dataclass(slots=True)
class LiveTrial:
    """A suggestion that is out, and what was reported of it."""

    params: Params
    cost: float = 0.0
    curve: list[CurvePoint] = field(default_factory=list)


class ProteinSearch(TuneSearcher):  # type: ignore[misc]
    """Ray Tune searcher over `searchers.make_searcher`.

    Args:
        space: what may be suggested, or its configuration (nested or dotted).
        config: settings, or a mapping of them.
        metric: key of the score in results; None = from `TuneConfig`.
        mode: "max" or "min"; None = from `TuneConfig`.
        seed: of the optimiser.
        method: bayes, random, sobol or grid.
        keys: where results hold cost, steps and failure.
        nested: give trials nested dicts ({"trainer": {"gamma": ...}}) instead of dotted keys.
    """

    def __init__(  # noqa: PLR0913 - keywords of a constructor that people write by hand
        self,
        space: Space | Mapping[str, Any],
        config: ProteinConfig | Mapping[str, Any] | None = None,
        *,
        metric: str | None = None,
        mode: str | None = None,
        seed: int = 0,
        method: str = "bayes",
        keys: ResultKeys | None = None,
        nested: bool = True,
    ) -> None:
        super().__init__(metric=metric, mode=mode)
        self._metric: str | None = metric
        self._mode: str | None = mode
        self._space = space if isinstance(space, Space) else Space.from_config(space)
        self._config = config if isinstance(config, ProteinConfig) else ProteinConfig.from_mapping(config or {})
        self._seed, self._method, self._nested = seed, method, nested
        self._keys = keys or ResultKeys()
        self._live: dict[str, LiveTrial] = {}
        self._history: list[Observation] = []
        self._suggested = 0
        self._searcher = make_searcher(method, self._space, self._config, goal=GOALS[mode or "max"], seed=seed)

    def set_search_properties(self, metric: str | None, mode: str | None, config: Mapping[str, Any], **spec: Any) -> bool:
        """Take metric and mode from `TuneConfig` unless the constructor named them. A search space given there is refused."""
        if config and any(hasattr(value, "sample") for value in config.values()):
            raise SpaceError("param_space: ProteinSearch has its own space; leave Tune's distributions out of param_space")
        if metric:
            self._metric = metric
        if mode and mode != self._mode:
            self._mode = mode
            self._rebuild()
        return True

    def suggest(self, trial_id: str) -> dict[str, Any]:
        """The next point, merged into the trial's config."""
        pending = [trial.params for trial in self._live.values()]
        suggestion = self._searcher.suggest(pending, self._suggested)
        self._suggested += 1
        self._live[trial_id] = LiveTrial(suggestion.params)
        return unflatten(suggestion.params) if self._nested else dict(suggestion.params)

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Keep the cost and the learning curve of a live trial; trials of another session are ignored."""
        trial = self._live.get(trial_id)
        if trial is None:
            return
        trial.cost = max(trial.cost, _number(result.get(self._keys.cost)) or 0.0)
        score, steps = _number(result.get(self._metric or "")), _number(result.get(self._keys.steps))
        if score is not None and steps and (not trial.curve or steps > trial.curve[-1].env_steps):
            trial.curve.append(CurvePoint(int(steps), trial.cost, score))

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Turn the end of a trial into an observation."""
        if result:
            self.on_trial_result(trial_id, result)
        trial = self._live.pop(trial_id, None)
        if trial is None:
            logger.warning("trial %s is not one of this searcher's; its result is ignored", trial_id)
            return
        self._observe(self._observation(trial, result or {}, error))

    def _observation(self, trial: LiveTrial, result: Mapping[str, Any], error: bool) -> Observation:
        cost = trial.cost if trial.cost > 0 else 1e-3
        score = _number(result.get(self._metric or ""))
        if error or score is None:
            named = result.get(self._keys.failure)
            kind = FailureKind(named) if named in list(FailureKind) else FailureKind.HYPERPARAMETERS
            return Observation.failed(trial.params, cost, kind)
        return Observation(trial.params, score, cost, curve=tuple(trial.curve))

    def add_evaluated_point(
        self,
        parameters: dict[str, Any],
        value: float,
        error: bool = False,
        pruned: bool = False,
        intermediate_values: list[float] | None = None,
    ) -> None:
        """Learn from a run of the past. Its cost is unknown here; use `observe` with an `Observation` where it is known."""
        params = flatten(parameters)
        self._observe(Observation.failed(params, 1.0, FailureKind.HYPERPARAMETERS) if error else Observation(params, value, 1.0))

    def observe(self, observation: Observation) -> None:
        """Learn from a run of the past."""
        self._observe(observation)

    def save(self, checkpoint_path: str) -> None:
        """Write the history, atomically; models are rebuilt from it."""
        path = Path(checkpoint_path)
        temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
        temporary.write_bytes(pickle.dumps(self.__getstate__()))
        temporary.replace(path)

    def restore(self, checkpoint_path: str) -> None:
        """Continue exactly as the saved searcher would have."""
        self.__setstate__(pickle.loads(Path(checkpoint_path).read_bytes()))

    def __getstate__(self) -> dict[str, Any]:
        """Everything but the models."""
        return {key: value for key, value in self.__dict__.items() if key != "_searcher"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._rebuild()

    def _observe(self, observation: Observation) -> None:
        self._history.append(observation)
        self._searcher.observe(observation)

    def _rebuild(self) -> None:
        goal = GOALS[self._mode or "max"]
        self._searcher = make_searcher(self._method, self._space, self._config, goal=goal, seed=self._seed)
        for observation in self._history:
            self._searcher.observe(observation)


def unflatten(params: Params) -> dict[str, Any]:
    """Dotted keys -> nested dicts."""
    tree: dict[str, Any] = {}
    for name, value in params.items():
        *parents, leaf = name.split(".")
        branch = tree
        for parent in parents:
            branch = branch.setdefault(parent, {})
        branch[leaf] = value
    return tree


def flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested dicts -> dotted keys."""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        flat |= flatten(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return flat


def _number(value: object) -> float | None:
    """The finite number that `value` is, else None."""
    if isinstance(value, bool) or value is None or isinstance(value, str | Sequence):
        return None
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None
