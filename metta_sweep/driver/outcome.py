"""What goes between optimiser, registry and run: suggestions on their way out, results on their way back.

Pure conversions.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from metta_sweep.registry.records import NewObservation, Reservation
from searchers import Suggestion
from trainables.result import Costs, FailureKind, Outcome, Point, Progress, RunResult, Span

# A run that died at once still took something; a cost of zero has no logarithm.
MIN_COST_SECONDS = 1e-3


def cost_clock(cost: str, num_gpus: float) -> str:
    """Field of `Span` that the optimiser's cost is read from: `auto` means GPU seconds when runs have GPUs, else CPU
    seconds.
    """
    if cost == "auto":
        cost = "gpu" if num_gpus > 0 else "cpu"
    return f"{cost}_seconds"


def searched_cost(costs: Costs, clock: str) -> float:
    """What the point itself costs: training plus evaluation.

    Set-up depends on whether a worker was warm, and curve points on how often we look; neither says anything about the
    point.
    """
    part: Span = costs.train + costs.evaluate
    return max(float(getattr(part, clock)), MIN_COST_SECONDS)


def finished(result: RunResult, clock: str) -> NewObservation:
    """What the registry stores about a run that ended."""
    return NewObservation.of(
        result,
        cost_seconds=searched_cost(result.costs, clock),
        wall_seconds=max((result.costs.train + result.costs.evaluate).wall_seconds, MIN_COST_SECONDS),
        curve=tuple(curve_point(point, clock) for point in result.curve),
    )


def stopped_early(progress: Progress, curve: tuple[Point, ...], reason: str, clock: str) -> NewObservation:
    """A run that the stopping rule ended: its last curve point is its score."""
    return finished(
        RunResult(
            outcome=Outcome.STOPPED_EARLY,
            score=curve[-1].score,
            costs=progress.costs,
            attempt_costs=progress.attempt_costs,
            curve=curve,
            env_steps=progress.env_steps,
            message=reason,
            nodes=progress.nodes,
        ),
        clock,
    )


def lost(progress: Progress | None, message: str, clock: str) -> NewObservation:
    """A run given up after its workers were lost too often."""
    progress = progress or Progress(env_steps=0, total_env_steps=0, steps_per_second=0.0)
    return finished(
        RunResult(
            outcome=Outcome.FAILED,
            score=None,
            costs=progress.costs,
            attempt_costs=progress.attempt_costs,
            env_steps=progress.env_steps,
            failure=FailureKind.INFRASTRUCTURE,
            signature="infrastructure: lost",
            message=message,
            nodes=progress.nodes,
        ),
        clock,
    )


def refused(message: str, clock: str) -> NewObservation:
    """A run that nobody should start: its point is not of this sweep."""
    nothing = Costs()
    failure, signature = FailureKind.INFRASTRUCTURE, "refused: outside the search space"
    return finished(
        RunResult(Outcome.FAILED, None, nothing, nothing, failure=failure, signature=signature, message=message), clock
    )


def curve_point(point: Point, clock: str) -> dict[str, Any]:
    """A learning-curve point as the registry stores it, in the sweep's cost clock."""
    return {"env_steps": point.env_steps, "seconds": float(getattr(point.train, clock)), "score": point.score}


def reservation_of(suggestion: Suggestion, phase: str, cursor: int) -> Reservation:
    """What the registry stores of a suggestion before anything starts."""
    explanation = suggestion.explanation
    return Reservation(
        number=suggestion.number,
        params=dict(suggestion.params),
        explanation=to_json(asdict(explanation)),
        phase=phase,
        cursor=cursor,
        predicted_score=explanation.predicted_score.mean if explanation.predicted_score else None,
        predicted_cost=explanation.predicted_cost.mean if explanation.predicted_cost else None,
    )


def to_json(value: Any) -> Any:
    """Plain JSON types: mappings to dicts, tuples to lists."""
    if isinstance(value, dict):
        return {str(key): to_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_json(item) for item in value]
    return value.item() if hasattr(value, "item") else value
