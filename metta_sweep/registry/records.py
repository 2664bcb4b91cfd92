"""Rows of the registry as frozen data; the store, the service and the client speak in these."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import KW_ONLY, asdict, dataclass, field, fields
from enum import StrEnum
from typing import Any

from metta_sweep.errors import InvalidRequest
from metta_sweep.registry.names import check_run_id, check_sweep_name
from trainables.result import FailureKind, Outcome, RunEnd, RunResult

JsonObject = Mapping[str, Any]
# Key of a run's explanation that says which WandB run it was imported from: entity/project/id.
IMPORTED_FROM = "wandb_path"


# A screen of text, and a line of labels: guesses at what somebody says of one run. 5,000 runs then stay below 15 MB.
MAX_NOTE = 2000
MAX_TAGS = 20
MAX_TAG = 40


class RunState(StrEnum):
    """`reserved -> running -> completed | stopped_early | failed`, and `interrupted`, which goes back to `running`."""

    RESERVED = "reserved"
    RUNNING = "running"
    INTERRUPTED = "interrupted"
    COMPLETED = "completed"
    STOPPED_EARLY = "stopped_early"
    FAILED = "failed"

    @property
    def is_final(self) -> bool:
        return self in (RunState.COMPLETED, RunState.STOPPED_EARLY, RunState.FAILED)


FINAL_STATES = tuple(state for state in RunState if state.is_final)
OPEN_STATES = tuple(state for state in RunState if not state.is_final)


class SweepState(StrEnum):
    """`active` takes new runs; `draining` lets running runs finish; `stopped` asks running runs to checkpoint and
    end.
    """

    ACTIVE = "active"
    DRAINING = "draining"
    STOPPED = "stopped"


STOP_NOW = f"sweep_{SweepState.STOPPED}"
STOP_EVENTS = (f"sweep_{SweepState.DRAINING}", STOP_NOW)  # what the log says when somebody asks drivers to stop
REMARKED = "remarked"  # event: somebody wrote a note or tags


@dataclass(frozen=True, slots=True)
class Owner:
    """Who holds a lease: enough to see on the same host that a process is dead, whatever its pid is used for now.

    Attributes:
        host: host name.
        boot_id: machine, boot and pid namespace; see `owner.current_owner`.
        pid: process id inside that namespace.
        started: when the process started, seconds since the boot (a clock that nobody can set).
    """

    host: str
    boot_id: str
    pid: int
    started: float

    def __post_init__(self) -> None:
        if not math.isfinite(self.started):
            raise InvalidRequest(f"started: need a finite number, got {self.started!r}")
        object.__setattr__(self, "started", float(self.started))  # owners are compared as JSON, where 1 is not 1.0


@dataclass(frozen=True, slots=True)
class SweepRecord:
    """One sweep: its specification as resolved YAML ("" until a driver brings one) and what the mirror needs.

    `id` is its own: another sweep of the same name, in another registry or after this one is gone, has another.
    """

    name: str
    spec_yaml: str
    spec_hash: str
    state: SweepState
    created_at: float
    wandb_entity: str = ""
    wandb_project: str = ""
    wandb_sweep_id: str = ""
    id: str = ""

    def __post_init__(self) -> None:
        check_sweep_name(self.name)  # it becomes a directory
        if not self.id:  # rows of the schema before, and a service of the version before, have none
            text = f"{self.name} {self.created_at!r}"
            object.__setattr__(self, "id", hashlib.sha256(text.encode()).hexdigest()[:32])


@dataclass(frozen=True, slots=True)
class Reservation:
    """What a driver asks for when it reserves a point.

    Attributes:
        number: the run number this point was computed for; refused with `NumberTaken` unless it is the next free one.
            None takes whatever comes next, for callers that only want an id.
        params: the suggestion, natural units by dotted path.
        explanation: why, as JSON.
        phase: name of the schedule's phase.
        cursor: sequence number of the last observation the point was computed from.
        predicted_score: posterior mean, or None.
        predicted_cost: in the sweep's cost unit, or None.
    """

    number: int | None
    params: JsonObject
    explanation: JsonObject = field(default_factory=dict)
    phase: str = ""
    cursor: int = 0
    predicted_score: float | None = None
    predicted_cost: float | None = None


@dataclass(frozen=True, slots=True)
class RunRecord:
    """One run as the registry knows it.

    `fence` rises with each change of owner, to nobody as well; writes with an older one are refused. `lease_until` is
    None when nobody holds the run or the lease has no end. `seen_at` is when the owner last gave a sign of life.
    """

    id: str
    sweep: str
    number: int
    state: RunState
    params: JsonObject
    explanation: JsonObject
    phase: str
    cursor: int
    fence: int
    attempts: int
    owner: Owner | None
    lease_until: float | None
    seen_at: float
    created_at: float
    started_at: float | None
    ended_at: float | None
    predicted_score: float | None
    predicted_cost: float | None
    failure: FailureKind | None
    signature: str
    message: str
    log_tail: str

    def __post_init__(self) -> None:
        check_run_id(self.id)  # it becomes a directory


@dataclass(frozen=True, slots=True)
class AttemptRecord:
    """One attempt at a run; `costs` as `trainables.Costs` wrote them (empty while it runs), `exit_reason` empty while
    it runs.
    """

    run_id: str
    number: int
    nodes: tuple[str, ...]
    num_gpus: float
    started_at: float
    ended_at: float | None
    costs: JsonObject
    exit_reason: str


@dataclass(frozen=True, slots=True)
class RemarkRecord:
    """What people wrote about a run, or about the sweep itself, whose `run_id` is "".

    Raises:
        InvalidRequest: a note or a tag that is too long, too many tags, a tag with a comma or a line end.
    """

    run_id: str
    note: str = ""
    tags: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if len(self.note) > MAX_NOTE:
            raise InvalidRequest(f"note: need at most {MAX_NOTE:,} characters, got {len(self.note):,}")
        tags = tuple(dict.fromkeys(tag.strip() for tag in self.tags if tag.strip()))
        if len(tags) > MAX_TAGS:
            raise InvalidRequest(f"tags: need at most {MAX_TAGS}, got {len(tags)}")
        for tag in tags:
            if len(tag) > MAX_TAG or "," in tag or not tag.isprintable():
                raise InvalidRequest(f"tags: need 1 to {MAX_TAG} characters without a comma each, got {tag[:80]!a}")
        object.__setattr__(self, "tags", tags)


NO_REMARK = RemarkRecord("")


@dataclass(frozen=True, slots=True)
class NewObservation(RunEnd):
    """The end of a run with what it cost, on its way into the registry.

    Attributes:
        cost_seconds: what the optimiser learns of, in the sweep's cost clock.
        wall_seconds: length of the same.
        costs: by part and clock, as `trainables.Costs` wrote them.
        attempt_costs: likewise, of the last attempt.
        curve: points as JSON objects with `env_steps`.

    Raises:
        InvalidRequest: an unknown outcome or kind of failure, a score that is missing or not finite, a cost that is
            negative or not finite.
    """

    cost_seconds: float
    wall_seconds: float
    costs: JsonObject = field(default_factory=dict)
    attempt_costs: JsonObject = field(default_factory=dict)
    _: KW_ONLY
    curve: tuple[JsonObject, ...] = ()

    def __post_init__(self) -> None:
        outcome, is_failed = str(self.outcome), self.outcome == Outcome.FAILED
        if outcome not in (Outcome.COMPLETED, Outcome.STOPPED_EARLY, Outcome.FAILED):
            raise InvalidRequest(f"outcome: need completed, stopped_early or failed, got {outcome[:80]!r}")
        if self.failure is not None and self.failure not in list(FailureKind):
            raise InvalidRequest(f"failure: need {', '.join(FailureKind)}, got {str(self.failure)[:80]!a}")
        if (self.score is None) != is_failed:
            what = "have none" if is_failed else "need one"
            raise InvalidRequest(f"score: {outcome} runs {what}, got {self.score!r}")
        if self.score is not None and not math.isfinite(self.score):
            raise InvalidRequest(f"score: need a finite number, got {self.score!r}; report the run as failed instead")
        for name, seconds in (("cost_seconds", self.cost_seconds), ("wall_seconds", self.wall_seconds)):
            if not (math.isfinite(seconds) and seconds >= 0):
                raise InvalidRequest(f"{name}: need a finite number >= 0, got {seconds!r}")
        object.__setattr__(self, "outcome", Outcome(outcome))  # callers with plain texts, such as older ones
        object.__setattr__(self, "failure", None if self.failure is None else FailureKind(self.failure))

    @classmethod
    def of(
        cls, result: RunResult, cost_seconds: float, wall_seconds: float, curve: tuple[JsonObject, ...]
    ) -> NewObservation:
        """What a trial told, with its cost and its curve in the sweep's own clock."""
        told = {item.name: getattr(result, item.name) for item in fields(RunEnd)}
        told |= {"costs": asdict(result.costs), "attempt_costs": asdict(result.attempt_costs)}
        return cls(**told, cost_seconds=cost_seconds, wall_seconds=wall_seconds, curve=curve)


@dataclass(frozen=True, slots=True)
class ObservationRecord:
    """A stored result.

    `sequence` orders observations over all drivers of the sweep, from 1; a retried run's number is never used again.
    """

    sequence: int
    run_id: str
    run_number: int
    phase: str
    params: JsonObject
    observation: NewObservation
    created_at: float


@dataclass(frozen=True, slots=True)
class EventRecord:
    """Append-only log of the sweep: what happened, when (epoch seconds), by whom, why."""

    sequence: int
    sweep: str
    at: float
    kind: str
    run_id: str | None
    by: str
    detail: JsonObject
