"""The ranking trusts the model first, means second, and single lucky runs never."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd
import pytest

from metta_sweep.analysis.best import best, with_posterior
from metta_sweep.analysis.frame import build
from metta_sweep.analysis.pareto import pareto_front
from searchers import Interval
from tests.metta_sweep.analysis.sweep_rows import observation, run


def table(*rows: tuple[dict[str, Any], float | None, float]) -> pd.DataFrame:
    """(params, score, training seconds) per run."""
    runs = [run(i, params, "failed" if score is None else "completed") for i, (params, score, _) in enumerate(rows)]
    return build(runs, [observation(i, params, score, train) for i, (params, score, train) in enumerate(rows)], [])


def test_the_best_score_is_first_and_failed_runs_are_never_in_the_ranking() -> None:
    ranking = best(table(({"a": 1}, 1.0, 10.0), ({"a": 2}, None, 10.0), ({"a": 3}, 3.0, 10.0)), 5, "maximize")
    assert [(entry.rank, entry.id, entry.score, entry.params) for entry in ranking] == [
        (1, "demo.r.2", 3.0, {"a": 3}),
        (2, "demo.r.0", 1.0, {"a": 1}),
    ]


def test_minimize_turns_the_ranking_round() -> None:
    ranking = best(table(({"a": 1}, 1.0, 10.0), ({"a": 3}, 3.0, 10.0)), 5, "minimize")
    assert [entry.id for entry in ranking] == ["demo.r.0", "demo.r.1"]


def test_runs_of_the_same_point_count_as_one_with_their_mean() -> None:
    ranking = best(table(({"a": 1}, 4.0, 10.0), ({"a": 2}, 3.0, 10.0), ({"a": 1}, 1.0, 20.0)), 5, "maximize")
    assert [(entry.run_ids, entry.score, entry.cost_seconds) for entry in ranking] == [
        (("demo.r.1",), 3.0, 13.0),
        (("demo.r.0", "demo.r.2"), 2.5, 18.0),
    ]


def test_the_models_belief_ranks_before_the_luckiest_score() -> None:
    beliefs = {1: Interval(1.0, 0.5, 1.5), 2: Interval(2.0, 1.5, 2.5)}
    runs = with_posterior(table(({"a": 1}, 9.0, 10.0), ({"a": 2}, 2.0, 10.0)), lambda params: beliefs[params["a"]])
    assert [entry.id for entry in best(runs, 5, "maximize")] == ["demo.r.1", "demo.r.0"]
    assert [entry.id for entry in best(runs, 5, "maximize", by="score")] == ["demo.r.0", "demo.r.1"]
    assert best(runs, 1, "maximize")[0].posterior == Interval(2.0, 1.5, 2.5)


@pytest.mark.parametrize("goal", ["maximize", "minimize"])
def test_a_point_that_the_model_does_not_cover_comes_last(goal: str) -> None:
    runs = with_posterior(
        table(({"a": 1}, 5.0, 10.0), ({"a": 2}, 5.0, 10.0)),
        lambda params: None if params["a"] == 1 else Interval(0.0, -1.0, 1.0),
    )
    assert [entry.id for entry in best(runs, 5, goal)] == ["demo.r.1", "demo.r.0"]


def test_the_model_is_asked_once_per_point_and_never_about_failed_runs() -> None:
    asked: list[Mapping[str, Any]] = []

    def predict(params: Mapping[str, Any]) -> None:
        asked.append(params)

    with_posterior(table(({"a": 1}, 1.0, 10.0), ({"a": 1}, 2.0, 10.0), ({"a": 2}, None, 10.0)), predict)
    assert asked == [{"a": 1}]


def test_true_and_one_are_different_points() -> None:
    assert len(best(table(({"a": 1}, 1.0, 10.0), ({"a": True}, 1.0, 10.0)), 5, "maximize")) == 2


def test_an_empty_or_all_failed_sweep_has_no_best() -> None:
    assert best(build([], [], []), 5, "maximize") == []
    assert best(table(({"a": 1}, None, 10.0)), 5, "maximize") == []


def test_an_unknown_order_is_refused() -> None:
    with pytest.raises(ValueError, match="by: need posterior or score, got 'luck'"):
        best(build([], [], []), 5, "maximize", by="luck")


def test_the_error_of_a_mean_adds_in_squares_over_the_runs_that_reported_one() -> None:
    runs = [run(i, {"a": 1}) for i in range(3)] + [run(3, {"a": 2})]
    errors = [0.3, 0.4, None, None]
    observations = [
        observation(i, record.params, 1.0, standard_error=error)
        for i, (record, error) in enumerate(zip(runs, errors, strict=True))
    ]
    first, second = best(build(runs, observations, []), 5, "maximize")
    assert first.standard_error == pytest.approx(0.25)
    assert second.standard_error is None


def test_the_front_is_what_nothing_cheaper_beats() -> None:
    runs = table(
        ({"a": 1}, 1.0, 10.0),
        ({"a": 2}, 0.5, 20.0),
        ({"a": 3}, 2.0, 30.0),
        ({"a": 4}, 2.0, 40.0),
        ({"a": 5}, None, 1.0),
    )
    assert list(pareto_front(runs, "maximize")["id"]) == ["demo.r.0", "demo.r.2"]
    assert list(pareto_front(runs, "minimize")["id"]) == ["demo.r.0", "demo.r.1"]
    assert pareto_front(build([], [], []), "maximize").empty


def test_a_run_that_was_stopped_early_is_not_on_the_front() -> None:
    runs = table(({"a": 1}, 1.0, 10.0), ({"a": 2}, 0.5, 1.0)).assign(state=["completed", "stopped_early"])
    assert list(pareto_front(runs, "maximize")["id"]) == ["demo.r.0"]


def test_the_front_can_be_paid_in_another_column() -> None:
    runs = table(({"a": 1}, 1.0, 10.0), ({"a": 2}, 2.0, 20.0)).assign(dollars=[5.0, 1.0])
    assert list(pareto_front(runs, "maximize", cost="dollars")["id"]) == ["demo.r.1"]


def test_of_equal_runs_the_earlier_is_on_the_front() -> None:
    assert list(pareto_front(table(({"a": 1}, 1.0, 10.0), ({"a": 2}, 1.0, 10.0)), "maximize")["id"]) == ["demo.r.0"]


def test_an_unknown_goal_is_refused() -> None:
    with pytest.raises(ValueError, match="goal: need maximize or minimize, got 'max'"):
        pareto_front(build([], [], []), "max")
