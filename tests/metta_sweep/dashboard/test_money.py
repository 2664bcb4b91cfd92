"""The money bar, by hand calculation."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from metta_sweep.analysis.charges import charged_seconds
from metta_sweep.analysis.money import expected_best, money, overlap_share
from metta_sweep.config.job import Budget
from metta_sweep.registry.records import AttemptRecord

HOUR = 3600.0


def attempt(
    started: float, ended: float | None, gpu_seconds: float | None = None, num_gpus: float = 2.0
) -> AttemptRecord:
    costs = (
        {}
        if gpu_seconds is None
        else {"train": {"wall_seconds": gpu_seconds / 2, "cpu_seconds": 0.0, "gpu_seconds": gpu_seconds}}
    )
    return AttemptRecord("s.r.0", 1, ("n",), num_gpus, started, ended, costs, "" if ended is None else "completed")


def runs(*predicted: float) -> pd.DataFrame:
    """One finished run of 7,200 GPU seconds, and running ones."""
    rows = [
        {
            "state": "completed",
            "predicted_cost": math.nan,
            "sequence": 1,
            "paid_gpu_seconds": 7200.0,
            "paid_wall_seconds": 3600.0,
        }
    ]
    rows += [
        {"state": "running", "predicted_cost": cost, "sequence": 0, "paid_gpu_seconds": 0.0, "paid_wall_seconds": 0.0}
        for cost in predicted
    ]
    return pd.DataFrame(rows)


def test_spent_committed_left_and_rate_in_dollars_and_gpu_hours() -> None:
    # Ended: 2 GPU hours. Running since half an hour on 2 GPUs: 1 GPU hour so far of 3 predicted, so 2 are committed.
    attempts = [attempt(0.0, HOUR, 7200.0), attempt(HOUR, None)]
    budget = Budget(dollars=40.0, hourly_cost=2.0, gpu_hours=10.0)
    result = money(runs(3 * HOUR), attempts, budget, [], created_at=0.0, now=1.5 * HOUR)
    dollars, gpu_hours, hours = result.amounts
    assert (dollars.spent, dollars.committed, dollars.left) == pytest.approx((6.0, 4.0, 30.0))
    assert (gpu_hours.spent, gpu_hours.committed, gpu_hours.left) == pytest.approx((3.0, 2.0, 5.0))
    # In the last hour: half of the first attempt (1 GPU hour) and all of the second (1).
    assert dollars.per_hour == pytest.approx(4.0)
    assert dollars.hours_left == pytest.approx(34.0 / 4.0)
    assert hours.spent == pytest.approx(1.5)
    # 5 GPU hours are the tightest cap; a run takes 2.
    assert result.affordable_runs == 2


def test_without_a_cap_nothing_is_left_to_forecast() -> None:
    result = money(runs(), [attempt(0.0, HOUR, 7200.0)], Budget(hourly_cost=2.0), [], created_at=0.0, now=HOUR)
    assert result.affordable_runs is None
    assert math.isnan(result.amounts[0].left)
    assert math.isnan(result.amounts[0].hours_left)


def test_without_a_price_there_are_no_dollars() -> None:
    assert [
        one.unit for one in money(runs(), [attempt(0.0, HOUR, 1.0)], Budget(), [], created_at=0.0, now=HOUR).amounts
    ] == ["GPU h", "h"]
    assert [
        one.unit
        for one in money(runs(), [attempt(0.0, HOUR, 1.0, 0.0)], Budget(), [], created_at=0.0, now=HOUR).amounts
    ] == ["slot h", "h"]


def test_an_attempt_whose_driver_told_no_costs_is_charged_for_its_time() -> None:
    assert charged_seconds(attempt(0.0, 10.0), now=100.0) == 20.0
    assert charged_seconds(attempt(0.0, None, num_gpus=0.0), now=100.0) == 100.0
    assert overlap_share(attempt(0.0, 2 * HOUR), now=2 * HOUR) == 0.5


def scored(*scores: float) -> pd.DataFrame:
    return pd.DataFrame({"score": scores, "sequence": range(1, len(scores) + 1)})


def test_the_expected_best_never_falls_below_the_best_and_grows_with_the_number_of_runs() -> None:
    history = scored(*np.linspace(0.0, 1.0, 20))
    none, few, many = (expected_best(history, "maximize", count, np.random.default_rng(0)) for count in (0, 5, 500))
    assert none is not None
    assert few is not None
    assert many is not None
    assert (none.mean, none.low, none.high) == (1.0, 1.0, 1.0)
    assert 1.0 <= few.low <= few.mean <= few.high
    assert few.mean < many.mean


def test_minimising_mirrors_maximising() -> None:
    scores = np.linspace(0.0, 1.0, 20)
    up = expected_best(scored(*scores), "maximize", 10, np.random.default_rng(0))
    down = expected_best(scored(*(-scores)), "minimize", 10, np.random.default_rng(0))
    assert up is not None
    assert down is not None
    assert (down.mean, down.low, down.high) == pytest.approx((-up.mean, -up.high, -up.low))


def test_four_scores_are_too_few_to_forecast() -> None:
    assert expected_best(scored(1.0, 2.0, 3.0, 4.0), "maximize", 3, np.random.default_rng(0)) is None
