"""What earlier sweeps teach: wherever they searched, whatever they held, and for as long as they are right."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest

from searchers import EarlierSweep, FailureKind, Observation, Origin, Params, Protein, ProteinConfig, Space
from searchers.distributions import Array
from searchers.earlier import LearnedSweep
from searchers.features import Features
from searchers.warm_start import portfolio

WIDE = {"x": {"min": -1.0, "max": 1.0}, "y": {"min": -1.0, "max": 1.0}}
NEW = Space.from_config(WIDE)
LENGTH = "trainer.total_timesteps"
STEPS = {"distribution": "log_normal", "min": 1e4, "max": 1e6}
Score = Callable[[Mapping[str, Any]], float | None]


def runs(space: Space, score: Score, count: int = 20, **fixed: Any) -> tuple[Observation, ...]:
    """Random points of a space."""
    rng = np.random.default_rng(3)
    points = space.sample(count, lambda number: rng.uniform(-1, 1, (number, space.dimension)))
    return tuple(run({**space.from_unit(point), **fixed}, score) for point in points)


def run(params: Params, score: Score) -> Observation:
    found = score(params)
    if found is None:
        return Observation.failed(params, 10.0, FailureKind.HYPERPARAMETERS)
    return Observation(params, found, 10.0)


def steps(params: Params) -> float:
    return float(params[LENGTH])


def learned(earlier: EarlierSweep, space: Space = NEW, curve_points: int = 3) -> LearnedSweep:
    return LearnedSweep.of(earlier, Features.of(space, None, curve_points), 1.0)


def means(one: LearnedSweep, *points: Params) -> Array:
    features = one.features
    return one.mean(np.array([features.row(params, features.space.embed(params)) for params in points]))


@pytest.mark.parametrize("held", [-1.0, 1.0])
def test_a_parameter_that_only_the_earlier_sweep_searched_is_looked_at_where_the_new_one_holds_it(held: float) -> None:
    old = Space.from_config({**WIDE, "z": {"min": -1.0, "max": 1.0}})
    sweep = EarlierSweep(runs(old, lambda p: p["x"] * p["z"], 40), (old.parameters[2],), {"z": held})
    low, high = means(learned(sweep), {"x": -0.8, "y": 0.0}, {"x": 0.8, "y": 0.0})
    assert bool(high > low + 0.5) == (held > 0)


def test_a_parameter_that_only_the_new_sweep_searches_lies_where_the_earlier_one_held_it() -> None:
    old = Space.from_config({"x": WIDE["x"]})
    found = learned(EarlierSweep(runs(old, lambda p: p["x"], y=0.5)))
    assert (found.models.points_unit[0][1], found.points()[0][1]) == (0.5, 0.5)


def test_other_bounds_put_the_earlier_runs_where_they_belong() -> None:
    old = Space.from_config({"x": {"min": 0.5, "max": 3.0}, "y": WIDE["y"]})
    low, high = means(learned(EarlierSweep(runs(old, lambda p: p["x"]))), {"x": 0.0, "y": 0.0}, {"x": 1.0, "y": 0.0})
    assert high > low


@pytest.mark.parametrize("curve_points", [0, 3])
def test_lengths_that_the_earlier_sweep_searched_are_looked_at_where_the_new_one_trains(curve_points: int) -> None:
    """Short runs want a small x, long ones a large one."""
    old = Space.from_config({**WIDE, LENGTH: STEPS})
    sweep = runs(old, lambda p: p["x"] * (np.log10(p[LENGTH]) - 5.0), 60)
    points = ({"x": -0.8, "y": 0.0}, {"x": 0.8, "y": 0.0})
    for held, is_long in ((1.5e4, False), (9e5, True)):
        low, high = means(
            learned(EarlierSweep(sweep, (old.parameters[0],), {LENGTH: held}), NEW, curve_points), *points
        )
        assert bool(high > low) == is_long, held


def test_choices_that_the_new_space_lacks_are_passed_over() -> None:
    old, new = ({"c": {"choices": choices}, **WIDE} for choices in (["a", "b"], ["b", "d"]))
    sweep = runs(Space.from_config(old), lambda p: p["x"])
    found = learned(EarlierSweep(sweep), Space.from_config(new))
    assert len(found.models.observations) == sum(one.params["c"] == "b" for one in sweep)


def weights_after(count: int, sign: float) -> float:
    score: Score = lambda p: -((p["x"] - 0.5) ** 2) - p["y"] ** 2  # noqa: E731
    protein = Protein(
        NEW, ProteinConfig(), rng=np.random.default_rng(0), earlier=[EarlierSweep(runs(NEW, score), name="old")]
    )
    for one in runs(NEW, lambda p: sign * (score(p) or 0.0), count):
        protein.observe(one)
    return protein.memory["old"]


def test_the_weight_rises_while_the_earlier_sweep_is_right_and_is_gone_soon_when_it_is_not() -> None:
    assert weights_after(0, 1.0) == pytest.approx(0.7)
    assert weights_after(12, 1.0) > 0.7
    assert weights_after(12, -1.0) < 0.1


def test_what_failed_before_is_not_suggested_while_nothing_else_is_known() -> None:
    failing: Score = lambda p: None if p["x"] > 0 else p["x"]  # noqa: E731
    protein = Protein(NEW, ProteinConfig(), rng=np.random.default_rng(0), earlier=[runs(NEW, failing, 40)])
    good, bad = protein.predict({"x": -0.7, "y": 0.0}), protein.predict({"x": 0.7, "y": 0.0})
    assert good.success_probability > 0.8
    assert bad.success_probability < 0.4


def test_the_portfolio_has_a_good_point_for_each_sweep_and_stops_where_nothing_is_gained() -> None:
    values = np.array([[3.0, 2.0, 0.0, -1.0], [-3.0, 2.0, 2.5, -1.0]])
    alike = np.zeros(4)
    assert portfolio(values, alike, np.zeros(2), 9) == [1, 0, 2]
    assert portfolio(values, alike, np.zeros(2), 1) == [1]
    dear = np.array([0.0, 3.0, 0.0, 0.0])
    assert portfolio(values, dear, np.zeros(2), 1) == [0], "a gain of 2 for e^1.5 times the root of the price"


def test_what_earlier_sweeps_recommend_comes_after_the_centre_and_may_be_shorter() -> None:
    space = Space.from_config({**WIDE, LENGTH: STEPS})
    score: Score = lambda p: -((p["x"] - 0.7) ** 2) + 0.001 * np.log10(p[LENGTH])  # noqa: E731
    old = [Observation(one.params, one.score, 1.0 + steps(one.params) / 1e4) for one in runs(space, score, 30)]
    protein = Protein(space, ProteinConfig(), rng=np.random.default_rng(0), earlier=[old])
    first = [protein.suggest(number=number) for number in range(2)]
    assert first[0].explanation.origin is Origin.CENTER
    assert first[1].explanation.reason == "recommended by earlier sweeps"
    assert first[1].params["x"] == pytest.approx(0.7, abs=0.2)
    assert steps(first[1].params) < max(steps(one.params) for one in old) / 3
