"""What goes into the optimiser and what comes out: observations and suggestions, frozen and checked at construction."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from searchers.errors import ObservationError

ParamValue = float | int | str | bool
Params = Mapping[str, ParamValue]


class Outcome(StrEnum):
    """How a run ended."""

    COMPLETED = "completed"
    STOPPED_EARLY = "stopped_early"
    FAILED = "failed"


class FailureKind(StrEnum):
    """Who is to blame for a failed run; only `HYPERPARAMETERS` teaches the optimiser anything."""

    HYPERPARAMETERS = "hyperparameters"
    INFRASTRUCTURE = "infrastructure"
    CODE = "code"


@dataclass(frozen=True, slots=True)
class CurvePoint:
    """Score on held-out episodes part of the way through a run.

    Attributes:
        env_steps: environment steps trained so far, > 0.
        seconds: training seconds so far, in the sweep's cost unit, evaluation not included.
        score: value of the sweep's metric, in the sweep's own direction.
    """

    env_steps: int
    seconds: float
    score: float


@dataclass(frozen=True, slots=True)
class Observation:
    """What one finished run taught us.

    Attributes:
        params: the point that was run, natural units, keyed by dotted path ("trainer.ppo.gamma").
        score: value of `metric`, in the sweep's own direction; None if, and only if, the run failed.
        cost_seconds: what the run cost, in the sweep's cost unit (CPU or GPU seconds), > 0.
        outcome: how the run ended.
        failure: kind of failure; set if, and only if, the outcome is `FAILED`.
        curve: points of the learning curve, increasing in `env_steps`; may be empty.
        wall_seconds: wall-clock length, which `max_suggestion_cost` limits; None means equal to `cost_seconds`.
    """

    params: Params
    score: float | None
    cost_seconds: float
    outcome: Outcome = Outcome.COMPLETED
    failure: FailureKind | None = None
    curve: tuple[CurvePoint, ...] = ()
    wall_seconds: float | None = None

    def __post_init__(self) -> None:
        _require_positive("cost_seconds", self.cost_seconds)
        if self.wall_seconds is not None:
            _require_positive("wall_seconds", self.wall_seconds)
        failed = self.outcome is Outcome.FAILED
        if failed != (self.failure is not None):
            raise ObservationError(f"failure: need a kind exactly when the run failed, got {self.failure!r} with outcome {self.outcome}")
        if failed != (self.score is None):
            raise ObservationError(f"score: need None exactly when the run failed, got {self.score!r} with outcome {self.outcome}")
        if self.score is not None and not math.isfinite(self.score):
            raise ObservationError(f"score: need a finite number, got {self.score!r}; report a run without a score as failed")

    @classmethod
    def failed(cls, params: Params, cost_seconds: float, failure: FailureKind) -> Observation:
        """A run that ended without a score."""
        return cls(params=params, score=None, cost_seconds=cost_seconds, outcome=Outcome.FAILED, failure=failure)


@dataclass(frozen=True, slots=True)
class Interval:
    """A prediction with its central 90 % interval, natural units, sweep's own direction."""

    mean: float
    low: float
    high: float


class Origin(StrEnum):
    """Why a point was suggested."""

    CENTER = "search_center"
    INITIAL = "initial"
    EXPLOIT = "exploit"
    EXPLORE = "explore"
    REPLICATE = "replicate"
    FALLBACK = "fallback"
    BASELINE = "baseline"


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why this point: what the model believed when it was picked.

    Attributes:
        origin: which rule produced it.
        reason: one sentence for a person.
        predicted_score: posterior of the noiseless score at the point; None before there is a model.
        predicted_cost: cost in the sweep's cost unit; None before there is a model.
        success_probability: chance that the run does not fail by its hyperparameters.
        acquisition: value of the acquisition at the point.
        nearest: up to three nearest observed points as (distance in unit space, params, score or None).
        observations: number of observations behind the suggestion (the cursor).
    """

    origin: Origin
    reason: str
    predicted_score: Interval | None = None
    predicted_cost: Interval | None = None
    success_probability: float | None = None
    acquisition: float | None = None
    nearest: tuple[tuple[float, Params, float | None], ...] = ()
    observations: int = 0


@dataclass(frozen=True, slots=True)
class Suggestion:
    """A point to run.

    Attributes:
        params: natural units and types, keyed by dotted path.
        number: index of the suggestion in its sweep; its generator is `default_rng([seed, number])`.
        explanation: why this point.
    """

    params: Params
    number: int
    explanation: Explanation = field(compare=False)


def _require_positive(name: str, value: float) -> None:
    if not (math.isfinite(value) and value > 0):
        raise ObservationError(f"{name}: need a finite number > 0, got {value!r}; report training plus evaluation time from the trainable")
