"""Rows of the registry as frozen data; the store, the service and the client speak in these."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

JsonObject = Mapping[str, Any]


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


class SweepState(StrEnum):
    """`active` takes new runs; `draining` lets running runs finish; `stopped` asks running runs to checkpoint and end."""

    ACTIVE = "active"
    DRAINING = "draining"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class Owner:
    """Who holds a lease: enough to see on the same host that a process is dead, whatever its pid is used for now."""

    host: str
    boot_id: str
    pid: int
    started: float


@dataclass(frozen=True, slots=True)
class SweepRecord:
    """One sweep: its specification as resolved YAML and what the mirror needs."""

    name: str
    spec_yaml: str
    spec_hash: str
    state: SweepState
    created_at: float
    wandb_entity: str = ""
    wandb_project: str = ""


@dataclass(frozen=True, slots=True)
class Reservation:
    """What a driver asks for when it reserves a point.

    Attributes:
        number: the run number this point was computed for; refused with `NumberTaken` unless it is the next free one.
        params: the suggestion, natural units by dotted path.
        explanation: why, as JSON.
        phase: name of the schedule's phase.
        cursor: sequence number of the last observation the point was computed from.
        predicted_score: posterior mean, or None.
        predicted_cost: in the sweep's cost unit, or None.
    """

    number: int
    params: JsonObject
    explanation: JsonObject = field(default_factory=dict)
    phase: str = ""
    cursor: int = 0
    predicted_score: float | None = None
    predicted_cost: float | None = None


@dataclass(frozen=True, slots=True)
class RunRecord:
    """One run as the registry knows it. `fence` rises with each change of owner; writes with an older one are refused."""

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
    created_at: float
    started_at: float | None
    ended_at: float | None
    predicted_score: float | None
    predicted_cost: float | None
    failure: str | None
    signature: str
    message: str
    log_tail: str


@dataclass(frozen=True, slots=True)
class AttemptRecord:
    """One attempt at a run; `costs` as `trainables.Costs` wrote them (empty while it runs), `exit_reason` empty while it runs."""

    run_id: str
    number: int
    nodes: tuple[str, ...]
    num_gpus: float
    started_at: float
    ended_at: float | None
    costs: JsonObject
    exit_reason: str


@dataclass(frozen=True, slots=True)
class NewObservation:
    """A result on its way into the registry; `costs` by part and clock, `metrics` by name, `curve` points as JSON objects."""

    outcome: str
    score: float | None
    cost_seconds: float
    wall_seconds: float
    costs: JsonObject = field(default_factory=dict)
    attempt_costs: JsonObject = field(default_factory=dict)
    metrics: JsonObject = field(default_factory=dict)
    standard_error: float | None = None
    curve: tuple[JsonObject, ...] = ()
    env_steps: int = 0
    failure: str | None = None
    signature: str = ""
    message: str = ""
    log_tail: str = ""
    nodes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ObservationRecord:
    """A stored result. `sequence` orders observations over all drivers of the sweep, from 1, without gaps."""

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
