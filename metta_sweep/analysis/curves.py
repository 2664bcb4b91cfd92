"""Learning curves: few enough points to draw, and the band of the best runs so far."""

from __future__ import annotations

import numpy as np
import pandas as pd

from metta_sweep.analysis.pareto import direction

MAX_CURVES = 400
MAX_POINTS = 40_000
MIN_MIDDLE = 5  # runs, for a median: of fewer it jumps whenever one of them ends


def with_axis(curves: pd.DataFrame, runs: pd.DataFrame, axis: str, hourly_cost: float | None) -> pd.DataFrame:
    """Curves with a column `x`: `env_steps`, `seconds` of the sweep's cost, or `dollars`.

    Dollars are the run's own, in proportion to its seconds; the price of an hour stands in for runs that are not over.
    """
    if axis != "dollars":
        return curves.assign(x=curves[axis])
    last = curves.groupby("id")["seconds"].max()
    money = runs.set_index("id")["dollars"].reindex(last.index)
    rate = (money / last).where((money > 0) & (last > 0), (hourly_cost or float("nan")) / 3600.0)
    return curves.assign(x=curves["seconds"] * curves["id"].map(rate))


def thinned(curves: pd.DataFrame, runs: pd.DataFrame, goal: str, rng: np.random.Generator) -> pd.DataFrame:
    """At most `MAX_CURVES` curves (best quarter, unfinished, a random choice of the rest) and `MAX_POINTS` points."""
    ids = curves["id"].unique().tolist()
    if len(ids) > MAX_CURVES:
        utility = (direction(goal) * runs.set_index("id")["score"]).reindex(ids)
        must = {*utility[utility.isna()].index[: MAX_CURVES // 4], *utility.nlargest(MAX_CURVES // 4).index}
        rest = [run_id for run_id in ids if run_id not in must]
        ids = [*must, *(rest[index] for index in rng.choice(len(rest), MAX_CURVES - len(must), replace=False))]
        curves = curves[curves["id"].isin(ids)]
    limit = max(MAX_POINTS // max(len(ids), 1), 2)
    position = curves.groupby("id").cumcount()
    length = curves.groupby("id")["id"].transform("size")
    step = np.ceil(length / limit)
    kept: pd.DataFrame = curves[(position % step == 0) | (position == length - 1)]
    return kept


def best_band(curves: pd.DataFrame, goal: str, *, points: int = 60) -> pd.DataFrame:
    """Over all runs that got that far: columns x, best (so far), median, low and high (25 % and 75 %).

    Where fewer than `MIN_MIDDLE` runs got, median, low and high are NaN: they would follow single runs.

    `x` has `points` geometric steps; each curve is read by linear interpolation and not beyond its ends.
    """
    known = curves.dropna(subset=["x", "score"])
    known = known[known["x"] > 0]
    if known.empty:
        return pd.DataFrame(columns=["x", "best", "median", "low", "high"])
    grid = np.geomspace(known["x"].min(), known["x"].max(), points)
    starts = np.flatnonzero(np.r_[True, known["id"].to_numpy()[1:] != known["id"].to_numpy()[:-1]])
    ends = np.r_[starts[1:], len(known)]
    x, score = known["x"].to_numpy(), known["score"].to_numpy()
    table = np.array(
        [np.interp(grid, x[a:b], score[a:b], left=np.nan, right=np.nan) for a, b in zip(starts, ends, strict=True)]
    )
    some = ~np.isnan(table).all(axis=0)
    has_middle = (~np.isnan(table[:, some])).sum(axis=0) >= MIN_MIDDLE
    low, median, high = np.where(has_middle, np.nanquantile(table[:, some], [0.25, 0.5, 0.75], axis=0), np.nan)
    utility = np.nanmax(direction(goal) * table[:, some], axis=0)
    best = direction(goal) * np.maximum.accumulate(utility)
    return pd.DataFrame({"x": grid[some], "best": best, "median": median, "low": low, "high": high})
