"""One row per run, with the same columns and types whatever the sweep looks like."""

from __future__ import annotations

import math
import warnings
from dataclasses import replace
from pathlib import Path

import pytest

from metta_sweep.analysis.best import best
from metta_sweep.analysis.frame import COLUMNS, build, frame, scored, varying_params
from metta_sweep.errors import UnknownSweep
from metta_sweep.registry.open import open_registry
from tests.metta_sweep.analysis.sweep_rows import attempt, observation, run


def test_a_finished_run_has_its_score_costs_parameters_and_metrics() -> None:
    params = {"trainer.ppo.gamma": 0.99, "trainer.batch_size": 8192}
    row = build([run(0, params)], [observation(0, params, 1.5)], [attempt(0)]).iloc[0]
    assert (row["id"], row["number"], row["state"], row["score"], row["cost_seconds"]) == (
        "demo.r.0",
        0,
        "completed",
        1.5,
        13.0,
    )
    assert (row["wall_seconds"], row["cpu_seconds"], row["gpu_seconds"]) == (13.0, 16.0, 0.0)
    assert [row[f"{part}_seconds"] for part in ("setup", "train", "curve", "evaluate")] == [2.0, 10.0, 1.0, 3.0]
    assert (row["param.trainer.ppo.gamma"], row["param.trainer.batch_size"], row["metric.reward"]) == (0.99, 8192, 1.5)
    assert row["params"] == params
    assert row["nodes"] == "head"


def test_dollars_are_slot_hours_without_gpus_and_gpu_hours_with_them_over_all_attempts() -> None:
    runs = [run(0, {}), run(1, {})]
    attempts = [
        attempt(0, 3594.0),
        attempt(0, 3594.0, index=2),
        attempt(1, 3594.0, gpus=4.0),
    ]  # 3600 s each with set-up, curve, evaluation
    table = build(runs, [], attempts, hourly_cost=2.0)
    assert list(table["dollars"]) == [4.0, 8.0]
    assert list(table["paid_wall_seconds"]) == [7200.0, 3600.0]
    assert list(table["paid_gpu_seconds"]) == [0.0, 14400.0]


def test_without_a_price_there_are_no_dollars() -> None:
    assert build([run(0, {})], [], [attempt(0)])["dollars"].isna().all()


def test_unfinished_and_failed_runs_have_no_score() -> None:
    runs = [run(0, {"a": 1}, "running"), run(1, {"a": 2}, "failed", failure="hyperparameters", message="loss is NaN")]
    table = build(runs, [observation(1, {"a": 2}, None)], [])
    assert table["score"].isna().all()
    assert list(table["failure"]) == ["", "hyperparameters"]
    assert scored(table).empty


def test_a_number_beyond_all_scores_is_none() -> None:
    """As an earlier version recorded it: it must not be the best run of all, nor hide the others in the figures."""
    params = [{"a": 1}, {"a": 2}]
    runs = [run(number, point) for number, point in enumerate(params)]
    table = build(runs, [observation(0, params[0], 1e200), observation(1, params[1], 2.0)], [])
    assert list(scored(table)["id"]) == ["demo.r.1"]
    assert [found.score for found in best(table, 5, "maximize")] == [2.0]


def test_rows_are_in_the_order_of_run_numbers() -> None:
    assert list(build([run(2, {}), run(0, {}), run(1, {})], [], [])["number"]) == [0, 1, 2]


def test_an_empty_sweep_has_the_columns_and_types_of_a_full_one() -> None:
    empty = build([], [], [])
    full = build([run(0, {"a": 1})], [observation(0, {"a": 1}, 1.0)], [attempt(0)])
    assert tuple(empty.columns) == COLUMNS
    assert dict(empty.dtypes) == {name: full[name].dtype for name in COLUMNS}


def test_a_parameter_that_only_some_runs_have_keeps_its_exact_value_in_params() -> None:
    table = build([run(0, {"a": 3}), run(1, {"b": True})], [], [])
    assert [table["params"][0], table["params"][1]] == [{"a": 3}, {"b": True}]
    assert isinstance(table["params"][0]["a"], int)
    assert math.isnan(table["param.a"][1])


def test_only_parameters_with_several_values_vary() -> None:
    assert varying_params(build([run(0, {"a": 1, "b": "x"}), run(1, {"a": 1, "b": "y"})], [], [])) == ["param.b"]


def test_a_registered_sweep_without_runs_is_an_empty_frame_and_an_unknown_one_an_error(tmp_path: Path) -> None:
    registry = open_registry(tmp_path, None)
    registry.create_sweep("demo", "metric: reward\n")
    assert frame(registry, "demo").empty
    with pytest.raises(UnknownSweep):
        frame(registry, "nothing")


def test_a_sweep_with_many_metrics_is_ranked_without_a_word_from_pandas() -> None:
    result = observation(0, {"a": 1}, 1.5)
    many = replace(
        result, observation=replace(result.observation, metrics={f"metric_{i}": float(i) for i in range(200)})
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert best(build([run(0, {"a": 1})], [many], []), 1, "maximize")[0].score == 1.5
