"""A run's own standard error counts: a sure score says more than one over a few episodes."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from searchers import CurvePoint, Observation, Protein, Space
from searchers.score_belief import ScoreBelief
from searchers.warp import Warp

SPACE = Space.from_config({"x": {"distribution": "uniform", "min": 0.0, "max": 1.0, "mean": 0.5}})


def hill(count: int = 12) -> list[Observation]:
    """Noisy scores around a hill at 0.5."""
    rng = np.random.default_rng(0)
    xs = np.linspace(0.0, 1.0, count)
    return [Observation({"x": float(x)}, float(1 - 4 * (x - 0.5) ** 2 + 0.1 * rng.normal()), 1.0) for x in xs]


def belief(runs: list[Observation]) -> ScoreBelief:
    found = ScoreBelief.of(SPACE, "maximize", runs)
    assert found is not None
    return found


def with_errors(runs: list[Observation], error: float | None) -> list[Observation]:
    return [replace(run, score_se=error) for run in runs]


def test_an_unsure_outlier_moves_the_belief_less_than_a_sure_one() -> None:
    runs = with_errors(hill(), 0.1)
    at = [{"x": 0.25}]
    sure, unsure = (
        belief([*runs, Observation({"x": 0.25}, 3.0, 1.0, score_se=error)]).intervals(at)[0] for error in (0.1, 2.0)
    )
    assert abs(unsure.mean - 0.75) < 0.5 * abs(sure.mean - 0.75)


def test_the_interval_fits_the_error_that_the_runs_tell() -> None:
    at = [{"x": 0.5}]
    widths = []
    for error in (0.02, 0.2, 1.0):
        interval = belief(with_errors(hill(), error)).intervals(at)[0]
        widths.append(interval.high - interval.low)
    assert widths[0] < widths[1] < widths[2]


def test_what_most_runs_tell_stands_in_for_a_run_that_tells_nothing() -> None:
    runs = with_errors(hill(), 0.1)
    told, silent = belief(runs), belief([replace(runs[0], score_se=None), *runs[1:]])
    assert silent.intervals([{"x": 0.3}]) == told.intervals([{"x": 0.3}])


def test_a_sweep_without_errors_is_as_it_was() -> None:
    assert belief(hill()).noise_variance == belief(with_errors(hill(), 0.0)).noise_variance


def test_errors_of_curve_points_count_too() -> None:
    def suggestion(error: float) -> dict[str, float]:
        protein = Protein(SPACE, rng=np.random.default_rng(0))
        for run in hill():
            curve = tuple(CurvePoint(step, step / 100, step / 100 * (run.score or 0), error) for step in (40, 70))
            protein.observe(replace(run, params={**run.params, "trainer.total_timesteps": 100}, curve=curve))
        score = protein.predict({"x": 0.31}).score
        assert score is not None
        return {"mean": score.mean, "low": score.low}

    assert suggestion(0.01) != suggestion(1.0)


@pytest.mark.parametrize("score", [-40.0, -1.0, 0.2, 0.9, 5.0])
def test_an_error_is_carried_by_the_slope_of_the_warp(score: float) -> None:
    warp, step = Warp.of(np.array([-1.0, 0.0, 0.5, 1.0, 1.2])), 1e-4
    ends = warp.forward(np.array([score - step, score + step]))
    assert warp.slope(np.array([score]))[0] == pytest.approx((ends[1] - ends[0]) / (2 * step), rel=1e-3)


@pytest.mark.parametrize("unknown", [None, math.nan, math.inf, 1e200])
def test_what_is_no_error_is_not_known(unknown: float | None) -> None:
    assert Observation({}, 1.0, 1.0, score_se=unknown).score_se is None
    assert CurvePoint(1, 1.0, 1.0, unknown).score_se is None


@pytest.mark.parametrize("seed", range(4))
def test_after_five_unsure_runs_the_interval_is_no_narrower_than_their_mean_could_be_known(seed: int) -> None:
    rng = np.random.default_rng(seed)
    runs = [Observation({"x": float(x)}, 1 + 0.22 * rng.normal(), 1.0, score_se=0.22) for x in rng.uniform(size=5)]
    for interval in belief(runs).intervals([run.params for run in runs]):
        assert interval.high - interval.low > 2 * 1.645 * 0.22 / 5**0.5


def test_the_own_guesses_of_a_model_of_few_runs_widen_its_intervals_and_of_many_hardly() -> None:
    few, many = (belief(hill(count)).models.score.widened(np.array([0.1, 1.9, 3.0])) for count in (5, 200))
    assert few == pytest.approx([0.1 * 3**0.5, 2.0, 3.0])
    assert many == pytest.approx([0.1 * 1.05**0.5, 1.9 * 1.05**0.5, 3.0])


def test_after_few_runs_an_interval_reaches_no_further_than_the_scores_lie_apart() -> None:
    """Bad scores lose their distances in the model: two deviations there may be 17 points of a score of 1."""
    space = Space.from_config({name: {"min": 0.0, "max": 1.0} for name in "abcd"})
    scores = (0.901, 1.609, 1.51, 1.13, 1.557)
    points = np.random.default_rng(3).random((len(scores), 4)).tolist()
    runs = [
        Observation(dict(zip("abcd", point, strict=True)), score, 4.0)
        for point, score in zip(points, scores, strict=True)
    ]
    found = ScoreBelief.of(space, "maximize", runs)
    assert found is not None
    for interval in found.intervals([run.params for run in runs]):
        assert 0.901 - 0.708 <= interval.low <= interval.mean <= interval.high <= 1.609 + 0.708
