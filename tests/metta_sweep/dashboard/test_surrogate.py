"""The surrogate and what is read from it, against closed forms."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest

from metta_sweep.analysis.fanova import fanova, marginal
from metta_sweep.analysis.surrogate import (
    Response,
    Surrogate,
    axis_units,
    bounds_hit,
    contour,
    fit_surrogate,
    predicted_front,
    slice_along,
)
from searchers import Space
from searchers.gp import Data
from searchers.noise import Noise

SPACE = Space.from_config({name: {"distribution": "uniform", "min": 0.0, "max": 1.0} for name in ("a", "b", "c")})
MIXED = Space.from_config(
    {"lr": {"distribution": "log_normal", "min": 1e-4, "max": 1e-1}, "kind": {"choices": ["x", "y"], "mean": "x"}}
)


def frame(points: list[dict[str, Any]], scores: list[float], costs: list[float]) -> pd.DataFrame:
    rows = zip(points, scores, costs, strict=True)
    return pd.DataFrame(
        [
            {"state": "completed", "params": p, "score": s, "cost_seconds": c, "sequence": i + 1}
            for i, (p, s, c) in enumerate(rows)
        ]
    )


def uniform_response(weights: tuple[float, float, float], interaction: float = 0.0, count: int = 120) -> Response:
    """y = weights . x + interaction * x_a * x_b on [-1, 1]^3, without noise."""
    points = np.random.default_rng(0).uniform(-1.0, 1.0, (count, 3))
    return Response.of(SPACE, points, points @ np.array(weights) + interaction * points[:, 0] * points[:, 1])


@pytest.fixture(scope="module")
def surrogate() -> Surrogate:
    """Score 10 a - b, cost 10 exp(2 a)."""
    rng = np.random.default_rng(1)
    points = [dict(zip("abc", row, strict=True)) for row in rng.uniform(0.0, 1.0, (60, 3)).tolist()]
    runs = frame(points, [10 * p["a"] - p["b"] for p in points], [10 * math.exp(2 * p["a"]) for p in points])
    fitted = fit_surrogate(runs, SPACE, "maximize")
    assert fitted is not None
    return fitted


def test_importance_of_a_sum_is_the_share_of_each_terms_variance() -> None:
    table = fanova(SPACE, uniform_response((2.0, 1.0, 0.0)), np.random.default_rng(0), resamples=2).set_index(
        "parameter"
    )
    assert table["main"].to_dict() == pytest.approx({"a": 0.8, "b": 0.2, "c": 0.0}, abs=0.02)
    assert table["total"].to_dict() == pytest.approx({"a": 0.8, "b": 0.2, "c": 0.0}, abs=0.02)


def test_importance_of_a_product_is_all_interaction() -> None:
    table = fanova(
        SPACE, uniform_response((0.0, 0.0, 0.0), interaction=1.0), np.random.default_rng(0), resamples=2
    ).set_index("parameter")
    assert table["main"].to_dict() == pytest.approx({"a": 0.0, "b": 0.0, "c": 0.0}, abs=0.03)
    assert table.loc[["a", "b"], "total"].tolist() == pytest.approx([1.0, 1.0], abs=0.03)


def test_bootstrap_intervals_hold_the_estimate_and_are_wider_for_fewer_runs() -> None:
    def width(count: int) -> float:
        table = fanova(SPACE, uniform_response((1.0, 1.0, 0.0), count=count), np.random.default_rng(0)).set_index(
            "parameter"
        )
        assert (table["total_low"] <= table["total"] + 0.1).all()
        return float(table.loc["a", "total_high"] - table.loc["a", "total_low"])

    assert width(15) > width(200)


def test_a_marginal_effect_averages_the_other_parameters_out() -> None:
    line = marginal(SPACE, uniform_response((2.0, 1.0, 0.0)), "a", np.random.default_rng(0))
    # x_a in unit scale is 2 a - 1 and the other term has mean 0.
    assert line["mean"].to_numpy() == pytest.approx(2.0 * (2.0 * line["value"].to_numpy(dtype=float) - 1.0), abs=0.05)


def test_leave_one_out_equals_leaving_each_run_out() -> None:
    response = uniform_response((1.0, 0.5, 0.0), interaction=0.7, count=12)
    closed = response.leave_one_out()
    for left_out in range(12):
        rest = np.delete(np.arange(12), left_out)
        data = Data(response.rows[rest], Noise.independent(11), response.gp.data.layout)
        gp = type(response.gp).condition(data, response.gp.hyper)
        gp.set_targets(response.y[rest])
        assert closed[left_out] == pytest.approx(
            response.mean + response.std * gp.mean(response.rows[[left_out]])[0], abs=1e-6
        )


def test_r_squared_is_near_one_for_a_smooth_function_and_not_for_noise() -> None:
    assert uniform_response((1.0, 1.0, 1.0)).r_squared() > 0.99
    rng = np.random.default_rng(0)
    assert Response.of(SPACE, rng.uniform(-1, 1, (60, 3)), rng.normal(size=60)).r_squared() < 0.3


def test_a_slice_follows_the_function_with_the_others_held(surrogate: Surrogate) -> None:
    line = slice_along(surrogate, "a", {"a": 0.5, "b": 0.25, "c": 0.5})
    assert line["mean"].to_numpy() == pytest.approx(10 * line["value"].to_numpy(dtype=float) - 0.25, abs=0.2)
    assert line["cost"].to_numpy() == pytest.approx(10 * np.exp(2 * line["value"].to_numpy(dtype=float)), rel=0.05)
    assert (line["low"] <= line["mean"]).all()


def test_a_contour_has_a_row_for_each_y_and_a_column_for_each_x(surrogate: Surrogate) -> None:
    table = contour(surrogate, "a", "b", {"a": 0.5, "b": 0.5, "c": 0.5})
    assert table.mean.shape == (len(table.y), len(table.x))
    assert table.mean[0, -1] == pytest.approx(10.0, abs=0.3)
    assert table.mean[-1, 0] == pytest.approx(-1.0, abs=0.3)


def test_the_predicted_front_rises_with_cost_and_ends_where_the_runs_end(surrogate: Surrogate) -> None:
    front = predicted_front(surrogate, np.random.default_rng(0))
    assert front["mean"].is_monotonic_increasing
    assert front["cost"].is_monotonic_increasing
    assert front["cost"].iloc[-1] <= 10 * math.exp(2.0) * 1.01


def test_bounds_are_hit_when_half_of_the_best_points_lie_there(surrogate: Surrogate) -> None:
    assert bounds_hit(surrogate, np.array([[0.95, 0.0, 0.0], [1.0, -1.0, 0.0], [0.0, 0.0, 0.0]])) == [("a", "max")]


def test_choices_are_axes_with_one_place_each() -> None:
    unit, values = axis_units(MIXED, "kind", 41)
    assert values == ["x", "y"]
    assert [MIXED.from_unit(np.array([one, 0.0]))["kind"] for one in unit] == ["x", "y"]


@pytest.mark.parametrize("count", [0, 5])
def test_too_few_runs_give_no_surrogate(count: int) -> None:
    points = [{"a": i / 10, "b": 0.5, "c": 0.5} for i in range(count)]
    columns = frame(points, [1.0] * count, [1.0] * count) if count else frame([{"a": 0.0}], [1.0], [1.0]).iloc[:0]
    assert fit_surrogate(columns, SPACE, "maximize") is None
