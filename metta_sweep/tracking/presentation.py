"""How a run looks in WandB: its config, tags and summary, as pure functions of the registry's records."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from metta_sweep.registry.records import NewObservation, ObservationRecord, RunRecord, SweepRecord
from metta_sweep.tracking.history import flatten


def tags(sweep: SweepRecord, own: Sequence[str] = ()) -> tuple[str, ...]:
    """Tags of every run of the sweep."""
    return (f"sweep_name:{sweep.name}", f"sweep_id:{sweep.spec_hash[:16]}", *own)


def config(run: RunRecord) -> dict[str, Any]:
    """What the run is, and its suggestion by dotted path, so that WandB's plots and filters see each parameter."""
    return {**run.params, "sweep_name": run.sweep, "run_number": run.number, "phase": run.phase}


def summary(run: RunRecord, record: ObservationRecord) -> dict[str, Any]:
    """What came of the run. `protein_observation` is what older tools read."""
    result = record.observation
    values: dict[str, Any] = {
        "outcome": str(result.outcome),
        "score": result.score,
        "standard_error": result.standard_error,
        "cost_seconds": result.cost_seconds,
        "wall_seconds": result.wall_seconds,
        **flatten({"cost": result.costs, "metric": result.metrics}),
        "env_steps": result.env_steps,
        "curve": [dict(point) for point in result.curve],
        "suggestion": dict(run.params),
        "explanation": dict(run.explanation),
        "predicted_score": run.predicted_score,
        "predicted_cost": run.predicted_cost,
        "protein_suggestion": dict(run.params),
        "protein_observation": protein_observation(run.params, result.score, result.cost_seconds),
    }
    if result.failure is not None:
        values["failure"] = str(result.failure)
        values |= {"failure_signature": result.signature, "failure_message": result.message}
    return {key: value for key, value in values.items() if value is not None}


def protein_observation(params: Mapping[str, Any], score: float | None, cost_seconds: float) -> dict[str, Any]:
    """The record by which sweeps that live in WandB alone were read back; a run without a score has failed."""
    return {"suggestion": dict(params), "objective": score, "cost": cost_seconds, "is_failure": score is None}


def exit_code(result: NewObservation) -> int:
    """0 makes WandB show the run as finished, 1 as failed."""
    return 0 if result.outcome.is_good else 1
