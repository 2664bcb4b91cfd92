"""Bodies of requests and answers between service and client, beside the records themselves."""

from __future__ import annotations

from dataclasses import field
from typing import Annotated, Generic, TypeVar

from pydantic import Field
from pydantic.dataclasses import dataclass

from metta_sweep.registry.names import SWEEP_NAME
from metta_sweep.registry.records import (
    JsonObject,
    NewObservation,
    Owner,
    Reservation,
    RunRecord,
    SweepRecord,
    SweepState,
)
from metta_sweep.registry.writes import EVENT_KIND

T = TypeVar("T")
Fence = Annotated[int, Field(ge=1, le=2**31 - 1)]
LeaseSeconds = Annotated[float, Field(gt=0, allow_inf_nan=False)] | None  # None: without end
RunId = Annotated[str, Field(pattern=rf"^{SWEEP_NAME}\.r\.[0-9]{{1,9}}$")]
MAX_PAGE = 1000


@dataclass(frozen=True)
class Page(Generic[T]):
    """Part of a list; `next` is the `after` of the next part, None at the end."""

    items: list[T]
    next: int | None


@dataclass(frozen=True)
class SweepBody:
    """`project`, `entity` and `wandb_sweep_id` are what old clients send."""

    project: str = ""
    entity: str = ""
    wandb_sweep_id: str = ""
    spec_yaml: str = ""
    update: bool = False


@dataclass(frozen=True)
class SweepCreated:
    """`created` and `sweep_id` are what old clients read."""

    created: bool
    sweep_id: str
    sweep: SweepRecord


@dataclass(frozen=True)
class SweepInfo:
    """`exists` and `wandb_sweep_id` are what old clients read; `message` names the nearest sweep when there is none."""

    exists: bool
    wandb_sweep_id: str
    sweep: SweepRecord | None = None
    message: str = ""


@dataclass(frozen=True)
class NextRunBody:
    """A reservation. Old clients send none of it: they get an id whose lease has no end and do the rest elsewhere."""

    reservation: Reservation = field(default_factory=lambda: Reservation(None, {}))
    owner: Owner | None = None
    lease_seconds: LeaseSeconds = None


@dataclass(frozen=True)
class NextRun:
    """`run_id` is what old clients read."""

    run_id: str
    run: RunRecord


@dataclass(frozen=True)
class StateBody:
    state: SweepState
    by: str
    reason: str
    age_seconds: float = 0.0


@dataclass(frozen=True)
class SuggestionBody:
    fence: Fence
    reservation: Reservation


@dataclass(frozen=True)
class StartBody:
    fence: Fence
    num_gpus: Annotated[float, Field(ge=0, allow_inf_nan=False)]


@dataclass(frozen=True)
class NodesBody:
    fence: Fence
    nodes: list[str]


@dataclass(frozen=True)
class ProgressBody:
    fence: Fence
    curve: list[JsonObject]


@dataclass(frozen=True)
class InterruptBody:
    fence: Fence
    reason: str
    costs: JsonObject


@dataclass(frozen=True)
class ReleaseBody:
    fence: Fence


@dataclass(frozen=True)
class FinishBody:
    fence: Fence
    observation: NewObservation


@dataclass(frozen=True)
class RetryBody:
    by: str


@dataclass(frozen=True)
class HeartbeatBody:
    owner: Owner
    run_ids: list[RunId]
    lease_seconds: LeaseSeconds


@dataclass(frozen=True)
class ClaimBody:
    """`dead` are owners that the claiming host knows to be dead; nobody else can tell."""

    owner: Owner
    lease_seconds: LeaseSeconds
    dead: list[Owner]


@dataclass(frozen=True)
class DeleteBody:
    """`dead` as in `ClaimBody`; `force` deletes what somebody works on."""

    dead: list[Owner]
    force: bool = False


@dataclass(frozen=True)
class EventBody:
    kind: Annotated[str, Field(pattern=f"^{EVENT_KIND}$")]
    run_id: RunId | None
    by: str
    detail: JsonObject


@dataclass(frozen=True)
class ErrorBody:
    """`error` is the name of a class of `metta_sweep.errors`; `diff` comes with SpecChanged."""

    error: str
    message: str
    diff: str = ""
