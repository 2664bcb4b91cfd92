"""What a run tells its driver: progress while it trains, one result at its end. Plain data, JSON both ways."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import KW_ONLY, asdict, dataclass, field, replace
from enum import StrEnum
from typing import Any

# A number beyond this is no score but a mistake or a program's way to say "failed", and its square is beyond all
# floats; `searchers.observation.LARGEST` is the same.
LARGEST_SCORE = 1e100


def is_score(value: float) -> bool:
    """Whether a number can be a run's score: finite, and within `LARGEST_SCORE`."""
    return abs(value) <= LARGEST_SCORE


class Outcome(StrEnum):
    """How a run ended. One that is interrupted goes on from its checkpoint, when somebody takes it up."""

    COMPLETED = "completed"
    STOPPED_EARLY = "stopped_early"
    FAILED = "failed"
    INTERRUPTED = "interrupted"

    @property
    def is_good(self) -> bool:
        """Whether there is a score."""
        return self in (Outcome.COMPLETED, Outcome.STOPPED_EARLY)


class FailureKind(StrEnum):
    """Who is to blame: the point, what the run was placed on, or the training code."""

    HYPERPARAMETERS = "hyperparameters"
    INFRASTRUCTURE = "infrastructure"
    CODE = "code"

    @classmethod
    def known(cls, told: object) -> FailureKind:
        """The kind that somebody wrote down; one that there is not is not held against the point."""
        return next((kind for kind in cls if kind == told), cls.INFRASTRUCTURE)


@dataclass(frozen=True, slots=True)
class Span:
    """Cost of one part of a run, summed over ranks where it says so.

    Attributes:
        wall_seconds: elapsed time of the slowest rank.
        cpu_seconds: process CPU time, summed over ranks.
        gpu_seconds: wall seconds times the GPUs that the run held.
    """

    wall_seconds: float = 0.0
    cpu_seconds: float = 0.0
    gpu_seconds: float = 0.0

    def __add__(self, other: Span) -> Span:
        return Span(
            self.wall_seconds + other.wall_seconds,
            self.cpu_seconds + other.cpu_seconds,
            self.gpu_seconds + other.gpu_seconds,
        )


@dataclass(frozen=True, slots=True)
class Costs:
    """Costs by part: set-up (imports, environments), training, curve points on the way, final evaluation."""

    setup: Span = Span()
    train: Span = Span()
    curve: Span = Span()
    evaluate: Span = Span()

    @property
    def total(self) -> Span:
        """Everything, as the budget pays it."""
        return self.setup + self.train + self.curve + self.evaluate

    @classmethod
    def from_dict(cls, data: Mapping[str, Mapping[str, float]]) -> Costs:
        return cls(**{name: Span(**values) for name, values in data.items()})


@dataclass(frozen=True, slots=True)
class Point:
    """One point of the learning curve: env steps over all ranks, training seconds by each clock, score on held-out
    episodes, and its standard error over them if that is known.
    """

    env_steps: int
    train: Span
    score: float
    score_se: float | None = None

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Point:
        return cls(data["env_steps"], Span(**data["train"]), data["score"], data.get("score_se"))


@dataclass(frozen=True, slots=True)
class Progress:
    """One line of a running run.

    Attributes:
        env_steps: steps done, over all ranks and attempts that survived.
        total_env_steps: steps that the run will do.
        steps_per_second: recent wall-clock speed over all ranks.
        losses: training metrics of the last update, by name.
        point: a fresh learning-curve point, when there is one.
        costs: what the surviving work cost so far (see `RunResult.costs`).
        attempt_costs: what this attempt cost so far.
        nodes: node name of each rank.
        time: when it was so, epoch seconds; None = when it is told.
    """

    env_steps: int
    total_env_steps: int
    steps_per_second: float
    losses: Mapping[str, float] = field(default_factory=dict)
    point: Point | None = None
    costs: Costs = Costs()
    attempt_costs: Costs = Costs()
    nodes: tuple[str, ...] = ()
    time: float | None = None

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Progress:
        fields = dict(data)
        fields["point"] = Point.from_dict(fields["point"]) if fields["point"] else None
        fields["costs"] = Costs.from_dict(fields["costs"])
        fields["attempt_costs"] = Costs.from_dict(fields["attempt_costs"])
        fields["nodes"] = tuple(fields["nodes"])
        return cls(**fields)


@dataclass(frozen=True, slots=True)
class RunEnd:
    """How a run ended, wherever it is told: by the trial, in the registry, in WandB.

    Attributes:
        outcome: "interrupted" when it was asked to stop, or lost what it ran on: then `failure` says so.
        score: value of the metric; None unless completed or stopped early.
        metrics: everything that the suite reported, by name (`reward`, `arena/basic/reward`, ...).
        standard_error: of the score over episodes; None when unknown.
        env_steps: steps trained.
        failure: who is to blame, when failed or lost.
        signature: short text, equal for equal causes (exception type, file, line), when failed or lost.
        message: one line for a person when failed or lost, or why it was interrupted.
        log_tail: last lines of the run's log, at most 8 kB, when failed or lost.
        nodes: node name of each rank.
    """

    outcome: Outcome
    score: float | None
    _: KW_ONLY
    metrics: Mapping[str, Any] = field(default_factory=dict)
    standard_error: float | None = None
    env_steps: int = 0
    failure: FailureKind | None = None
    signature: str = ""
    message: str = ""
    log_tail: str = ""
    nodes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RunResult(RunEnd):
    """What a trial tells of its run at the end.

    Attributes:
        costs: what a clean run costs: work that survived in checkpoints plus the last attempt.
        attempt_costs: what this attempt cost, whatever survived of it; the budget pays these.
        curve: all points of the learning curve.
    """

    costs: Costs
    attempt_costs: Costs
    _: KW_ONLY
    curve: tuple[Point, ...] = ()

    @property
    def is_lost(self) -> bool:
        """Whether what it ran on is gone, so that the run goes on elsewhere."""
        return self.outcome is Outcome.INTERRUPTED and self.failure is not None

    def given_up(self) -> RunResult:
        """The result when nobody takes the run up again: one that was lost has failed."""
        return replace(self, outcome=Outcome.FAILED) if self.is_lost else self

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready form; `from_dict` reads it back."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> RunResult:
        fields = dict(data)
        fields["outcome"] = Outcome(fields["outcome"])
        fields["failure"] = FailureKind(fields["failure"]) if fields["failure"] else None
        fields["costs"] = Costs.from_dict(fields["costs"])
        fields["attempt_costs"] = Costs.from_dict(fields["attempt_costs"])
        fields["curve"] = tuple(map(Point.from_dict, fields["curve"]))
        fields["nodes"] = tuple(fields["nodes"])
        return cls(**fields)
