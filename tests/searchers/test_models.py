"""Cost, success and score models on data whose truth is known."""

from __future__ import annotations

import numpy as np
import pytest

from searchers import CurvePoint, FailureKind, Observation, ObservationError, Outcome, Space
from searchers.cost_model import CostModel
from searchers.features import Features
from searchers.surrogate import ScoreModel, SuccessModel, is_refit_due, representative
from searchers.surrogate_models import SurrogateModels

LENGTH = "trainer.total_timesteps"
SPACE = Space.from_config(
    {LENGTH: {"distribution": "log_normal", "min": 1e5, "max": 3e6}, "x": {"min": 0.0, "max": 1.0}}
)


def new_models(space: Space = SPACE, sign: float = 1.0, curve_points: int = 3) -> SurrogateModels:
    return SurrogateModels(space, Features.of(space, None, curve_points), sign)


def cost_at(model: CostModel, steps: float) -> float:
    row = model.features.full(SPACE.embed({LENGTH: steps, "x": 0.5})[None])
    return float(np.exp(model.predict(row)[0][0]))


def test_after_one_run_twice_the_steps_cost_twice_as_much() -> None:
    model = CostModel(Features.of(SPACE, None, 0))
    model.observe(model.features.full(SPACE.embed({LENGTH: 1e6, "x": 0.5})[None])[0], 100.0)
    assert cost_at(model, 2e6) == pytest.approx(200.0, rel=0.02)


def test_overhead_is_learned_where_the_steps_are_few() -> None:
    model, rng = CostModel(Features.of(SPACE, None, 0)), np.random.default_rng(0)
    for steps in np.exp(rng.uniform(np.log(1e5), np.log(3e6), 30)):
        row = model.features.full(SPACE.embed({LENGTH: steps, "x": rng.random()})[None])[0]
        model.observe(row, 60.0 + steps / 1e4)
    assert cost_at(model, 1e5) == pytest.approx(70.0, rel=0.1)
    assert cost_at(model, 3e6) == pytest.approx(360.0, rel=0.1)


def test_predicted_costs_never_overflow() -> None:
    model = CostModel(Features.of(SPACE, None, 0))
    for steps, cost in ((1e5, 1e-300), (3e6, 1e300)):
        model.observe(model.features.full(SPACE.embed({LENGTH: steps, "x": 0.5})[None])[0], cost)
    assert np.isfinite(np.exp(model.predict(np.full((1, 2), 1e6))[0])).all()


def test_failures_teach_where_not_to_go() -> None:
    model = new_models()
    for x in np.linspace(0.02, 0.98, 25):
        params = {LENGTH: 1e6, "x": float(x)}
        model.observe(
            Observation.failed(params, 5.0, FailureKind.HYPERPARAMETERS) if x > 0.6 else Observation(params, 1.0, 10.0)
        )
    chance = model.predict(np.array([SPACE.embed({LENGTH: 1e6, "x": x}) for x in (0.1, 0.9)])).success
    assert chance[0] > 0.9
    assert chance[1] < 0.1


@pytest.mark.parametrize("kind", [FailureKind.INFRASTRUCTURE, FailureKind.CODE])
def test_lost_nodes_and_broken_code_teach_nothing(kind: FailureKind) -> None:
    model = new_models()
    model.observe(Observation.failed({LENGTH: 1e6, "x": 0.5}, 5.0, kind))
    assert model.success.num_failures == 0
    assert model.predict(np.zeros((1, 2))).success.tolist() == [1.0]
    assert model.times_run(SPACE.embed({LENGTH: 1e6, "x": 0.5})) == 0
    assert model.spent == 5.0


def run(x: float, steps: float, final: float, shares: tuple[float, ...] = (0.3, 0.6), gap: float = 0.0) -> Observation:
    curve = tuple(
        CurvePoint(int(share * steps), share * steps / 1e4, final * share**0.5 - gap * (1 - share)) for share in shares
    )
    return Observation({LENGTH: steps, "x": x}, final, 20 + steps / 1e4, curve=curve)


def test_a_learning_curve_is_evidence_about_shorter_runs() -> None:
    shorter = SPACE.embed({LENGTH: 9e5, "x": 0.5})[None]
    stds = []
    for points in (0, 3):
        model = new_models(curve_points=points)
        for x in (0.1, 0.3, 0.5, 0.7, 0.9):
            model.observe(run(x, 3e6, 1.0 - (x - 0.5) ** 2))
        stds.append(model.predict(shorter).std[0])
    assert stds[1] < 0.9 * stds[0]


def test_the_earliest_curve_points_and_the_end_are_no_rows() -> None:
    features = Features.of(SPACE, None, 3)
    observation = run(0.5, 1e6, 1.0, shares=(0.01, 0.1, 0.2, 0.4, 0.6, 0.8, 0.99))
    assert [share for share, _ in features.curve_rows(observation, 1e6)] == [0.2, 0.6, 0.8] or len(
        features.curve_rows(observation, 1e6)
    ) == 3
    assert all(0.15 <= share < 0.95 for share, _ in features.curve_rows(observation, 1e6))


@pytest.mark.parametrize("length", [{"distribution": "log_normal", "min": 2.9e6, "max": 3e6}, {"value": 3e6}])
def test_short_runs_of_another_phase_do_not_pass_for_bad_long_ones(length: dict[str, object]) -> None:
    space = Space.from_config({LENGTH: length, "x": {"min": 0.0, "max": 1.0}})
    phase = new_models(space)
    for x in np.linspace(0.5, 1.0, 8):  # promising, but short
        phase.observe(Observation({LENGTH: 1e5, "x": float(x)}, 0.3 * float(x), 1.0))
    for x in np.linspace(0.0, 0.4, 8):
        phase.observe(Observation({LENGTH: 3e6, "x": float(x)}, 2.0 * float(x), 30.0))
    inside, beyond = (space.embed({LENGTH: 3e6, "x": x})[None] for x in (0.4, 0.6))
    assert phase.predict(beyond).mean[0] > phase.predict(inside).mean[0]
    assert cost_of(phase, beyond) == pytest.approx(30.0, rel=0.2)


def cost_of(model: SurrogateModels, point: np.ndarray) -> float:
    return float(np.exp(model.predict(point).log_cost[0]))


def test_a_schedule_gap_does_not_pass_for_a_bad_short_run() -> None:
    """The trap: halfway through annealed runs the score is far lower than that of finished runs of half the length."""
    model = new_models()
    for x in (0.2, 0.4, 0.6, 0.8):
        for steps in (3e5, 1e6, 3e6):
            model.observe(run(x, steps, float(np.log10(steps)) - 5.0, gap=1.0))
    finished = model.predict(SPACE.embed({LENGTH: 5e5, "x": 0.5})[None])
    assert model.scores_of(finished.mean)[0] == pytest.approx(np.log10(5e5) - 5.0, abs=0.15)


def test_a_stopped_run_is_a_partial_run_and_not_on_the_front() -> None:
    model = new_models()
    model.observe(run(0.2, 1e6, 1.0))
    partial = (CurvePoint(100_000, 10.0, 5.0), CurvePoint(300_000, 30.0, 6.0))
    model.observe(Observation({LENGTH: 1e6, "x": 0.4}, 6.0, 50.0, Outcome.STOPPED_EARLY, curve=partial))
    assert model.evaluated.observation.tolist() == [0]
    assert model.num_scored == 2


def test_repeats_are_averaged_and_the_luckiest_draw_does_not_win() -> None:
    model, rng = new_models(), np.random.default_rng(0)
    for x in np.linspace(0, 1, 12):
        model.observe(
            Observation({LENGTH: 1e6, "x": float(x)}, float(1 - (x - 0.5) ** 2 + 0.1 * rng.standard_normal()), 10.0)
        )
    for score in (0.95, 1.0, 1.02, 0.97):
        model.observe(Observation({LENGTH: 1e6, "x": 0.5}, score, 10.0))
    model.observe(Observation({LENGTH: 1e6, "x": 0.0}, 1.25, 10.0))
    model.observe(Observation({LENGTH: 1e6, "x": 0.0}, 0.6, 10.0))
    best = model.evaluated
    assert model.observations[best.observation[best.best]].params["x"] == pytest.approx(0.5, abs=0.2)
    assert best.runs.max() == 4


def test_posterior_means_at_the_runs_are_those_of_the_predictor() -> None:
    model, rng = new_models(), np.random.default_rng(3)
    for x in rng.random(9):
        model.observe(Observation({LENGTH: 1e6, "x": float(x)}, float(np.sin(5 * x)), 10.0))
    evaluated = model.evaluated
    assert evaluated.mean == pytest.approx(model.predict(evaluated.points_unit).mean, abs=1e-6)


def test_the_sceptic_knows_the_runs_as_well_and_less_of_what_lies_between() -> None:
    model = new_models()
    for x in (0.1, 0.3, 0.5, 0.7, 0.9):
        for steps in (2e5, 2e6):
            model.observe(Observation({LENGTH: steps, "x": x}, np.sin(5 * x) * steps**0.2, steps / 1e4))
    gp, sceptic = model.score.gp, model.score.sceptic
    assert gp is not None
    assert sceptic is not None
    there, between = (model.features.full(np.array([SPACE.embed({LENGTH: 2e6, "x": x})])) for x in (0.3, 0.4))
    assert sceptic.mean(there) == pytest.approx(gp.mean(there), abs=0.1)
    assert sceptic.mean_std(between)[1] > 1.2 * gp.mean_std(between)[1]


def test_among_choices_alone_there_is_nothing_to_be_sceptical_of() -> None:
    space = Space.from_config({"a": {"choices": ["x", "y", "z"]}, "b": {"choices": [1, 2]}})
    model = new_models(space, curve_points=0)
    for a in ("x", "y", "z"):
        model.observe(Observation({"a": a, "b": 1}, float(ord(a)), 1.0))
    assert model.score.gp is not None
    assert model.score.sceptic is None


def test_the_active_set_is_never_the_best_only() -> None:
    chosen = representative(np.arange(1000.0), 90)
    assert len(chosen) <= 90
    assert (chosen < 500).sum() >= 15
    assert set(range(970, 1000)) <= set(chosen.tolist())


def test_refits_come_every_row_at_first_and_then_every_five_percent() -> None:
    assert [n for n in range(1, 50) if is_refit_due(n)] == [*range(1, 41), 42, 44, 46, 48]
    assert sum(is_refit_due(n) for n in range(1, 1001)) < 160


def test_a_stopped_run_says_nothing_of_whole_costs_where_nobody_knows_the_length() -> None:
    space = Space.from_config({"x": {"min": 0.0, "max": 1.0}})
    known = new_models(space)
    curve = (CurvePoint(1000, 5.0, 0.5),)
    known.observe(Observation({"x": 0.5}, 0.5, 50.0, curve=(*curve, CurvePoint(10_000, 50.0, 0.5))))
    cost = known.log_cost(known.features.full(space.embed({"x": 0.4})[None]))
    known.observe(Observation({"x": 0.4}, 0.1, 5.0, Outcome.STOPPED_EARLY, curve=curve))
    assert known.log_cost(known.features.full(space.embed({"x": 0.4})[None])) == pytest.approx(cost)


def test_models_that_know_nothing_say_so() -> None:
    with pytest.raises(RuntimeError, match="nothing observed yet"):
        CostModel(Features.of(SPACE, None, 0)).predict(np.zeros((1, 3)))
    with pytest.raises(RuntimeError, match="no run has a score yet"):
        _ = new_models().evaluated


@pytest.mark.parametrize(
    ("outcome", "score", "failure", "complaint"),
    [
        (Outcome.FAILED, None, None, "failure: need a kind exactly when the run failed"),
        (Outcome.COMPLETED, 1.0, FailureKind.CODE, "failure: need a kind exactly when the run failed"),
        (Outcome.COMPLETED, None, None, "score: need None exactly when the run failed"),
    ],
)
def test_outcome_score_and_failure_agree(
    outcome: Outcome, score: float | None, failure: FailureKind | None, complaint: str
) -> None:
    with pytest.raises(ObservationError, match=complaint):
        Observation({"x": 0.5}, score, 1.0, outcome, failure)


def test_a_score_model_has_a_posterior_from_the_first_score_on() -> None:
    model, params = ScoreModel(Features.of(SPACE, None, 0)), {LENGTH: 1e6, "x": 0.5}
    assert model.gp is None
    model.observe(0, Observation(params, 2.0, 100.0), SPACE.embed(params))
    assert model.gp is not None
    assert model.num_finals == 1


def test_a_success_model_doubts_the_place_of_a_failure_most() -> None:
    model = SuccessModel(Features.of(SPACE, None, 0))
    for x, is_failed in ((0.1, True), (0.9, False)):
        params = {LENGTH: 1e6, "x": x}
        run = (
            Observation.failed(params, 1.0, FailureKind.HYPERPARAMETERS) if is_failed else Observation(params, 1.0, 1.0)
        )
        model.observe(run, SPACE.embed(params))
    near, far = (SPACE.embed({LENGTH: 1e6, "x": x})[None] for x in (0.1, 0.9))
    assert model.num_failures == 1
    assert model.probability(model.features.full(near))[0] < model.probability(model.features.full(far))[0]
