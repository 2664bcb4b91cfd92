"""Histories that no good program reports: huge and tiny numbers, points from far outside.

The search goes on, and is not misled.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from searchers import CurvePoint, Observation, Outcome, Protein, ProteinConfig, RunningCurve, Space
from searchers.gp import GaussianProcess
from searchers.outliers import squash
from searchers.warp import Warp
from tests.searchers.plain_task import LENGTH, PLAIN, make, plain_run, played

pytestmark = pytest.mark.filterwarnings("error::RuntimeWarning")
LINE = Space.from_config({"x": {"min": 0.0, "max": 1.0}})


@pytest.mark.parametrize("goal", ["maximize", "minimize"])
@pytest.mark.parametrize("bad", [-sys.float_info.max, sys.float_info.max, -1e308, 1e300, -1e100, 1e99, -1e30])
def test_one_huge_score_neither_ends_the_search_nor_wins_it_when_it_is_beyond_reason(bad: float, goal: Any) -> None:
    protein = make(LINE, goal=goal)
    for number in range(9):
        params = protein.suggest().params
        protein.observe(Observation(params, bad if number == 3 else params["x"] * 0.1, 10.0))
    incumbent = protein.incumbent()
    assert incumbent is not None
    if abs(bad) > 1e100:
        assert 0.0 <= incumbent.score.mean <= 0.1


def test_one_huge_penalty_leaves_the_order_of_the_others() -> None:
    protein = make(PLAIN)
    for number in range(14):
        observation = plain_run(protein.suggest().params)
        protein.observe(
            Observation(observation.params, -1e90 if number == 5 else observation.score, observation.cost_seconds)
        )
    incumbent, best = protein.incumbent(), max(one.score for one in protein.observations if one.score is not None)
    assert incumbent is not None
    assert plain_run(incumbent.params).score == pytest.approx(best, abs=0.1)
    assert incumbent.score.mean == pytest.approx(best, abs=0.2)


@pytest.mark.parametrize("bad", [1e300, -1e300, 1e99, -1e99, float("nan"), float("inf")])
def test_one_impossible_point_of_a_curve_does_not_end_the_search(bad: float) -> None:
    protein = make(PLAIN)
    for number in range(8):
        observation = plain_run(protein.suggest().params)
        steps = int(observation.params[LENGTH])
        curve = (CurvePoint(steps // 3, 1.0, bad if number == 3 else 0.2), CurvePoint(steps // 2, 2.0, 0.3))
        protein.observe(Observation(observation.params, observation.score, observation.cost_seconds, curve=curve))
    assert PLAIN.contains(protein.suggest().params)
    advice = protein.advise(
        RunningCurve(
            protein.suggest().params, (CurvePoint(500_000, 1.0, 0.1), CurvePoint(900_000, 2.0, bad)), 1_000_000
        )
    )
    assert advice.stop == (abs(bad) > 1e100 or bad != bad)


@pytest.mark.parametrize("bad", [1e300, 1e90, 5e-324, 1e-90])
def test_one_impossible_cost_leaves_the_predictions_of_the_others(bad: float) -> None:
    protein = make(PLAIN, max_suggestion_cost=200.0)
    for number in range(12):
        observation = plain_run(protein.suggest().params)
        protein.observe(
            Observation(observation.params, observation.score, bad if number == 5 else observation.cost_seconds)
        )
    cost = protein.predict({"x": 0.3, "y": -0.2, LENGTH: 1e6}).cost
    assert cost is not None
    assert 110.0 / 20 < cost.mean < 110.0 * 20
    assert all(np.isfinite([cost.low, cost.high]))
    assert PLAIN.contains(protein.suggest().params)


def test_costs_of_any_unit_are_predicted_in_that_unit() -> None:
    for unit in (1e-90, 1e-30, 1e30, 1e90):
        protein = make(LINE)
        for number in range(10):
            protein.observe(Observation({"x": number / 10}, number / 10, unit * (1 + number)))
        cost = protein.predict({"x": 0.5}).cost
        assert cost is not None
        assert cost.mean == pytest.approx(6 * unit, rel=0.3)


def scores_seen(change: Callable[[float], float], runs: int = 12, **settings: Any) -> list[Any]:
    space = Space.from_config({"x": {"min": 0, "max": 1}, "y": {"min": 0, "max": 1}})
    protein, points = Protein(space, ProteinConfig(**settings), rng=np.random.default_rng(0)), []
    for _ in range(runs):
        params = protein.suggest().params
        points.append(params)
        raw = -((params["x"] - 0.3) ** 2 + params["y"])
        curve = (CurvePoint(3, 1.0, change(0.5 * raw)), CurvePoint(10, 2.0, change(raw)))
        protein.observe(Observation(params, change(raw), 10.0, curve=curve))
    incumbent = protein.incumbent()
    assert incumbent is not None
    return [*points, incumbent.params]


@pytest.mark.parametrize("factor", [1e-300, 1e-80, 1e-13, 1e-11, 1e-6, 1e13, 1e90])
def test_the_unit_of_the_scores_changes_no_point(factor: float) -> None:
    assert scores_seen(lambda score: score * factor) == scores_seen(lambda score: score)


@pytest.mark.parametrize(("shift", "factor"), [(1e6, 1.0), (1e6, 1e-3), (-1e6, 1e-3)])
def test_a_shift_of_the_scores_changes_no_point(shift: float, factor: float) -> None:
    assert scores_seen(lambda score: shift + score * factor) == scores_seen(lambda score: score)


def test_equal_scores_take_their_unit_from_the_curves() -> None:
    equal, curve = np.full(5, 3e-14), np.array([1e-14, 2e-14])
    assert Warp.of(equal, curve).forward(curve) == pytest.approx(
        Warp.of(equal * 1e14, curve * 1e14).forward(curve * 1e14)
    )


def test_squashing_keeps_the_order_and_what_is_ordinary() -> None:
    values = np.array([-1e300, -200.0, -100.0, 0.1, 99.999, 100.0, 101.0, 1e300])
    squashed = squash(values, 100.0)
    assert (np.diff(squashed) > 0).all()
    assert squashed[2:6].tolist() == values[2:6].tolist()
    assert squashed[6] == pytest.approx(100.0 + np.log(2.0))


@pytest.mark.parametrize("high", [1e3, 1e5, 1e6, 1e12, 1e200])
def test_a_phase_that_narrows_a_range_by_any_factor_goes_on(high: float) -> None:
    def space(top: float) -> Space:
        return Space.from_config(
            {
                "coef": {"min": 0, "max": top},
                "y": {"min": 0, "max": 1},
                LENGTH: {"distribution": "log_normal", "min": 1, "max": top},
            }
        )

    protein = make(space(high))
    for number in range(9):
        params = protein.suggest().params
        protein.observe(Observation(params, float(np.sin(number)), 10.0 + number))
    narrowed = protein.with_phase(space(2.0), ProteinConfig())
    for number in range(4):
        params = narrowed.suggest().params
        assert space(2.0).contains(params)
        narrowed.observe(Observation(params, float(np.cos(number)), 10.0))


def test_far_points_keep_their_side_and_their_order() -> None:
    space = Space.from_config({"x": {"min": 0.0, "max": 1.0}, "tiny": {"min": 0.0, "max": 1e-300}})
    rows = [space.embed({"x": value, "tiny": value}) for value in (-1e300, -1e3, 0.5, 1e3, 1e300)]
    tiny, x = np.array(rows).T
    assert (np.diff(x) > 0).all()
    assert np.abs(rows).max() < 1000.0
    assert (tiny[:2] < -100).all()
    assert (tiny[2:] > 100).all()


def test_a_model_that_cannot_be_factorised_costs_no_observation(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    protein = make(num_random_samples=2)
    played(protein, 5)

    def refuse(*_: object, **__: object) -> None:
        raise np.linalg.LinAlgError

    with monkeypatch.context() as broken:
        broken.setattr(GaussianProcess, "condition", refuse)
        broken.setattr(GaussianProcess, "extended", refuse)
        suggestions = played(protein, 4)
        fresh = make(num_random_samples=2)
        played(fresh, 4)  # not even a first model
    assert "stays as it was" in caplog.text
    assert all(PLAIN.contains(suggestion.params) for suggestion in suggestions)
    played(protein, 2)
    assert len(protein.observations) == 11
    incumbent = protein.incumbent()
    assert incumbent is not None
    best = max(one.score for one in protein.observations if one.score is not None)
    assert incumbent.score.mean == pytest.approx(best, abs=0.2)


def test_runs_that_were_all_stopped_early_are_no_reason_to_end() -> None:
    protein = make(num_random_samples=1)
    for _ in range(5):
        params = protein.suggest().params
        assert PLAIN.contains(params)
        point = CurvePoint(int(params[LENGTH] / 2), 1.0, 0.5)
        protein.observe(Observation(params, 0.5, 10.0, outcome=Outcome.STOPPED_EARLY, curve=(point,)))
    assert protein.incumbent() is None
