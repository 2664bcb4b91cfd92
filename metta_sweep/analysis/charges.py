"""What attempts are charged: one rule for the budget, the page, `status` and the report."""

from __future__ import annotations

from metta_sweep.registry.records import AttemptRecord


def charged_seconds(attempt: AttemptRecord, *, gpus: bool | None = None, now: float | None = None) -> float:
    """GPU seconds of an attempt, or its wall seconds in a slot without GPU.

    One that told no costs, as its driver died or it still runs, is charged from its start to its end.

    Args:
        gpus: whether it pays by GPU-hour; None = if it held GPUs.
        now: end of attempts that still run, epoch seconds; None = those cost nothing yet.
    """
    gpus = attempt.num_gpus > 0 if gpus is None else gpus
    if attempt.costs:
        clock = "gpu_seconds" if gpus else "wall_seconds"
        return sum(float(part.get(clock, 0.0)) for part in attempt.costs.values())
    return lasted(attempt, now) * (attempt.num_gpus if gpus else 1.0)


def paid_seconds(attempt: AttemptRecord, now: float | None = None) -> float:
    """Wall seconds that an attempt is charged for, whatever it held."""
    return charged_seconds(attempt, gpus=False, now=now)


def lasted(attempt: AttemptRecord, now: float | None = None) -> float:
    """From start to end, seconds."""
    end = now if attempt.ended_at is None else attempt.ended_at
    return 0.0 if end is None else max(end - attempt.started_at, 0.0)
