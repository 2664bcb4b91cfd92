"""Which configurations are best: by the model's belief or by the measured mean, never by the luckiest of equal runs."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from metta_sweep.analysis.frame import scored
from metta_sweep.analysis.pareto import direction
from metta_sweep.registry.records import RunState
from searchers import Interval

POSTERIOR = ("posterior_mean", "posterior_low", "posterior_high")
NO_MODEL = (math.nan, math.nan, math.nan)
COMPLETED = RunState.COMPLETED.value


@dataclass(frozen=True, slots=True)
class BestRun:
    """One configuration of the ranking.

    Attributes:
        rank: from 1.
        id: its newest run.
        run_ids: all runs of this very point that have a score.
        params: the point by dotted path; what a patch file sets.
        score: mean over its runs.
        standard_error: of that mean; None when no run reported one.
        posterior: the model's belief about the noiseless score with its 90 % interval; None without a model.
        cost_seconds: mean over its runs, in the sweep's cost unit.
        wall_seconds: mean over its runs.
    """

    rank: int
    id: str
    run_ids: tuple[str, ...]
    params: Mapping[str, Any]
    score: float
    standard_error: float | None
    posterior: Interval | None
    cost_seconds: float
    wall_seconds: float


def with_posterior(runs: pd.DataFrame, predict: Callable[[Mapping[str, Any]], Interval | None]) -> pd.DataFrame:
    """The frame with the model's belief about each scored run's point in the columns `POSTERIOR` (NaN for the others).

    Args:
        predict: posterior of the noiseless score at a point; None when there is no model yet. Asked once per distinct
            point.
    """
    done = scored(runs)
    keys = _keys(done)
    points = dict(zip(keys, done["params"], strict=True))
    beliefs = {key: _numbers(predict(params)) for key, params in points.items()}
    columns = pd.DataFrame([beliefs[key] for key in keys], index=done.index, columns=list(POSTERIOR), dtype="float64")
    return runs.drop(columns=list(POSTERIOR), errors="ignore").join(columns)


def best(runs: pd.DataFrame, top_n: int, goal: str, *, by: str = "posterior") -> list[BestRun]:
    """The best `top_n` distinct points, best first; runs of the same point count as one with their mean score.

    Points of which no run was completed come last: what stopped early was never measured at its full length.

    Args:
        runs: a frame from `frame`, with the columns of `with_posterior` if there is a model.
        by: "posterior" ranks by posterior mean where the frame has it and by mean score where it has not; "score" by
            mean score.

    Raises:
        ValueError: `by` or `goal` is unknown.
    """
    if by not in ("posterior", "score"):
        raise ValueError(f"by: need posterior or score, got {by!r}")
    sign = direction(goal)
    points = [{str(name): value for name, value in point.items()} for point in _points(scored(runs)).to_dict("records")]
    has_model = by == "posterior" and any(not math.isnan(point["posterior_mean"]) for point in points)

    def worst_last(point: Mapping[str, Any]) -> tuple[bool, float, float, int]:
        belief = sign * point["posterior_mean"] if has_model else 0.0
        # A point that the model does not cover (outside the present bounds) comes after those that it does.
        is_open = not point["is_completed"]
        return (is_open, math.inf if math.isnan(belief) else -belief, -sign * point["score"], point["number"])

    return [_best_run(rank, point) for rank, point in enumerate(sorted(points, key=worst_last)[:top_n], start=1)]


def _points(done: pd.DataFrame) -> pd.DataFrame:
    """One row per distinct point of the scored runs: means over its runs, `run_ids` as a list.

    The standard error of a mean of n independent runs is sqrt(sum of their squares) / n, over the runs that reported
    one.
    """
    blank = {name: math.nan for name in POSTERIOR if name not in done.columns}
    done = done.assign(key=_keys(done), squares=done["standard_error"] ** 2, is_completed=done["state"] == COMPLETED)
    ordered = done.assign(**blank).sort_values("number")
    run_ids: dict[str, list[str]] = {}
    for key, run_id in zip(ordered["key"], ordered["id"], strict=True):
        run_ids.setdefault(key, []).append(run_id)
    points: pd.DataFrame = ordered.groupby("key", sort=False).agg(
        number=("number", "first"),
        is_completed=("is_completed", "any"),
        params=("params", "first"),
        score=("score", "mean"),
        squares=("squares", "sum"),
        num_errors=("standard_error", "count"),
        cost_seconds=("cost_seconds", "mean"),
        wall_seconds=("wall_seconds", "mean"),
        **{name: (name, "first") for name in POSTERIOR},
    )
    return points.assign(
        run_ids=pd.Series(run_ids, dtype=object), standard_error=points["squares"] ** 0.5 / points["num_errors"]
    )


def _keys(runs: pd.DataFrame) -> list[str]:
    """One text per run, equal for equal points."""
    return [point_key(params) for params in runs["params"]]


def point_key(params: Mapping[str, Any]) -> str:
    """A text that is equal for equal points; true and 1 are different."""
    return repr(sorted(params.items()))


def _numbers(interval: Interval | None) -> tuple[float, float, float]:
    return NO_MODEL if interval is None else (interval.mean, interval.low, interval.high)


def _best_run(rank: int, point: Mapping[str, Any]) -> BestRun:
    posterior = None if math.isnan(point["posterior_mean"]) else Interval(*(point[name] for name in POSTERIOR))
    return BestRun(
        rank=rank,
        id=point["run_ids"][-1],
        run_ids=tuple(point["run_ids"]),
        params=point["params"],
        score=point["score"],
        standard_error=None if math.isnan(point["standard_error"]) else point["standard_error"],
        posterior=posterior,
        cost_seconds=point["cost_seconds"],
        wall_seconds=point["wall_seconds"],
    )
