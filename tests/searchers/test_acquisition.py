"""Acquisition functions against closed forms; exclusion by -inf."""

from __future__ import annotations

import numpy as np
import pytest

from searchers import NoAffordableCandidate
from searchers.acquisition import van_der_corput
from searchers.acquisition_functions import (
    expected_improvement,
    front_values,
    log_expected_improvement,
    log_probability_above,
    naive_rating,
    pick,
)
from searchers.pareto import front_indices
from searchers.warp import Warp


def test_expected_improvement_at_the_incumbent_is_std_over_sqrt_two_pi() -> None:
    assert expected_improvement(np.array([1.0]), np.array([2.0]), 1.0) == pytest.approx([2.0 / np.sqrt(2 * np.pi)])


def test_without_doubt_the_improvement_is_the_difference() -> None:
    assert expected_improvement(np.array([3.0]), np.array([1e-6]), 1.0) == pytest.approx([2.0])


def test_log_improvement_agrees_where_both_exist_and_goes_on_below() -> None:
    mean = np.linspace(-6, 3, 40)
    assert log_expected_improvement(mean, np.ones(40), 0.0) == pytest.approx(
        np.log(expected_improvement(mean, np.ones(40), 0.0)), rel=1e-7
    )
    deep = log_expected_improvement(np.array([-40.0, -60.0, -1e4]), np.ones(3), 0.0)
    # log EI -> -u^2/2 - log sqrt(2 pi) - 2 log |u| for u -> -inf.
    expansion = [-0.5 * u * u - 0.5 * np.log(2 * np.pi) - 2 * np.log(u) for u in (40.0, 60.0, 1e4)]
    assert deep == pytest.approx(expansion, rel=1e-5)
    assert (np.diff(log_expected_improvement(np.linspace(-60, 5, 2000), np.ones(2000), 0.0)) > 0).all()


def test_the_chance_to_beat_the_mean_is_one_half() -> None:
    assert np.exp(log_probability_above(np.array([0.3]), np.array([0.7]), 0.3)) == pytest.approx([0.5])


def test_an_over_budget_candidate_never_wins_even_against_negative_scores() -> None:
    assert pick(np.array([-0.4, -0.1, 3.0]), affordable=np.array([True, True, False])) == 1


def test_nothing_affordable_is_an_error_and_not_a_random_pick() -> None:
    with pytest.raises(NoAffordableCandidate, match="0 of 2 candidates fit; raise max_suggestion_cost"):
        pick(np.array([1.0, 2.0]), affordable=np.array([False, False]))


def test_the_original_rule_weighs_the_score_by_closeness_to_the_cost_target() -> None:
    rating = naive_rating(np.array([1.0, 0.5]), np.array([2.0, 4.0]), target=0.5, bounds=(0.0, 4.0), seen=(0.0, 1.0))
    assert rating == pytest.approx([1.0 * 1.0, 0.5 * 0.5])


def test_front_by_hand_with_ties() -> None:
    scores = np.array([1.0, 3.0, 3.0, 2.0, 5.0, 3.0])
    costs = np.array([1.0, 3.0, 2.0, 2.5, 9.0, 2.0])
    assert front_indices(scores, costs).tolist() == [0, 2, 4]


def test_front_of_equal_points_is_one_of_them() -> None:
    assert front_indices(np.zeros(4), np.ones(4)).tolist() == [0]


def test_the_front_is_a_step_function_of_cost() -> None:
    known = front_values(np.array([1.0, 2.0]), np.array([10.0, 20.0]), np.array([0.5, 1.0, 1.9, 2.0, 7.0]), floor=-1.0)
    assert known.tolist() == [-1.0, 10.0, 10.0, 20.0, 20.0]


def test_cost_targets_fill_the_interval_evenly() -> None:
    assert [van_der_corput(n) for n in range(8)] == [0, 0.5, 0.25, 0.75, 0.125, 0.625, 0.375, 0.875]


def test_the_warp_keeps_order_and_comes_back() -> None:
    scores = np.array([-1e6, -3.0, 0.0, 1.0, 1.5, 2.0, 40.0])
    warp = Warp.of(scores)
    z = warp.forward(scores)
    assert (np.diff(z) > 0).all()
    assert warp.inverse(z) == pytest.approx(scores, rel=1e-4, abs=1e-6)


def test_one_outlier_does_not_flatten_the_rest() -> None:
    scores = np.linspace(0.0, 1.0, 30)
    for outlier in (-1e9, 1e9):
        z = Warp.of(np.append(scores, outlier)).forward(scores)
        assert z.max() - z.min() > 0.3


def test_the_warp_of_shifted_and_scaled_scores_is_the_same() -> None:
    scores = np.random.default_rng(0).standard_normal(40)
    z = Warp.of(scores).forward(scores)
    assert Warp.of(1000 + 7 * scores).forward(1000 + 7 * scores) == pytest.approx(z, abs=2e-9)


def test_constant_scores_become_zeros() -> None:
    assert Warp.of(np.full(5, 3.7)).forward(np.full(5, 3.7)).tolist() == [0.0] * 5
