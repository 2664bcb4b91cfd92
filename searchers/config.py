"""Settings of the optimiser, as they stand under `sweep.protein` in a sweep file."""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from types import UnionType
from typing import Any, get_args, get_type_hints

from searchers.errors import Keyed, SpaceError
from searchers.observation import plain
from searchers.space_hints import nearest

# What messages ask for, by type
NEED = {int: "a whole number", float: "a finite number", bool: "true or false", str: "a text"}
# Words that a setting may be
CHOICES = {
    "objective": ("pareto", "best", "target"),
    "acquisition": ("auto", "logei", "front", "naive"),
}
# Lowest value that a setting still has a meaning at
AT_LEAST = {
    "num_random_samples": 0,
    "random_suggestions": 1,
    "suggestions_per_pareto": 1,
    "expansion_rate": 0.0,
    "resample_frequency": 0,
    "curve_points": 0,
}
# Zero would leave nothing to suggest, or divide by it
ABOVE_ZERO = ("max_suggestion_cost", "global_search_scale", "budget")
# What is no setting any more, with the value at which it had no effect and what to do
REMOVED = {"exploration_share": (0.0, "was removed, since exploring at random gained nothing; leave it out")}
# What is no choice any more, and what to write
REMOVED_CHOICES = {"acquisition": {"gittins": "was removed, since it was no better than logei; use auto or logei"}}


@dataclass(frozen=True, slots=True)
class ProteinConfig:
    """How Protein searches.

    Attributes:
        num_random_samples: suggestions of the initial design, before the model leads; the search centre is one of them.
        seed_with_search_center: whether the first suggestion is the search centre (every `mean`); `objective: best`
            trains it once more, for longer.
        max_suggestion_cost: wall seconds that a suggested run may be predicted to take; None = no limit.
        random_suggestions: global candidates per suggestion.
        suggestions_per_pareto: local candidates around each point of the front.
        global_search_scale: radius of both candidate sets, as a factor on each parameter's `scale`.
        expansion_rate: how far beyond the front's highest cost the cost targets reach, as a share of that cost.
        resample_frequency: every so-manyth suggestion repeats a point of the front; 0 = only when nothing new is left.
        objective: `pareto` (the best score at every cost), `best` (the best score within the budget) or `target`
            (the cheapest way to `target_score`).
        target_score: the score that `objective: target` looks for, in the sweep's own direction.
        budget: cost units (as `Observation.cost_seconds`) that the whole sweep may spend; None = unknown.
        acquisition: `auto` picks by objective; `logei`, `front` force one; `naive` is the original rule.
        fidelity: searched parameter that sets the training length, in the steps that a run reports; None =
            `trainer.total_timesteps` when it is searched.
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
    fidelity: str | None = None
    curve_points: int = 3

    def __post_init__(self) -> None:
        problems = [(key, text) for key in field_names() for text in _range_problems(key, getattr(self, key))]
        if self.objective == "target" and self.target_score is None:
            problems.append(("target_score", "objective target needs it; set target_score or use objective: best"))
        if problems:
            raise SpaceError(*problems)

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, Any]) -> ProteinConfig:
        """Read settings from a sweep file.

        Raises:
            SpaceError: unknown keys (with the nearest known one), wrong types and values, one line each.
        """
        problems: list[Keyed] = []
        values: dict[str, Any] = {}
        hints = get_type_hints(cls)
        for key, value in mapping.items():
            if key not in hints:
                _, text = REMOVED.get(str(key), (None, f"unknown setting{nearest(str(key), field_names())}"))
                problems.append((str(key), text))
                continue
            values[key], wrong = _convert(value, hints[key])
            problems += [(key, wrong)] if wrong else []
        told = {key for key, _ in problems}
        try:
            config = cls(**{key: value for key, value in values.items() if key not in told})
        except SpaceError as error:
            problems += [problem for problem in error.keyed if problem[0] not in told]
        if problems:
            raise SpaceError(*problems)
        return config

    @classmethod
    def from_stored(cls, mapping: Mapping[str, Any]) -> ProteinConfig:
        """Read settings that an earlier version may have stored in full: what is no setting any more is left out where
        it had no effect.

        Raises:
            SpaceError: as `from_mapping`.
        """
        return cls.from_mapping(still_settings(mapping))


def still_settings(mapping: Mapping[str, Any]) -> dict[str, Any]:
    """The settings without those that are none any more, where they had no effect."""
    return {key: value for key, value in mapping.items() if key not in REMOVED or value != REMOVED[key][0]}


def idle_settings(objective: str, acquisition: str) -> dict[str, str]:
    """Settings that change no suggestion under these two, and why; a test looks whether it is so."""
    idle: dict[str, str] = {}
    if acquisition != "auto":
        idle["objective"] = f"acquisition is {acquisition}"
    if (objective, acquisition) != ("target", "auto"):
        idle["target_score"] = f"objective is {objective}" if acquisition == "auto" else f"acquisition is {acquisition}"
    if acquisition == "logei" or (acquisition == "auto" and objective != "pareto"):
        idle["expansion_rate"] = f"objective is {objective}" if acquisition == "auto" else "acquisition is logei"
    return idle


def field_names() -> tuple[str, ...]:
    """Names of all settings."""
    return tuple(field.name for field in fields(ProteinConfig))


def _convert(value: Any, hint: Any) -> tuple[Any, str]:
    """(the value as its field's type, what is wrong with it or ""), by the same rules as the rest of a sweep file."""
    kind, *null = get_args(hint) if isinstance(hint, UnionType) else (hint,)
    if value is None and null:
        return None, ""
    value = plain(value)
    found = _number(value, kind) if kind in (int, float) else value if isinstance(value, kind) else None
    return found, "" if found is not None else f"need {NEED[kind]}, got {value!r}"


def _number(value: Any, kind: type) -> int | float | None:
    """The number that the value is or spells: plain YAML reads 1e-5 as text."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):  # no number, or one of hundreds of digits
        return None
    if not math.isfinite(number) or (kind is int and not number.is_integer()):
        return None
    return number if kind is float else int(value) if isinstance(value, int) else int(number)


def _range_problems(key: str, value: Any) -> list[str]:
    if value is None:
        return []
    if gone := REMOVED_CHOICES.get(key, {}).get(str(value)):
        return [f"{value} {gone}"]
    if key in CHOICES and value not in CHOICES[key]:
        near = difflib.get_close_matches(str(value), CHOICES[key], n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        return [f"need one of {', '.join(CHOICES[key])}, got {value!r}{hint}"]
    if key in AT_LEAST and not value >= AT_LEAST[key]:
        return [f"need at least {AT_LEAST[key]}, got {value}"]
    if key in ABOVE_ZERO and not value > 0:
        return [f"need a number > 0, got {value}; leave it out for no limit"]
    return []
