"""Settings of the optimiser, as they stand under `sweep.protein` in a sweep file."""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from types import UnionType
from typing import Any, get_args, get_type_hints

from searchers.errors import SpaceError

CHOICES = {
    "objective": ("pareto", "best", "target"),
    "acquisition": ("auto", "logei", "gittins", "front", "naive"),
}
AT_LEAST = {
    "num_random_samples": 0,
    "random_suggestions": 1,
    "suggestions_per_pareto": 1,
    "expansion_rate": 0.0,
    "resample_frequency": 0,
    "curve_points": 0,
}
ABOVE_ZERO = ("max_suggestion_cost", "global_search_scale", "budget")
BELOW_ONE = ("exploration_share",)


@dataclass(frozen=True, slots=True)
class ProteinConfig:
    """How Protein searches.

    Attributes:
        num_random_samples: suggestions of the initial design, before the model leads; the search centre is one of them.
        seed_with_search_center: whether the first suggestion is the search centre (every `mean`).
        max_suggestion_cost: wall seconds that a suggested run may be predicted to take; None = no limit.
        random_suggestions: global candidates per suggestion.
        suggestions_per_pareto: local candidates around each point of the front.
        global_search_scale: radius of both candidate sets, as a factor on each parameter's `scale`.
        expansion_rate: how far beyond the front's highest cost the cost targets reach, as a share of that cost.
        resample_frequency: at least every so-manyth suggestion repeats a point of the front; 0 = only when a repeat
            pays.
        objective: `pareto` (the best score at every cost), `best` (the best score within the budget) or `target`
            (the cheapest way to `target_score`).
        target_score: the score that `objective: target` looks for, in the sweep's own direction.
        budget: cost units (as `Observation.cost_seconds`) that the whole sweep may spend; None = unknown.
        acquisition: `auto` picks by objective; `logei`, `gittins`, `front` force one; `naive` is the original rule.
        exploration_share: share of suggestions that explore where the model knows least.
        fidelity: parameter that sets the training length; None = `trainer.total_timesteps` when it is searched.
        curve_points: points of each run's learning curve that the model uses; 0 = none.
    """

    num_random_samples: int = 4
    seed_with_search_center: bool = True
    max_suggestion_cost: float | None = None
    random_suggestions: int = 256
    suggestions_per_pareto: int = 32
    global_search_scale: float = 1.0
    expansion_rate: float = 0.15
    resample_frequency: int = 0
    objective: str = "pareto"
    target_score: float | None = None
    budget: float | None = None
    acquisition: str = "auto"
    exploration_share: float = 0.0
    fidelity: str | None = None
    curve_points: int = 3

    def __post_init__(self) -> None:
        problems = [problem for key in field_names() for problem in _problems(key, getattr(self, key))]
        if self.objective == "target" and self.target_score is None:
            problems.append("target_score: objective target needs it; set target_score or use objective: best")
        if problems:
            raise SpaceError(*problems)

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, Any]) -> ProteinConfig:
        """Read settings from a sweep file.

        Raises:
            SpaceError: unknown keys (with the nearest known one), wrong types and values, one line each.
        """
        problems = [f"{key}: unknown setting{_hint(str(key))}" for key in mapping if key not in field_names()]
        hints = get_type_hints(cls)
        values: dict[str, Any] = {}
        for key in field_names():
            if key in mapping:
                problem, values[key] = _convert(key, mapping[key], hints[key])
                problems += [problem] if problem else []
        if not any(problem.split(":")[0] in values for problem in problems):
            try:
                config = cls(**values)
            except SpaceError as error:
                problems += error.problems
        if problems:
            raise SpaceError(*problems)
        return config


def field_names() -> tuple[str, ...]:
    """Names of all settings."""
    return tuple(field.name for field in fields(ProteinConfig))


def _hint(key: str) -> str:
    near = difflib.get_close_matches(key, field_names(), n=1)
    return f"; did you mean {near[0]}?" if near else f"; known: {', '.join(field_names())}"


def _convert(key: str, value: Any, kind: Any) -> tuple[str | None, Any]:
    """(problem or None, the value as its field's type)."""
    kinds = get_args(kind) if isinstance(kind, UnionType) else (kind,)
    if value is None and type(None) in kinds:
        return None, None
    wanted = next(candidate for candidate in kinds if candidate is not type(None))
    if wanted in (int, float) and not isinstance(value, bool):
        try:
            number = float(value)
        except (TypeError, ValueError):
            number = math.nan
        if math.isfinite(number) and (wanted is float or number.is_integer()):
            return None, wanted(number)
    elif isinstance(value, wanted):
        return None, value
    names = {int: "a whole number", float: "a finite number", bool: "true or false", str: "a text"}
    return f"{key}: need {names[wanted]}, got {value!r}", value


def _problems(key: str, value: Any) -> list[str]:
    if value is None:
        return []
    if key in CHOICES and value not in CHOICES[key]:
        near = difflib.get_close_matches(str(value), CHOICES[key], n=1)
        return [
            f"{key}: need one of {', '.join(CHOICES[key])}, got {value!r}"
            + (f"; did you mean {near[0]}?" if near else "")
        ]
    if key in AT_LEAST and not value >= AT_LEAST[key]:
        return [f"{key}: need at least {AT_LEAST[key]}, got {value}"]
    if key in ABOVE_ZERO and not value > 0:
        return [f"{key}: need a number > 0, got {value}; leave it out for no limit"]
    if key in BELOW_ONE and not 0 <= value < 1:
        return [f"{key}: need a share from 0 to below 1, got {value}"]
    return []
