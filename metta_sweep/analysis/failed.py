"""Failed runs, grouped by what went wrong."""

from __future__ import annotations

import pandas as pd

from metta_sweep.registry.records import RunState


def failures(runs: pd.DataFrame) -> pd.DataFrame:
    """One row per signature, the most frequent first; `example` is the newest run's id, money NaN without a price."""
    failed = runs[runs["state"] == RunState.FAILED].sort_values("ended_at")
    grouped = failed.groupby(["signature", "failure"], sort=False)
    table = grouped.agg(
        num_runs=("id", "count"),
        dollars=("dollars", lambda money: money.sum(min_count=1)),
        paid_wall_seconds=("paid_wall_seconds", "sum"),
        first_at=("ended_at", "min"),
        last_at=("ended_at", "max"),
        example=("id", "last"),
        message=("message", "last"),
    )
    return table.reset_index().sort_values("num_runs", ascending=False, kind="stable", ignore_index=True)
