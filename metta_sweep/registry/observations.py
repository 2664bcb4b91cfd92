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
        curve=tuple(CurvePoint(p["env_steps"], p["seconds"], p["score"]) for p in stored.curve if _is_whole(p)),
        wall_seconds=stored.wall_seconds,
    )


def _is_whole(point: Mapping[str, Any]) -> bool:
    """Whether a stored curve point has all that the optimiser looks at."""
    values = [point.get(name) for name in ("env_steps", "seconds", "score")]
    return all(isinstance(value, int | float) and math.isfinite(value) for value in values)
