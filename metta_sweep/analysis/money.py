"""Where the money of a sweep stands: spent, promised, left, how fast it goes, and what the rest may still buy."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from metta_sweep.analysis.charges import charged_seconds
from metta_sweep.analysis.duration import elapsed
from metta_sweep.analysis.frame import scored
from metta_sweep.analysis.pareto import direction
from metta_sweep.analysis.utilisation import SlotUse, idle_seconds
from metta_sweep.config.job import Budget
from metta_sweep.registry.records import OPEN_STATES, AttemptRecord

RECENT_SECONDS = 3600.0
RECENT_RUNS = 40
MIN_RUNS = 5
DRAWS = 4000


@dataclass(frozen=True, slots=True)
class Amount:
    """One thing that a sweep pays with: dollars, GPU-hours or hours.

    Attributes:
        unit: "$", "GPU h", "slot h" or "h".
        spent: so far: what all attempts are charged. Caps hold this.
        committed: what reserved and running runs are predicted to still need.
        cap: None when there is no limit.
        per_hour: spent in the last hour, per hour of wall clock; 0 while nothing runs.
        idle: what the sweep's slots cost while no run paid for them; 0 of "h".
    """

    unit: str
    spent: float
    committed: float
    cap: float | None
    per_hour: float
    idle: float = 0.0

    @property
    def node_bill(self) -> float:
        """What the slots cost while the sweep was on: what its runs are charged, and what was idle."""
        return self.spent + self.idle

    @property
    def left(self) -> float:
        """What may still be promised; NaN without a cap."""
        return math.nan if self.cap is None else max(self.cap - self.spent - self.committed, 0.0)

    @property
    def hours_left(self) -> float:
        """Hours until the cap at the present rate; NaN without a cap, infinite when nothing is spent."""
        if self.cap is None or math.isnan(self.per_hour):
            return math.nan
        return max(self.cap - self.spent, 0.0) / self.per_hour if self.per_hour > 0 else math.inf


@dataclass(frozen=True, slots=True)
class Money:
    """The money bar.

    Attributes:
        amounts: dollars (when the price is known), GPU-hours or slot-hours, hours since the sweep was made.
        mean_run_seconds: slot seconds that a finished run took; NaN before there is one.
        affordable_runs: further runs that fit into what is left; None without a cap.
    """

    amounts: tuple[Amount, ...]
    mean_run_seconds: float
    affordable_runs: int | None


def money(
    runs: pd.DataFrame,
    attempts: Sequence[AttemptRecord],
    budget: Budget,
    slots: Sequence[SlotUse],
    *,
    created_at: float,
    now: float,
) -> Money:
    """Add up a sweep.

    Args:
        runs: a frame of all runs, whatever is shown of them.
        attempts: all attempts; running ones are charged up to `now`.
        budget: caps and price per GPU-hour (per slot-hour without GPUs).
        slots: where the attempts ran; see `utilisation`.
        created_at: when the sweep was made, epoch seconds.
    """
    has_gpus = any(attempt.num_gpus > 0 for attempt in attempts)
    charges = [(attempt, charged_seconds(attempt, now=now)) for attempt in attempts]
    spent = sum(seconds for _, seconds in charges)
    running = sum(seconds for attempt, seconds in charges if attempt.ended_at is None)
    unfinished = runs.loc[runs["state"].isin(OPEN_STATES), "predicted_cost"]
    committed = max(float(unfinished.sum()) - running, 0.0)
    is_running = any(attempt.ended_at is None for attempt in attempts)
    recent = sum(overlap_share(attempt, now) * seconds for attempt, seconds in charges) if is_running else 0.0
    window = min(RECENT_SECONDS, max(now - created_at, 1.0))
    idle = idle_seconds(slots)
    # Slot seconds per second are slot hours per hour.
    hours = Amount("slot h", spent / 3600, committed / 3600, None, recent / window, idle / 3600)
    finished = runs.loc[runs["sequence"] > 0, "paid_gpu_seconds" if has_gpus else "paid_wall_seconds"]
    amounts = _amounts(hours, budget, has_gpus=has_gpus, elapsed_hours=(now - created_at) / 3600)
    mean = float(finished.mean()) if len(finished) else math.nan
    return Money(amounts, mean, _affordable(amounts, mean, budget, has_gpus=has_gpus))


def amount_in_words(value: float, unit: str) -> str:
    """`$1.200`; `3 min 35 s of slots`, `2 h 5 min of GPUs`."""
    return f"${value:.3f}" if unit == "$" else f"{elapsed(value * 3600)} of {'GPUs' if unit == 'GPU h' else 'slots'}"


def bill_text(amounts: Sequence[Amount], show: Callable[[float, str], str] = amount_in_words) -> list[str]:
    """`node bill $0.150 = run cost $0.120 + idle $0.030`, in each unit that a slot is paid in.

    Args:
        show: a value and its unit in words.
    """
    return [
        f"node bill {show(one.node_bill, one.unit)} = run cost {show(one.spent, one.unit)}"
        f" + idle {show(one.idle, one.unit)}"
        for one in amounts
        if one.unit != "h"
    ]


def _amounts(hours: Amount, budget: Budget, *, has_gpus: bool, elapsed_hours: float) -> tuple[Amount, ...]:
    """The same in each unit, from GPU-hours or slot-hours without a cap."""
    amounts = []
    if (price := budget.hourly_cost) is not None:
        told = {name: getattr(hours, name) * price for name in ("spent", "committed", "per_hour", "idle")}
        amounts.append(Amount("$", cap=budget.dollars, **told))
    amounts.append(replace(hours, unit="GPU h", cap=budget.gpu_hours) if has_gpus else hours)
    wall_cap = None if budget.wall_clock is None else budget.wall_clock / 3600
    amounts.append(Amount("h", elapsed_hours, 0.0, wall_cap, 1.0 if hours.per_hour > 0 else 0.0))
    return tuple(amounts)


def _affordable(amounts: Sequence[Amount], mean_run_seconds: float, budget: Budget, *, has_gpus: bool) -> int | None:
    """Runs that the tightest cap on slot time leaves room for."""
    price = budget.hourly_cost or math.nan
    capped = [amount for amount in amounts if amount.cap is not None and amount.unit != "h"]
    hours = [amount.left / (price if amount.unit == "$" else 1.0) for amount in capped]
    hours = [one for one in hours if not math.isnan(one)]
    return int(min(hours) * 3600 / mean_run_seconds) if hours and mean_run_seconds > 0 else None


def overlap_share(attempt: AttemptRecord, now: float) -> float:
    """Share of an attempt's time that lies within the last `RECENT_SECONDS`."""
    end = attempt.ended_at or now
    length = end - attempt.started_at
    inside = end - max(attempt.started_at, now - RECENT_SECONDS)
    return min(max(inside / length, 0.0), 1.0) if length > 0 else 0.0


@dataclass(frozen=True, slots=True)
class Forecast:
    """What is expected of further runs, if they are like the past ones: mean and central 90 % interval."""

    mean: float
    low: float
    high: float


def expected_best(runs: pd.DataFrame, goal: str, num_more: int, rng: np.random.Generator) -> Forecast | None:
    """Best score after `num_more` further runs, if they are like the latest `RECENT_RUNS`.

    Draws from the latest scores, smoothed with a Gaussian kernel (Silverman's width), so that a run may beat all so
    far. The optimiser usually does better than its past: this is a cautious figure. None with fewer than `MIN_RUNS`
    scores.

    Source: Silverman 1986, Density Estimation for Statistics and Data Analysis, section 3.4 and 6.4.
    """
    utility = direction(goal) * scored(runs).sort_values("sequence")["score"].to_numpy()
    if len(utility) < MIN_RUNS:
        return None
    recent = utility[-RECENT_RUNS:]
    middle_half = float(np.subtract(*np.quantile(recent, [0.75, 0.25]))) / 1.34 or math.inf
    width = 0.9 * min(recent.std(ddof=1), middle_half) * len(recent) ** -0.2
    best = float(utility.max())
    # The maximum of m draws is the u^(1/m) quantile of one draw: no need to draw m times.
    if num_more <= 0:
        return Forecast(*(direction(goal) * best,) * 3)
    smooth = np.sort(rng.choice(recent, DRAWS * 5) + width * rng.standard_normal(DRAWS * 5))
    maxima = np.maximum(np.quantile(smooth, rng.uniform(size=DRAWS) ** (1.0 / num_more)), best)
    low, high = np.quantile(direction(goal) * maxima, [0.05, 0.95])
    return Forecast(direction(goal) * float(maxima.mean()), float(low), float(high))
