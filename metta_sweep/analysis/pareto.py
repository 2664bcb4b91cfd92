"""The observed Pareto front of score against cost."""

from __future__ import annotations

import pandas as pd

from metta_sweep.analysis.frame import scored
from metta_sweep.registry.records import RunState
from searchers.pareto import front_indices


def direction(goal: str) -> float:
    """Factor that turns a score into "larger is better".

    Raises:
        ValueError: `goal` is neither maximize nor minimize.
    """
    if goal not in ("maximize", "minimize"):
        raise ValueError(f"goal: need maximize or minimize, got {goal!r}")
    return 1.0 if goal == "maximize" else -1.0


def pareto_front(runs: pd.DataFrame, goal: str, *, cost: str = "cost_seconds") -> pd.DataFrame:
    """Completed rows with a score that no other row beats at the same or a lower cost, from cheap to expensive.

    Of rows with equal score and equal cost the one with the lowest run number stays. A run that was stopped early cost
    less than its parameters do, and its score is that of a few episodes.

    Args:
        cost: column to pay in: `cost_seconds`, `wall_seconds`, `dollars`, ...
    """
    done = scored(runs[runs["state"] != RunState.STOPPED_EARLY]).sort_values("number", kind="stable")
    utility = direction(goal) * done["score"].to_numpy()
    return done.iloc[front_indices(utility, done[cost].to_numpy())]
