"""What goes into the optimiser and what comes out: observations and suggestions, frozen and checked at construction."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, TypeVar

import numpy as np

from searchers.errors import ObservationError

ParamValue = float | int | str | bool
Params = Mapping[str, ParamValue]
Member = TypeVar("Member", bound=StrEnum)
# A number beyond this is no result but a mistake or a program's way to say "failed", and its square is beyond all
# Floats.
LARGEST = 1e100


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
        score: value of the sweep's metric, in the sweep's own direction; nan (or None) when there was none.
        score_se: standard error of the score by its own evaluation (over its episodes), >= 0; None = not known.

    Raises:
        ObservationError: something is no number.
    """

    env_steps: int
    seconds: float
    score: float
    score_se: float | None = None

    def __post_init__(self) -> None:
        steps = _number("curve.env_steps", self.env_steps)
        if not math.isfinite(steps):
            raise ObservationError(f"curve.env_steps: need a whole number > 0, got {self.env_steps!r}")
        object.__setattr__(self, "env_steps", int(self.env_steps))
        object.__setattr__(self, "seconds", _number("curve.seconds", self.seconds))
        object.__setattr__(self, "score", math.nan if self.score is None else _number("curve.score", self.score))
        object.__setattr__(self, "score_se", _error("curve.score_se", self.score_se))


@dataclass(frozen=True, slots=True)
class Observation:
    """What one finished run taught us.

    What other libraries call numbers and texts (numpy's scalars among them) becomes Python's. A score beyond 1e100
    makes a failed run of kind `HYPERPARAMETERS`; a cost is limited to 1e-100 to 1e100.

    Attributes:
        params: the point that was run, natural units, keyed by dotted path ("trainer.ppo.gamma"); None = not known.
        score: value of `metric`, in the sweep's own direction; None if, and only if, the run failed.
        cost_seconds: what the run cost, in the sweep's cost unit (CPU or GPU seconds), > 0.
        outcome: how the run ended.
        failure: kind of failure; set if, and only if, the outcome is `FAILED`.
        curve: points of the learning curve, increasing in `env_steps`; may be empty. Points without a score, or with
            one beyond 1e100, are left out.
        score_se: standard error of the score by its own evaluation (over its episodes), >= 0; None (or nan) = not
            known. What seeds add beyond it is learned.
        wall_seconds: wall-clock length, which `max_suggestion_cost` limits; None means equal to `cost_seconds`.

    Raises:
        ObservationError: a value of the wrong kind, a score that is not finite, a cost that is not above 0, an outcome
            that contradicts score or failure.
    """

    params: Params
    score: float | None
    cost_seconds: float
    outcome: Outcome = Outcome.COMPLETED
    failure: FailureKind | None = None
    curve: tuple[CurvePoint, ...] = ()
    wall_seconds: float | None = None
    score_se: float | None = None

    def __post_init__(self) -> None:
        self._set("params", _params(self.params))
        self._set("score", None if self.score is None else _number("score", self.score))
        self._set("cost_seconds", _seconds("cost_seconds", self.cost_seconds))
        self._set("outcome", _member("outcome", Outcome, self.outcome))
        self._set("failure", None if self.failure is None else _member("failure", FailureKind, self.failure))
        self._set("curve", _curve(self.curve))
        self._set("wall_seconds", None if self.wall_seconds is None else _seconds("wall_seconds", self.wall_seconds))
        self._set("score_se", _error("score_se", self.score_se))
        self._check()
        if self.score is not None and abs(self.score) > LARGEST:
            self._set("score", None)
            self._set("score_se", None)
            self._set("outcome", Outcome.FAILED)
            self._set("failure", FailureKind.HYPERPARAMETERS)

    def _set(self, name: str, value: object) -> None:
        object.__setattr__(self, name, value)

    def _check(self) -> None:
        failed = self.outcome is Outcome.FAILED
        if failed != (self.failure is not None):
            raise ObservationError(
                f"failure: need a kind exactly when the run failed, got {self.failure!r} with outcome {self.outcome}"
            )
        if failed != (self.score is None):
            raise ObservationError(
                f"score: need None exactly when the run failed, got {self.score!r} with outcome {self.outcome}"
            )
        if self.score is not None and not math.isfinite(self.score):
            raise ObservationError(
                f"score: need a finite number, got {self.score!r}; report a run without a score as failed"
            )

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


def plain(value: Any) -> Any:
    """numpy's scalars as what was meant by them, all else as it is: np.float32(0.1) is 0.1, not 0.10000000149."""
    if isinstance(value, np.ndarray) and value.ndim == 0:
        value = value[()]
    if isinstance(value, np.floating):
        exact = float(value)
        is_double = isinstance(value, float) or not math.isfinite(exact) or exact.is_integer()
        return exact if is_double else float(np.format_float_scientific(value, unique=True))
    return value.item() if isinstance(value, np.generic) else value


def number_of(value: object) -> float:
    """The number that a parameter's value is; nan when it is none, or is too large for a float."""
    value = plain(value)
    if not isinstance(value, int | float):
        return math.nan
    try:
        return float(value)
    except OverflowError:
        return math.nan


def _number(name: str, value: Any) -> float:
    """A number of any library as a float; nan and infinities are numbers here."""
    wrong = f"{name}: need a number, got "
    if isinstance(value, str | bytes) or getattr(value, "ndim", None):
        raise ObservationError(f"{wrong}{value!r}")
    try:
        return float(value)
    except OverflowError as error:
        raise ObservationError(f"{wrong}one beyond 1.8e308, the largest float") from error
    except (TypeError, ValueError) as error:
        raise ObservationError(f"{wrong}{value!r}") from error


def _error(name: str, value: Any) -> float | None:
    """A standard error; what is no number, infinite or beyond 1e100 says as much as none."""
    error = math.nan if value is None else _number(name, value)
    if error < 0:
        raise ObservationError(f"{name}: need a standard error >= 0, got {value!r}; leave it out when it is not known")
    return error if error <= LARGEST else None


def _seconds(name: str, value: Any) -> float:
    seconds = _number(name, value)
    if not (math.isfinite(seconds) and seconds > 0):
        raise ObservationError(
            f"{name}: need a finite number > 0, got {value!r}; report training plus evaluation time from the trainable"
        )
    return min(max(seconds, 1.0 / LARGEST), LARGEST)


def _member(name: str, kind: type[Member], value: Any) -> Member:
    try:
        return kind(value)
    except ValueError as error:
        raise ObservationError(f"{name}: need one of {', '.join(kind)}, got {value!r}") from error


def _params(params: Any) -> dict[str, ParamValue]:
    if not isinstance(params, Mapping):
        raise ObservationError(f"params: need a mapping from dotted path to value, got {params!r}")
    tidy = {name: plain(value) for name, value in params.items()}
    for name, value in tidy.items():
        if not isinstance(name, str):
            raise ObservationError(f"params: need texts as names, got {name!r}")
        if value is not None and not isinstance(value, float | int | str | bool):
            raise ObservationError(f"params.{name}: need a number, text or truth value, got {value!r}")
        if isinstance(value, int) and value.bit_length() > 1000:
            raise ObservationError(
                f"params.{name}: need a number below 2**1000, got a whole number of {value.bit_length()} bits"
            )
    return tidy


def _curve(points: Iterable[Any]) -> tuple[CurvePoint, ...]:
    """The points that have a score, by increasing step; of two at one step the later one."""
    kept: dict[int, CurvePoint] = {}
    for point in points:
        if not isinstance(point, CurvePoint):
            raise ObservationError(f"curve: need CurvePoint(env_steps, seconds, score), got {point!r}")
        if abs(point.score) <= LARGEST:
            kept[point.env_steps] = point
    return tuple(kept[steps] for steps in sorted(kept))
