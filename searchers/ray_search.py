"""Protein for any Ray Tune script: `tune.TuneConfig(search_alg=ProteinSearch(), metric="score", mode="max")`.

Thin: it keeps the suggestion of each live trial, turns results into observations, and saves history instead of models.
"""

from __future__ import annotations

import json
import logging
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ray.tune.search import Searcher as TuneSearcher
from ray.tune.search.sample import Categorical, Domain, Float, Integer, LogUniform, Quantized, Uniform

from searchers.config import ProteinConfig
from searchers.errors import SpaceError, StateError
from searchers.observation import CurvePoint, FailureKind, Observation, Outcome, Params, plain
from searchers.protein import Goal
from searchers.saved import (
    curve_from_json,
    curve_to_json,
    observation_from_json,
    observation_to_json,
    space_from_json,
    space_to_json,
)
from searchers.searcher import Searcher, make_searcher
from searchers.space import Space
from searchers.tune_space import Choices, Numbers, Place, TuneSpace, choices_of, flatten, name_of, unflatten

logger = logging.getLogger(__name__)

FORMAT = "ProteinSearch 1"  # of a saved state; another is refused
GOALS: Mapping[str, Goal] = {"max": "maximize", "min": "minimize"}  # Tune's words and ours


@dataclass(frozen=True, slots=True)
class ResultKeys:
    """Where a Tune result holds what the optimiser needs.

    Attributes:
        cost: cost of the run; `time_total_s` is Tune's own clock.
        steps: environment steps so far, for the learning curve; absent = no curve.
        failure: set by the trainable to "hyperparameters", "infrastructure" or "code" when it knows.
        score_se: standard error of the score by its own evaluation; absent = not known.
    """

    cost: str = "time_total_s"
    steps: str = "env_steps"
    failure: str = "failure"
    score_se: str = "score_se"


@dataclass(slots=True)
class LiveTrial:
    """A suggestion that is out, and what was reported of it."""

    params: Params
    cost: float = 0.0
    curve: list[CurvePoint] = field(default_factory=list)


class ProteinSearch(TuneSearcher):  # type: ignore[misc]
    """Ray Tune searcher over `searchers.make_searcher`.

    Args:
        space: what may be suggested, or its configuration (nested or dotted), or a `param_space` of Tune's
            distributions; None = the `param_space` of the Tuner.
        config: settings, or a mapping of them.
        metric: key of the score in results; None = from `TuneConfig`.
        mode: "max" or "min"; None = from `TuneConfig`, and "max" where that names none.
        seed: of the optimiser.
        method: bayes, random, sobol or grid.
        keys: where results hold cost, steps, failure and standard error.
        nested: give trials nested dicts ({"trainer": {"gamma": ...}}) instead of dotted keys; a `param_space` keeps its
            own shape.

    Raises:
        SpaceError: the space is none, or one that cannot be searched.
    """

    def __init__(  # noqa: PLR0913 - keywords of a constructor that people write by hand
        self,
        space: Space | Mapping[str, Any] | None = None,
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
        self._named = {"metric": metric, "mode": mode}
        self._metric: str | None = metric
        self._mode: str | None = mode
        self._tune = tune_space(space) if isinstance(space, Mapping) and any(drawn(space)) else None
        self._is_tunes = self._tune is not None
        self._space: Space | None
        if self._tune is not None:
            self._space = self._tune.space
        elif space is None or isinstance(space, Space):
            self._space = space
        else:
            self._space = Space.from_config(space)
        self._config = config if isinstance(config, ProteinConfig) else ProteinConfig.from_mapping(config or {})
        self._seed, self._method, self._nested = seed, method, nested
        self._keys = keys or ResultKeys()
        self._live: dict[str, LiveTrial] = {}
        self._history: list[Observation] = []
        self._suggested = 0
        self._searcher: Searcher | None = None  # made, and told the history, when it is first asked
        self._learned = 0

    def set_search_properties(
        self, metric: str | None, mode: str | None, config: Mapping[str, Any], **spec: Any
    ) -> bool:
        """Take what the constructor did not name: the space from `param_space`, metric and mode from `TuneConfig`.

        Raises:
            SpaceError: two spaces or none, or one that cannot be searched; one line per key, however deep it lies.
        """
        found = [(f"param_space.{name_of(place)}", one) for place, one in drawn(config)]
        if found and self._space is not None and not self._is_tunes:
            text = "ProteinSearch has its own space; leave Tune's distributions out of param_space"
            raise SpaceError(*((name, text) for name, _ in found))
        if found:
            self._take(tune_space(config))
        elif self._space is None:
            raise SpaceError(("param_space", "nothing in it is searched; use tune.uniform and its sisters in it"))
        self._metric = self._named["metric"] or metric or self._metric
        if (new := self._named["mode"] or mode or self._mode) != self._mode:
            self._mode = new
            self._forget_models()
        return True

    def _take(self, found: TuneSpace) -> None:
        """A `param_space`; the same as before where there was one."""
        if self._space is not None and space_to_json(found.space) != space_to_json(self._space):
            raise SpaceError(("param_space", "it is another one than that which this search began with"))
        self._tune, self._is_tunes, self._space = found, True, found.space

    def suggest(self, trial_id: str) -> dict[str, Any]:
        """The next point, merged into the trial's config."""
        pending = [trial.params for trial in self._live.values()]
        suggestion = self._models().suggest(pending, self._suggested)
        self._suggested += 1
        self._live[trial_id] = LiveTrial(suggestion.params)
        if self._tune is not None:
            return self._tune.nested(suggestion.params)
        return unflatten(suggestion.params) if self._nested else dict(suggestion.params)

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Keep the cost and the learning curve of a live trial; trials of another session are ignored."""
        trial = self._live.get(trial_id)
        if trial is None:
            return
        trial.cost = max(trial.cost, _number(result.get(self._keys.cost)) or 0.0)
        score, steps = _number(result.get(self._metric or "")), _number(result.get(self._keys.steps))
        if score is not None and steps and (not trial.curve or steps > trial.curve[-1].env_steps):
            trial.curve.append(CurvePoint(int(steps), trial.cost, score, self._error(result)))

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Turn the end of a trial into an observation."""
        if result:
            self.on_trial_result(trial_id, result)
        trial = self._live.pop(trial_id, None)
        if trial is None:
            logger.warning("trial %s is not one of this searcher's; its result is ignored", trial_id)
            return
        self.observe(self._observation(trial, result or {}, error))
        self._models()  # now, and not while a trial waits for its suggestion

    def _observation(self, trial: LiveTrial, result: Mapping[str, Any], error: bool) -> Observation:
        cost = trial.cost if trial.cost > 0 else 1e-3
        score = _number(result.get(self._metric or ""))
        if error or score is None:
            named = result.get(self._keys.failure)
            kind = FailureKind(named) if named in list(FailureKind) else FailureKind.HYPERPARAMETERS
            return Observation.failed(trial.params, cost, kind)
        return Observation(trial.params, score, cost, curve=tuple(trial.curve), score_se=self._error(result))

    def _error(self, result: Mapping[str, Any]) -> float | None:
        error = _number(result.get(self._keys.score_se))
        return error if error is not None and error >= 0 else None

    def add_evaluated_point(
        self,
        parameters: dict[str, Any],
        value: float,
        error: bool = False,
        pruned: bool = False,
        intermediate_values: list[float] | None = None,
    ) -> None:
        """Learn from a run of the past; the models take it in before the next suggestion.

        Its cost is unknown here; use `observe` with an `Observation` where it is known.

        Args:
            parameters: of the run, in the shape of a trial's config.
            value: its score; of a pruned run its last one.
            error: it failed by its hyperparameters, and `value` means nothing.
            pruned: it was stopped before its end.
            intermediate_values: its scores on the way, evenly spread; None = not known.

        Raises:
            SpaceError: there is no space yet; give it to the constructor.
        """
        if self._space is None:
            raise SpaceError(("space", "ProteinSearch() learns it from the Tuner; give it one to add points before"))
        params = self._tune.params(parameters) if self._tune is not None else flatten(parameters)
        if error:
            self.observe(Observation.failed(params, 1.0, FailureKind.HYPERPARAMETERS))
            return
        values = intermediate_values or []
        curve = tuple(CurvePoint(step, step / len(values), score) for step, score in enumerate(values, 1))
        outcome = Outcome.STOPPED_EARLY if pruned else Outcome.COMPLETED
        self.observe(Observation(params, value, 1.0, outcome, curve=curve))

    def observe(self, observation: Observation) -> None:
        """Learn from a run of the past."""
        self._history.append(observation)

    def save(self, checkpoint_path: str) -> None:
        """Write the history as JSON, atomically; models are rebuilt from it."""
        path = Path(checkpoint_path)
        temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
        temporary.write_text(json.dumps(self._to_json()))
        temporary.replace(path)

    def restore(self, checkpoint_path: str) -> None:
        """Continue exactly as the saved searcher would have.

        Raises:
            StateError: the file is none that `save` wrote.
        """
        content = Path(checkpoint_path).read_bytes()
        if content.startswith(b"\x80"):  # every pickle of protocol 2 and later
            raise StateError(
                f"{checkpoint_path}: a pickle, as earlier versions wrote it, which could run code when it is read; "
                "start the search anew and give it the runs that are known with add_evaluated_point or observe"
            )
        try:
            state = self._from_json(json.loads(content))
        except (AttributeError, LookupError, TypeError, ValueError, RecursionError) as error:
            raise StateError(
                f"{checkpoint_path}: not a search that ProteinSearch.save wrote ({error.__class__.__name__}: {error})"
            ) from error
        self.__setstate__(state)
        known, mine = self._space, self._tune
        if mine is not None and (known is None or space_to_json(mine.space) != space_to_json(known)):
            self._tune = None  # the constructor's space, which is not that of the file

    def _to_json(self) -> dict[str, Any]:
        return {
            "format": FORMAT,
            "space": None if self._space is None else space_to_json(self._space),
            "is_tunes": self._is_tunes,
            "named": self._named,
            "config": asdict(self._config),
            "seed": self._seed,
            "method": self._method,
            "nested": self._nested,
            "keys": asdict(self._keys),
            "metric": self._metric,
            "mode": self._mode,
            "suggested": self._suggested,
            "live": {
                name: {"params": dict(one.params), "cost": one.cost, "curve": curve_to_json(one.curve)}
                for name, one in self._live.items()
            },
            "history": [observation_to_json(observation) for observation in self._history],
        }

    @staticmethod
    def _from_json(data: Mapping[str, Any]) -> dict[str, Any]:
        """Attributes of the saved searcher."""
        if data["format"] != FORMAT:
            raise ValueError(f"format {data['format']!r}, this version reads {FORMAT!r}")
        live = {
            name: LiveTrial(one["params"], one["cost"], list(curve_from_json(one["curve"])))
            for name, one in data["live"].items()
        }
        plain_values = {f"_{name}": data[name] for name in ("seed", "method", "nested", "metric", "mode", "suggested")}
        return {
            **plain_values,
            "_space": None if data["space"] is None else space_from_json(data["space"]),
            "_is_tunes": bool(data.get("is_tunes", False)),
            "_named": dict(data.get("named", {"metric": None, "mode": None})),
            "_config": ProteinConfig.from_stored(data["config"]),
            "_keys": ResultKeys(**data["keys"]),
            "_live": live,
            "_history": [observation_from_json(one) for one in data["history"]],
        }

    def __getstate__(self) -> dict[str, Any]:
        """Everything but the models."""
        return {key: value for key, value in self.__dict__.items() if key not in ("_searcher", "_learned")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._forget_models()

    def _models(self) -> Searcher:
        """The optimiser, with all that is known."""
        if self._space is None or (self._is_tunes and self._tune is None):
            raise SpaceError(("space", "ProteinSearch() without one needs a Tuner with a param_space of distributions"))
        if self._searcher is None:
            goal = GOALS[self._mode or "max"]
            self._searcher = make_searcher(self._method, self._space, self._config, goal=goal, seed=self._seed)
        for observation in self._history[self._learned :]:
            self._searcher.observe(observation)
        self._learned = len(self._history)
        return self._searcher

    def _forget_models(self) -> None:
        self._searcher, self._learned = None, 0


def drawn(value: Any, place: Place = ()) -> Iterator[tuple[Place, Any]]:
    """Everything at or below `value` that Tune would draw or go through itself, and where it stands."""
    if isinstance(value, Domain) or (
        isinstance(value, Mapping) and len(value) == 1 and ("grid_search" in value or "eval" in value)
    ):
        yield place, value
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield from drawn(inner, (*place, key))
    elif isinstance(value, list | tuple):
        for index, inner in enumerate(value):
            yield from drawn(inner, (*place, index))


def tune_space(template: Mapping[str, Any]) -> TuneSpace:
    """What is searched of a `param_space`.

    Raises:
        SpaceError: what cannot be, one line per key.
    """
    leaves: dict[Place, Numbers | Choices] = {}
    problems: list[tuple[str, str]] = []
    for place, value in drawn(template):
        leaf, wrong = converted(value)
        if leaf is None:
            problems.append((f"param_space.{name_of(place)}", wrong))
        else:
            leaves[place] = leaf
    if problems:
        raise SpaceError(*problems)
    found = TuneSpace(template, leaves)
    found.space  # noqa: B018 - raises what our space may not hold
    return found


def converted(value: Any) -> tuple[Numbers | Choices | None, str]:
    """(what one of Tune's distributions draws, or why we cannot)."""
    if isinstance(value, Mapping):
        return None, f"{next(iter(value))} goes through values one by one; use tune.choice, or method='grid'"
    sampler = value.get_sampler()
    step = sampler.q if isinstance(sampler, Quantized) else None
    law = sampler.get_sampler() if isinstance(sampler, Quantized) else sampler
    if isinstance(value, Categorical):
        if any(next(drawn(choice), None) is not None for choice in value.categories):
            return None, "a choice among distributions; search them under names of their own"
        return choices_of(value.categories)
    if not isinstance(value, Float | Integer):
        return None, "tune.sample_from draws by a function, which cannot be searched; use a distribution with bounds"
    if not isinstance(law, Uniform | LogUniform) or not all(map(_is_bound, (value.lower, value.upper))):
        return None, "it has no bounds; use tune.uniform or tune.loguniform"
    is_whole = isinstance(value, Integer)
    # As Tune's pages say: whole numbers exclude the upper bound, unless they are multiples of more than 1.
    high = value.upper - 1 if is_whole and step in (None, 1) else value.upper
    return Numbers(
        value.lower, high, is_whole, isinstance(law, LogUniform), None if is_whole and step == 1 else step
    ), ""


def _is_bound(value: Any) -> bool:
    return (number := _number(value)) is not None and math.isfinite(number)


def _number(value: object) -> float | None:
    """The finite number that `value` is, else None."""
    value = plain(value)
    if value is None or isinstance(value, str | Sequence):
        return None
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None
