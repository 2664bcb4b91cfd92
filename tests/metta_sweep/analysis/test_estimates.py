"""Importance, totals and progress, against numbers worked out by hand."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd
import pytest

from metta_sweep.analysis.estimates import progression, totals
from metta_sweep.analysis.frame import build
from metta_sweep.analysis.importance import importance
from tests.metta_sweep.analysis.sweep_rows import attempt, observation, run


def table(rows: list[tuple[dict[str, Any], float]]) -> pd.DataFrame:
    runs = [run(i, params) for i, (params, _) in enumerate(rows)]
    return build(runs, [observation(i, params, score) for i, (params, score) in enumerate(rows)], [])


def test_a_monotone_parameter_has_importance_one_whatever_its_scale() -> None:
    found = importance(table([({"lr": 1e-5}, 1.0), ({"lr": 1e-4}, 2.0), ({"lr": 1e-2}, 3.0)]))
    assert [(row.parameter, row.importance, row.correlation, row.num_runs) for row in found.itertuples()] == [
        ("lr", pytest.approx(1.0), pytest.approx(1.0), 3)
    ]
    assert set(found["method"]) == {"rank correlation"}


def test_a_falling_parameter_has_a_negative_correlation_and_the_strongest_comes_first() -> None:
    # Ranks of b: 1 3 2 4 against 1 2 3 4: 1 - 6 * 2 / (4 * 15) = 0.8.
    found = importance(
        table([({"a": 4, "b": 1}, 1.0), ({"a": 3, "b": 3}, 2.0), ({"a": 2, "b": 2}, 3.0), ({"a": 1, "b": 4}, 4.0)])
    )
    assert list(found["parameter"]) == ["a", "b"]
    assert list(found["correlation"]) == [pytest.approx(-1.0), pytest.approx(0.8)]


def test_a_choice_has_the_correlation_ratio_of_its_groups() -> None:
    # Target ranks 1 2 | 3 4: group means 1.5 and 3.5 around 2.5, between 4, total 5.
    found = importance(
        table([({"opt": "adam"}, 1.0), ({"opt": "adam"}, 2.0), ({"opt": "muon"}, 3.0), ({"opt": "muon"}, 4.0)])
    )
    assert found["importance"][0] == pytest.approx(math.sqrt(4 / 5))
    assert math.isnan(found["correlation"][0])


def test_a_switch_counts_as_a_choice() -> None:
    found = importance(table([({"on": True}, 1.0), ({"on": True}, 2.0), ({"on": False}, 3.0)]))
    assert math.isnan(found["correlation"][0])


def test_constant_parameters_constant_targets_and_two_runs_say_nothing() -> None:
    assert importance(table([({"a": 1, "b": 1}, 1.0), ({"a": 1, "b": 2}, 2.0)])).empty
    assert importance(table([({"a": 1}, 1.0), ({"a": 2}, 1.0), ({"a": 3}, 1.0)])).empty
    assert importance(build([], [], [])).empty


def test_importance_can_look_at_cost() -> None:
    runs = table([({"a": 1}, 1.0), ({"a": 2}, 5.0), ({"a": 3}, 2.0)]).assign(cost_seconds=[1.0, 2.0, 3.0])
    assert importance(runs, "cost_seconds")["correlation"][0] == pytest.approx(1.0)


def test_totals_count_states_and_add_up_what_was_paid() -> None:
    runs = [run(0, {}), run(1, {}), run(2, {}, "failed"), run(3, {}, "running")]
    observations = [observation(0, {}, 1.0, 10.0), observation(1, {}, 4.0, 30.0), observation(2, {}, None)]
    attempts = [attempt(0, 10.0), attempt(1, 30.0), attempt(2, 10.0)]  # 16, 36 and 16 s with set-up, curve, evaluation
    found = totals(build(runs, observations, attempts, hourly_cost=3600.0), "maximize")
    assert (found.num_runs, found.num_completed, found.num_failed, found.num_unfinished) == (4, 2, 1, 1)
    assert (found.best_score, found.mean_wall_seconds, found.paid_wall_seconds, found.dollars) == (
        4.0,
        23.0,
        68.0,
        68.0,
    )


def test_totals_of_nothing_are_nothing() -> None:
    found = totals(build([], [], []), "minimize")
    assert found.num_runs == 0
    assert math.isnan(found.best_score)
    assert math.isnan(found.dollars)


@pytest.mark.parametrize(("goal", "best"), [("maximize", [2.0, 2.0, 5.0]), ("minimize", [2.0, 1.0, 1.0])])
def test_progression_follows_the_order_in_which_results_came(goal: str, best: list[float]) -> None:
    runs = [run(i, {}) for i in range(3)]
    came = [
        observation(0, {}, 5.0, sequence=3),
        observation(1, {}, 2.0, sequence=1),
        observation(2, {}, 1.0, sequence=2),
    ]
    found = progression(build(runs, came, []), goal, window=2)
    assert list(found["number"]) == [1, 2, 0]
    assert list(found["best_so_far"]) == best
    assert list(found["moving_average"]) == [2.0, 1.5, 3.0]
