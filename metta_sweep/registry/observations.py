"""Stored results as the optimiser learns from them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from metta_sweep.registry.records import ObservationRecord
from searchers import CurvePoint, FailureKind, Observation, Outcome


def to_searcher(record: ObservationRecord) -> Observation:
    """What the optimiser learns from a stored result."""
    stored = record.observation
    return Observation(
        params=record.params,
        score=stored.score,
        cost_seconds=stored.cost_seconds,
        outcome=Outcome(stored.outcome),
        failure=FailureKind(stored.failure) if stored.failure else None,
        curve=tuple(to_point(point) for point in stored.curve if _is_whole(point)),
        wall_seconds=stored.wall_seconds,
        score_se=error_of(stored.standard_error),
    )


def to_point(point: Mapping[str, Any]) -> CurvePoint:
    """A stored point of a learning curve."""
    return CurvePoint(point["env_steps"], point["seconds"], point["score"], error_of(point.get("score_se")))


def error_of(told: object) -> float | None:
    """A standard error as it was stored; None for what is none."""
    return float(told) if isinstance(told, int | float) and told >= 0 else None


def _is_whole(point: Mapping[str, Any]) -> bool:
    """Whether a stored curve point has all that the optimiser looks at."""
    values = [point.get(name) for name in ("env_steps", "seconds", "score")]
    return all(isinstance(value, int | float) and math.isfinite(value) for value in values)
