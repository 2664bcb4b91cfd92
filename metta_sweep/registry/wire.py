"""What service and client say beside the records, and what the routes of old Cogweb clients take and give."""

from __future__ import annotations

from dataclasses import field
from typing import Annotated, Generic, TypeVar

from pydantic import Field
from pydantic.dataclasses import dataclass

from metta_sweep.registry.records import Owner, Reservation, RunRecord, SweepRecord

T = TypeVar("T")
MAX_PAGE = 1000
STATES = "state"  # what the argument `states` is called in a query


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
    lease_seconds: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None


@dataclass(frozen=True)
class NextRun:
    """`run_id` is what old clients read."""

    run_id: str
    run: RunRecord


@dataclass(frozen=True)
class ErrorBody:
    """`error` is the name of a class of `metta_sweep.errors`; `diff` comes with SpecChanged."""

    error: str
    message: str
    diff: str = ""
