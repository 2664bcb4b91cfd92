"""Observations that only WandB holds, in every form that they were ever written in."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields
from itertools import product
from typing import Any

import wandb

from metta_sweep.config.names import parameter
from metta_sweep.registry.records import NewObservation
from metta_sweep.tracking.history import flatten
from trainables.result import Costs, FailureKind, Outcome, Span

PAGE_RUNS = 50
PARTS = tuple(part.name for part in fields(Costs))
CLOCKS = tuple(clock.name for clock in fields(Span))
# The keys of a suggestion: this project's, the second and the first generation of Metta sweeps.
SUGGESTION_KEYS = ("suggestion", "protein_suggestion", "protein.suggestion")
UNKNOWN_FAILURE = "imported from WandB, which does not say why it failed"


@dataclass(frozen=True, slots=True)
class PastRun:
    """One run of WandB.

    Attributes:
        id: WandB's id.
        path: entity/project/id.
        params: its point by dotted path, in today's names.
        observation: what came of it; None when `reason` says why nothing can be learned from it.
        reason: one line, or "".
    """

    id: str
    path: str
    params: Mapping[str, Any] = field(default_factory=dict)
    observation: NewObservation | None = None
    reason: str = ""


def past_runs(entity: str, project: str, sweep_name: str, limit: int, *, api: Any = None) -> Iterator[PastRun]:
    """Runs of the sweep, newest first, until `limit` of them had an observation.

    Raises:
        wandb.Error, ValueError: no access, no such project.
    """
    source = api or wandb.Api()
    path = f"{entity}/{project}" if entity else project
    found = 0
    # Not lazy: that would ask once more for each run's summary.
    for run in source.runs(path, filters={"group": sweep_name}, order="-created_at", per_page=PAGE_RUNS, lazy=False):
        past = read(run.id, "/".join(run.path), run.summary_metrics)
        yield past
        found += past.observation is not None
        if found >= limit:
            return


def read(run_id: str, path: str, summary: Mapping[str, Any]) -> PastRun:
    """Make sense of a run's summary."""
    record = summary.get("protein_observation")
    record = record if isinstance(record, Mapping) else {}
    suggestion = record.get("suggestion") or next((summary[key] for key in SUGGESTION_KEYS if summary.get(key)), None)
    if not isinstance(suggestion, Mapping):
        return PastRun(run_id, path, reason="has no suggestion in its summary")
    params = {".".join(parameter(tuple(name.split(".")))): value for name, value in flatten(suggestion, ".").items()}
    if not is_over(record, summary):
        return PastRun(run_id, path, params, reason="has no observation in its summary")
    cost = number(first(record.get("cost"), summary.get("cost_seconds"), summary.get("protein.cost")))
    if cost is None or cost <= 0:
        return PastRun(run_id, path, params, reason=f"has no cost above 0, got {cost!r}")
    score = number(first(record.get("objective"), summary.get("score"), summary.get("protein.objective")))
    has_failed = summary.get("outcome") == Outcome.FAILED or summary.get("protein.state") == "failure"
    is_failure = bool(record.get("is_failure")) or has_failed
    if score is None and not is_failure:
        return PastRun(run_id, path, params, reason="has no finite score")
    return PastRun(run_id, path, params, observed(summary, None if is_failure else score, cost))


def is_over(record: Mapping[str, Any], summary: Mapping[str, Any]) -> bool:
    return bool(record) or "outcome" in summary or summary.get("protein.state") in ("success", "failure")


def observed(summary: Mapping[str, Any], score: float | None, cost: float) -> NewObservation:
    """The observation, failed when there is no score; a failure of unknown kind is not held against the point."""
    wall = number(summary.get("wall_seconds")) or cost
    paid = costs_of(summary) or asdict(Costs(train=Span(wall_seconds=wall)))
    is_failed = score is None
    return NewObservation(
        outcome=outcome_of(summary, is_failed),
        score=score,
        cost_seconds=cost,
        wall_seconds=wall,
        costs=paid,
        attempt_costs=paid,
        metrics={key.removeprefix("metric/"): value for key, value in summary.items() if key.startswith("metric/")},
        standard_error=number(summary.get("standard_error")),
        curve=tuple(point for point in summary.get("curve") or () if is_point(point)),
        env_steps=int(number(summary.get("env_steps")) or 0),
        failure=FailureKind.known(summary.get("failure")) if is_failed else None,
        signature=str(summary.get("failure_signature", "imported")) if is_failed else "",
        message=str(summary.get("failure_message", summary.get("protein.error", UNKNOWN_FAILURE))) if is_failed else "",
    )


def costs_of(summary: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    """The parts that our own mirror wrote as `cost/{part}/{clock}`."""
    parts: dict[str, dict[str, float]] = {}
    for part, clock in product(PARTS, CLOCKS):
        seconds = number(summary.get(f"cost/{part}/{clock}"))
        if seconds is not None and seconds >= 0:
            parts.setdefault(part, {})[clock] = seconds
    return parts


def outcome_of(summary: Mapping[str, Any], is_failed: bool) -> Outcome:
    if is_failed:
        return Outcome.FAILED
    return Outcome.STOPPED_EARLY if summary.get("outcome") == Outcome.STOPPED_EARLY else Outcome.COMPLETED


def is_point(point: Any) -> bool:
    keys = ("env_steps", "seconds", "score")
    return isinstance(point, Mapping) and all(number(point.get(key)) is not None for key in keys)


def first(*values: Any) -> Any:
    """The first that is there."""
    return next((value for value in values if value is not None), None)


def number(value: Any) -> float | None:
    """A finite number, or None. WandB writes NaN and infinities as texts."""
    is_number = isinstance(value, float | int) and not isinstance(value, bool)
    return float(value) if is_number and math.isfinite(value) else None
