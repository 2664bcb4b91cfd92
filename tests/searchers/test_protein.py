"""What Protein promises: every setting has an effect, failures are failures, caps exclude, pending points spread,
phases carry over.
"""

from __future__ import annotations

import math
import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from searchers import (
    CurvePoint,
    FailureKind,
    Observation,
    Origin,
    Protein,
    ProteinConfig,
    Space,
)
from searchers.features import Features
from tests.contract import SPACE, history, observe_truth, truth
from tests.searchers.plain_task import LENGTH, PLAIN, make, plain_run, played


def test_it_finds_the_best_point_of_a_simple_task() -> None:
    protein = make(objective="best", budget=8000.0)
    played(protein, 32)
    best = protein.incumbent()
    assert best is not None
    assert best.params["x"] == pytest.approx(0.3, abs=0.15)
    assert best.params["y"] == pytest.approx(-0.2, abs=0.15)
    assert best.score.low <= best.score.mean <= best.score.high
    assert float(best.params[LENGTH]) > 2e6


def test_the_first_suggestion_is_the_search_center_unless_switched_off() -> None:
    assert make().suggest().params == pytest.approx(PLAIN.center())
    assert make().suggest().explanation.origin is Origin.CENTER
    assert make(seed_with_search_center=False).suggest().params != pytest.approx(PLAIN.center())


@pytest.mark.parametrize(
    ("settings", "times"),
    [({"budget": 1e6}, 30.0 / math.sqrt(30.0)), ({"budget": 2000.0}, 100.0 / 64.8), ({}, 4.0)],
)
def test_the_centre_is_trained_longer_once_for_a_twentieth_of_the_budget(
    settings: dict[str, Any], times: float
) -> None:
    """The centre costs 64.8, its longest run 310; without a budget it may cost four times as much."""
    suggestions = played(make(objective="best", **settings), 6)
    centre, longer = suggestions[0].params, suggestions[1].params
    assert {**centre, LENGTH: 0} == {**longer, LENGTH: 0}
    assert longer[LENGTH] / centre[LENGTH] == pytest.approx(times, rel=0.05)  # cost is taken to grow as length does
    assert suggestions[1].explanation.reason == "the search centre, trained longer"
    assert all({**one.params, LENGTH: 0} != {**centre, LENGTH: 0} for one in suggestions[2:4])


@pytest.mark.parametrize(
    "settings",
    [
        {"objective": "pareto"},
        {"objective": "target", "target_score": 0.5},
        {"objective": "best", "seed_with_search_center": False},
    ],
)
def test_the_centre_is_not_trained_longer_where_cheap_runs_are_wanted_or_no_centre(settings: dict[str, Any]) -> None:
    suggestions = played(make(**settings), 4)
    assert all({**one.params, LENGTH: 0} != {**PLAIN.center(), LENGTH: 0} for one in suggestions[1:])


def test_num_random_samples_is_the_length_of_the_initial_design() -> None:
    for count in (3, 6):
        origins = [suggestion.explanation.origin for suggestion in played(make(num_random_samples=count), 9)]
        assert origins[:count] == [Origin.CENTER] + [Origin.INITIAL] * (count - 1)
        assert Origin.INITIAL not in origins[count:]


def test_the_initial_design_reaches_all_of_the_range() -> None:
    points = np.array([PLAIN.to_unit(s.params) for s in played(make(num_random_samples=64), 64)])
    assert (points.min(axis=0) < -0.85).all()
    assert (points.max(axis=0) > 0.85).all()


def test_max_suggestion_cost_excludes_by_predicted_wall_time() -> None:
    suggestions = played(make(max_suggestion_cost=100.0, num_random_samples=5), 25)
    true_costs = [plain_run(suggestion.params).cost_seconds for suggestion in suggestions[12:]]
    assert max(true_costs) < 110.0
    free = played(make(num_random_samples=5, objective="best"), 25)
    assert max(plain_run(suggestion.params).cost_seconds for suggestion in free[12:]) > 150.0


def test_the_cap_is_in_wall_seconds_whatever_the_cost_unit() -> None:
    protein = make(max_suggestion_cost=100.0, num_random_samples=5)
    for _ in range(20):
        suggestion = protein.suggest()
        run = plain_run(suggestion.params)
        protein.observe(Observation(run.params, run.score, 8 * run.cost_seconds, wall_seconds=run.cost_seconds))
    assert protein.predict(protein.suggest().params).cost.mean < 8 * 110.0  # type: ignore[union-attr]
    assert max(o.wall_seconds or 0.0 for o in protein.observations[12:]) > 30.0


def test_when_nothing_is_affordable_it_says_so_and_goes_cheap() -> None:
    protein = make(max_suggestion_cost=1.0, num_random_samples=3)
    suggestion = played(protein, 8)[-1]
    assert suggestion.explanation.origin is Origin.FALLBACK
    assert "no candidate is predicted to take at most max_suggestion_cost = 1 s" in suggestion.explanation.reason
    assert float(suggestion.params[LENGTH]) < 1.2e5


@pytest.mark.parametrize(
    ("low", "high"),
    [
        ({"random_suggestions": 2}, {"random_suggestions": 300}),
        ({"suggestions_per_pareto": 1}, {"suggestions_per_pareto": 64}),
        ({"global_search_scale": 0.2}, {"global_search_scale": 2.0}),
        ({"expansion_rate": 0.0}, {"expansion_rate": 3.0}),
        ({"curve_points": 0}, {"curve_points": 3}),
        ({"objective": "best"}, {"objective": "pareto"}),
        ({"objective": "best", "budget": 100.0}, {"objective": "best", "budget": 1e6}),
        ({"acquisition": "front"}, {"acquisition": "logei"}),
        ({"acquisition": "naive"}, {"acquisition": "logei"}),
        ({"fidelity": "x2"}, {"fidelity": LENGTH}),
        ({"objective": "target", "target_score": 0.2}, {"objective": "target", "target_score": 2.0}),
    ],
    ids=str,
)
def test_every_setting_changes_what_is_suggested(low: dict[str, Any], high: dict[str, Any]) -> None:
    suggestions = []
    for settings in (low, high):
        protein = make(**settings)
        for number, point in enumerate(played_points()):
            run = plain_run(point)
            curve = (CurvePoint(int(0.4 * float(point[LENGTH])), 5.0, (run.score or 0.0) - 0.5),)
            protein.observe(Observation(point, run.score, run.cost_seconds + 0.01 * number, curve=curve))
        suggestions.append([protein.suggest(number=number).params for number in range(12, 18)])
    assert suggestions[0] != suggestions[1]


def played_points() -> list[Any]:
    points = PLAIN.sample(12, lambda count: np.random.default_rng(5).uniform(-1, 1, (count, 3)))
    return [PLAIN.from_unit(point) for point in points]


def test_a_small_search_scale_stays_near_the_center_at_first() -> None:
    spread = {}
    for scale in (0.1, 1.0):
        points = [PLAIN.to_unit(s.params) for s in played(make(global_search_scale=scale, num_random_samples=24), 24)]
        spread[scale] = np.std(points)
    assert spread[0.1] < 0.3 * spread[1.0]


def test_expansion_rate_is_how_far_cost_targets_reach_beyond_the_front() -> None:
    from searchers.acquisition import cost_target

    protein = make(expansion_rate=0.5)
    played(protein, 15)
    front = protein._models.evaluated
    highest = float(front.log_cost[front.front[-1]])
    targets = [cost_target(protein._models, protein.config, number) for number in range(10, 74)]
    assert highest < max(targets) <= highest + math.log(1.5)


def test_resample_frequency_repeats_a_point_of_the_front() -> None:
    protein = make(resample_frequency=4, num_random_samples=5)
    suggestions = played(protein, 17)
    for number in (8, 12, 16):
        assert suggestions[number].explanation.origin is Origin.REPLICATE
        assert suggestions[number].params in [s.params for s in suggestions[:number]]


def test_parallel_suggestions_are_no_near_duplicates() -> None:
    protein = make(objective="best", budget=1e5)
    played(protein, 14)
    pending: list[Any] = []
    for _ in range(16):
        pending.append(protein.suggest(pending).params)
    points = np.array([PLAIN.to_unit(params) for params in pending])
    distances = np.linalg.norm(points[:, None] - points[None], axis=2) + 9 * np.eye(16)
    assert distances.min() > 0.01


def test_on_a_task_where_a_third_fails_few_later_runs_do() -> None:
    space, failed = Space.from_config({"x": {"min": 0.0, "max": 1.0}, "y": {"min": 0.0, "max": 1.0}}), []
    protein, rng = make(space, objective="best"), np.random.default_rng(0)
    for number in range(70):
        params = protein.suggest().params
        x, y = float(params["x"]), float(params["y"])
        fails = x > 0.7  # the best working score lies right at this edge
        failed.append(fails and number >= 30)
        score = x + 0.2 * y + 0.02 * rng.standard_normal()
        protein.observe(
            Observation.failed(params, 3.0, FailureKind.HYPERPARAMETERS) if fails else Observation(params, score, 10.0)
        )
    assert sum(failed) <= 4  # 10 % of 40
    assert protein.incumbent().params["x"] > 0.6  # type: ignore[union-attr]


def test_phases_keep_observations_and_seed() -> None:
    first = make(num_random_samples=5)
    played(first, 12)
    narrow = Space.from_config(
        {"x": {"min": 0.0, "max": 0.6}, "y": {"min": -0.5, "max": 0.1}, LENGTH: {"value": 3_000_000}}
    )
    second = first.with_phase(narrow, ProteinConfig(num_random_samples=5))
    assert second.observations == first.observations
    suggestion = second.suggest()
    assert suggestion.number == 12
    assert narrow.contains(suggestion.params)
    fresh = make(narrow, num_random_samples=5)
    for observation in first.observations:
        fresh.observe(observation)
    assert fresh.suggest(number=12) == suggestion


def test_an_earlier_sweep_helps_from_the_first_model_on() -> None:
    old = make(seed=1, objective="best")
    played(old, 30)
    best = old.incumbent()
    assert best is not None
    new = Protein(PLAIN, ProteinConfig(num_random_samples=3), rng=np.random.default_rng(0), earlier=[old.observations])
    suggestion = played(new, 2)[1].params
    assert (suggestion["x"], suggestion["y"]) == pytest.approx((best.params["x"], best.params["y"]), abs=0.1)
    guess = new.predict({"x": 0.3, "y": -0.2, LENGTH: 3e6}).score, new.predict({"x": -0.9, "y": 0.9, LENGTH: 3e6}).score
    assert guess[0].mean > guess[1].mean  # type: ignore[union-attr]


def test_an_earlier_sweep_of_the_opposite_task_does_not_hurt_for_long() -> None:
    old = make(seed=1)
    for _ in range(30):
        suggestion = old.suggest()
        run = plain_run(suggestion.params)
        old.observe(Observation(run.params, -(run.score or 0.0), run.cost_seconds))
    new = Protein(PLAIN, ProteinConfig(objective="best"), rng=np.random.default_rng(0), earlier=[old.observations])
    played(new, 30)
    assert new.incumbent().params["x"] == pytest.approx(0.3, abs=0.25)  # type: ignore[union-attr]


def test_target_finds_the_cheapest_way() -> None:
    protein = make(objective="target", target_score=0.6, num_random_samples=8)
    played(protein, 40)
    reached = [o for o in protein.observations if o.score is not None and o.score >= 0.6]
    # At the best x and y, 0.6 needs 3e6 * 10^(-0.4 / 0.3) = 1.39e5 steps: 24 s.
    assert min(o.cost_seconds for o in reached) < 40.0


def test_a_mirrored_target_gives_the_same_suggestions() -> None:
    up, down = make(objective="target", target_score=0.5), make(objective="target", target_score=-0.5, goal="minimize")
    for _ in range(14):
        suggestion = up.suggest()
        assert suggestion == down.suggest()
        run = plain_run(suggestion.params)
        up.observe(run)
        down.observe(Observation(run.params, -(run.score or 0.0), run.cost_seconds))


def test_shifted_scores_change_no_suggestion() -> None:
    plain, shifted = make(SPACE, num_random_samples=5), make(SPACE, num_random_samples=5)
    for _ in range(16):
        suggestion = plain.suggest()
        assert SPACE.to_unit(shifted.suggest().params) == pytest.approx(SPACE.to_unit(suggestion.params), abs=1e-6)
        observation = observe_truth(plain, suggestion)
        score = None if observation.score is None else 3 * observation.score - 10.0
        shifted.observe(
            Observation(observation.params, score, observation.cost_seconds, observation.outcome, observation.failure)
        )


def test_every_third_suggestion_doubts_the_lengthscales_and_says_so() -> None:
    reasons = [suggestion.explanation.reason for suggestion in played(make(num_random_samples=4, objective="best"), 13)]
    assert [number for number, reason in enumerate(reasons) if "lengthscales halved" in reason] == [6, 9, 12]


def test_half_of_the_suggestions_ask_for_a_clear_improvement_the_longer_none_came() -> None:
    protein = make(num_random_samples=4, objective="best")
    asked = {}
    for _ in range(17):
        suggestion = protein.suggest()
        found = re.search(r"by at least ([\d.]+) standard deviations", suggestion.explanation.reason)
        asked[suggestion.number] = float(found.group(1)) if found else 0.0
        protein.observe(
            replace(plain_run(suggestion.params), score=0.0 if suggestion.number else 1.0)
        )  # the first run stays the best
    assert {number for number in asked if asked[number]} == {5, 6, 9, 10, 13, 14}
    assert [asked[number] for number in (5, 6, 9, 10, 13)] == [0.15, 0.18, 0.27, 0.3, 0.3]


def test_a_suggestion_explains_itself() -> None:
    protein = make(SPACE, num_random_samples=5)
    history(protein, 10)
    why = protein.suggest().explanation
    assert why.origin is Origin.EXPLOIT
    assert why.predicted_score is not None
    assert why.predicted_score.low < why.predicted_score.mean < why.predicted_score.high
    assert why.predicted_cost is not None
    assert 0 < why.predicted_cost.low < why.predicted_cost.high
    assert 0.0 < (why.success_probability or 0.0) <= 1.0
    assert why.acquisition is not None
    assert len(why.nearest) == 3
    assert [distance for distance, _, _ in why.nearest] == sorted(distance for distance, _, _ in why.nearest)
    assert why.observations == 10


def test_minimised_scores_are_explained_in_their_own_direction() -> None:
    protein = make(SPACE, goal="minimize", num_random_samples=4)
    history(protein, 10, sign=-1.0)
    best = protein.incumbent()
    assert best is not None
    assert best.score.mean == pytest.approx(-truth(best.params), abs=0.3)
    assert best.score.low < best.score.high


def test_the_front_rises_in_score_and_cost() -> None:
    protein = make()
    played(protein, 25)
    front = protein.front()
    assert [point.cost for point in front] == sorted(point.cost for point in front)
    assert [point.score.mean for point in front] == sorted(point.score.mean for point in front)


def test_before_anything_came_back_there_is_no_incumbent_front_or_score() -> None:
    protein = make()
    assert protein.incumbent() is None
    assert protein.front() == ()
    assert protein.predict(PLAIN.center()).score is None
    assert protein.predict(PLAIN.center()).cost is None


def test_a_goal_is_maximize_or_minimize() -> None:
    with pytest.raises(ValueError, match="goal: need maximize or minimize, got 'max'"):
        make(goal="max")


def test_the_fidelity_may_lie_outside_the_space() -> None:
    features = Features.of(Space.from_config({"x": {"min": 0.0, "max": 1.0}}), None, 3)
    assert features.length_index is None
    assert features.total_steps({"x": 0.1, LENGTH: 100}) == 100.0
