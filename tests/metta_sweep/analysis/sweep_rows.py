"""Registry records made by hand, for frames whose every number is known."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from metta_sweep.registry.records import AttemptRecord, NewObservation, ObservationRecord, RunRecord, RunState
from trainables.result import Costs, Span


def run(number: int, params: dict[str, Any], state: str = "completed", **changes: Any) -> RunRecord:
    fields: dict[str, Any] = {
        "id": f"demo.r.{number}",
        "sweep": "demo",
        "number": number,
        "state": RunState(state),
        "params": params,
        "explanation": {},
        "phase": "explore",
        "cursor": 0,
        "fence": 1,
        "attempts": 1,
        "owner": None,
        "lease_until": None,
        "seen_at": 1061.0,
        "created_at": 1000.0,
        "started_at": 1001.0,
        "ended_at": 1061.0,
        "predicted_score": None,
        "predicted_cost": None,
        "failure": None,
        "signature": "",
        "message": "",
        "log_tail": "",
    }
    return RunRecord(**{**fields, **changes})


def costs(train: float, *, gpus: float = 0.0) -> dict[str, Any]:
    """2 s of set-up, `train` s of training, 1 s of curve points, 3 s of evaluation, on one CPU and `gpus` GPUs."""
    return asdict(Costs(*(Span(seconds, seconds, gpus * seconds) for seconds in (2.0, train, 1.0, 3.0))))


def observation(
    number: int,
    params: dict[str, Any],
    score: float | None,
    train: float = 10.0,
    *,
    sequence: int | None = None,
    **changes: Any,
) -> ObservationRecord:
    fields: dict[str, Any] = {
        "outcome": "failed" if score is None else "completed",
        "score": score,
        "cost_seconds": train + 3.0,
        "wall_seconds": train + 3.0,
        "costs": costs(train),
        "failure": "hyperparameters" if score is None else None,
        "metrics": {} if score is None else {"reward": score},
        "nodes": ("head", "head"),
    }
    return ObservationRecord(
        sequence or number + 1,
        f"demo.r.{number}",
        number,
        "explore",
        params,
        NewObservation(**{**fields, **changes}),
        1061.0,
    )


def attempt(number: int, train: float = 10.0, *, index: int = 1, gpus: float = 0.0) -> AttemptRecord:
    return AttemptRecord(
        f"demo.r.{number}", index, ("head",), gpus, 1001.0, 1061.0, costs(train, gpus=gpus), "completed"
    )
