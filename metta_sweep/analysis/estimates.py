"""Totals and progress of a sweep."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from metta_sweep.analysis.frame import scored
from metta_sweep.analysis.pareto import direction
from metta_sweep.registry.records import OPEN_STATES, RunState


@dataclass(frozen=True, slots=True)
class Totals:
    """The figures on a sweep's summary cards; means are over the runs that have the number, NaN when none has.

    Attributes:
        num_runs: runs of any state.
        num_completed: ended with a score (completed or stopped early).
        num_failed: failed.
        num_unfinished: reserved, running or interrupted.
        best_score: best single score.
        mean_wall_seconds: of runs with a score.
        paid_wall_seconds: over all attempts.
        paid_gpu_seconds: over all attempts.
        dollars: over all attempts; NaN when the price is not known.
    """

    num_runs: int
    num_completed: int
    num_failed: int
    num_unfinished: int
    best_score: float
    mean_wall_seconds: float
    paid_wall_seconds: float
    paid_gpu_seconds: float
    dollars: float


def totals(runs: pd.DataFrame, goal: str) -> Totals:
    """Summary of a frame."""
    done = scored(runs)
    utility = direction(goal) * done["score"]
    return Totals(
        num_runs=len(runs),
        num_completed=len(done),
        num_failed=int((runs["state"] == RunState.FAILED).sum()),
        num_unfinished=int(runs["state"].isin(OPEN_STATES).sum()),
        best_score=float(direction(goal) * utility.max()),
        mean_wall_seconds=float(done["wall_seconds"].mean()),
        paid_wall_seconds=float(runs["paid_wall_seconds"].sum()),
        paid_gpu_seconds=float(runs["paid_gpu_seconds"].sum()),
        dollars=float(runs["dollars"].sum(min_count=1)),
    )


def progression(runs: pd.DataFrame, goal: str, *, window: int = 10) -> pd.DataFrame:
    """`number`, `id`, `score`, `best_so_far` and `moving_average` over `window` runs, in the order results came."""
    done = scored(runs).sort_values("sequence", ignore_index=True)
    return done[["number", "id", "score"]].assign(
        best_so_far=direction(goal) * (direction(goal) * done["score"]).cummax(),
        moving_average=done["score"].rolling(window, min_periods=1).mean(),
    )
