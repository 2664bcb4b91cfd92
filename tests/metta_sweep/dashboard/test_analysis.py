"""Timeline, failures, curves and findings, by hand calculation."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from metta_sweep.analysis.curves import best_band, thinned, with_axis
from metta_sweep.analysis.failed import failures
from metta_sweep.analysis.health import cost_error, failure_share, no_effect
from metta_sweep.analysis.timeline import spans
from metta_sweep.analysis.utilisation import idle_seconds, utilisation
from metta_sweep.registry.records import AttemptRecord


def attempt(
    run_id: str, start: float, end: float | None, *, node: str = "n", reason: str = "completed", gpus: float = 1.0
) -> AttemptRecord:
    costs = (
        {"setup": {"wall_seconds": 1.0}, "train": {"wall_seconds": 3.0}}
        if reason == "completed" and end is not None
        else {}
    )
    return AttemptRecord(run_id, 1, (node,), gpus, start, end, costs, reason if end is not None else "")


def test_attempts_that_overlap_stand_on_different_lanes_and_what_no_run_paid_for_is_idle() -> None:
    attempts = [attempt("a", 0.0, 8.0), attempt("b", 2.0, 4.0), attempt("c", 10.0, 14.0)]
    table = spans(attempts, now=20.0)  # each paid 4 s
    assert set(table.loc[table["run_id"] == "b", "lane"]) == {"n/1"}
    assert set(table.loc[table["run_id"] == "c", "lane"]) == {"n/0"}
    idle = table[table["kind"] == "idle"]
    assert idle[["lane", "start", "end"]].to_numpy().tolist() == [
        ["n/0", 4.0, 10.0],
        ["n/1", 0.0, 2.0],
        ["n/1", 6.0, 14.0],
    ]
    assert idle_seconds(utilisation(attempts, now=20.0)) == (idle["end"] - idle["start"]).sum() == 16.0


def test_the_parts_of_an_attempt_are_as_long_as_they_cost() -> None:
    table = spans([attempt("a", 0.0, 8.0)], now=20.0)
    assert table[["kind", "start", "end"]].to_numpy().tolist() == [
        ["setup", 0.0, 1.0],
        ["train", 1.0, 4.0],
        ["idle", 4.0, 8.0],
    ]


def test_an_attempt_that_paid_for_longer_than_its_start_was_written_down_pushes_the_next() -> None:
    late = [attempt("a", 3.0, 5.0), attempt("b", 5.0, 9.0)]
    table = spans(late, now=20.0)
    assert table.loc[table["kind"] == "setup", "start"].tolist() == [3.0, 7.0]
    assert idle_seconds(utilisation(late, now=20.0)) == 0.0


def test_running_and_interrupted_attempts_are_told_apart() -> None:
    table = spans([attempt("a", 0.0, 5.0, reason="lost"), attempt("b", 6.0, None)], now=9.0)
    assert table[["kind", "start", "end"]].to_numpy().tolist() == [
        ["interrupted", 0.0, 5.0],
        ["idle", 5.0, 6.0],
        ["running", 6.0, 9.0],
    ]


def test_idle_time_counts_gpus_where_attempts_held_them() -> None:
    for gpus, idle in ((4.0, 8.0), (0.0, 2.0)):
        attempts = [attempt("a", 0.0, 4.0, gpus=gpus), attempt("b", 6.0, 10.0, gpus=gpus)]
        assert idle_seconds(utilisation(attempts, now=19.0)) == idle


def test_failures_are_grouped_by_signature_with_their_money_and_newest_example() -> None:
    columns = ["id", "state", "signature", "failure", "dollars", "paid_wall_seconds", "ended_at", "message"]
    rows = [
        ("r.0", "failed", "OOM", "hyperparameters", 1.0, 10.0, 5.0, "first"),
        ("r.1", "failed", "NaN", "hyperparameters", 2.0, 20.0, 6.0, "nan"),
    ]
    rows += [
        ("r.2", "failed", "OOM", "hyperparameters", 3.0, 30.0, 7.0, "newest"),
        ("r.3", "completed", "", "", 9.0, 9.0, 8.0, ""),
    ]
    table = failures(pd.DataFrame(rows, columns=columns))
    assert table[["signature", "num_runs", "dollars", "example", "message"]].to_numpy().tolist() == [
        ["OOM", 2, 4.0, "r.2", "newest"],
        ["NaN", 1, 2.0, "r.1", "nan"],
    ]


def curves(*points: tuple[str, float, float]) -> pd.DataFrame:
    return pd.DataFrame(
        [(run, x, x, score) for run, x, score in points], columns=["id", "env_steps", "seconds", "score"]
    )


def test_the_best_band_reads_each_curve_only_inside_its_own_range_and_the_median_stops_below_five_runs() -> None:
    short = [point for run in "bcde" for point in ((run, 1.0, 2.0), (run, 2.0, 1.0))]
    table = curves(("a", 1.0, 0.0), ("a", 4.0, 3.0), *short).assign(x=lambda frame: frame["env_steps"])
    band = best_band(table, "maximize", points=3)  # x = 1, 2, 4
    assert band["x"].tolist() == pytest.approx([1.0, 2.0, 4.0])
    assert band["best"].tolist() == pytest.approx([2.0, 2.0, 3.0])
    assert band["median"].tolist() == pytest.approx([2.0, 1.0, float("nan")], nan_ok=True)
    assert best_band(table, "minimize", points=3)["best"].tolist() == pytest.approx([0.0, 0.0, 0.0])


def test_dollars_along_a_curve_end_at_what_the_run_was_charged() -> None:
    runs = pd.DataFrame({"id": ["a", "b"], "dollars": [8.0, 0.0]})
    table = with_axis(curves(("a", 1.0, 0.0), ("a", 4.0, 1.0), ("b", 1800.0, 0.0)), runs, "dollars", hourly_cost=2.0)
    assert table["x"].tolist() == pytest.approx([2.0, 8.0, 1.0])


def test_thinning_keeps_the_best_curves_and_every_last_point() -> None:
    table = curves(*((f"r{run}", float(step), float(step)) for run in range(500) for step in range(1, 201)))
    runs = pd.DataFrame({"id": [f"r{run}" for run in range(500)], "score": np.arange(500.0)})
    kept = thinned(table, runs, "maximize", np.random.default_rng(0))
    assert len(kept) <= 45_000
    assert kept["id"].nunique() == 400
    assert {f"r{run}" for run in range(400, 500)} <= set(kept["id"])
    assert (kept.groupby("id")["env_steps"].max() == 200.0).all()


def completed(scores: list[float], costs: list[float], predicted: list[float]) -> pd.DataFrame:
    return pd.DataFrame(
        {"state": "completed", "score": scores, "cost_seconds": costs, "predicted_cost": predicted, "sequence": 1}
    )


def test_the_cost_model_is_judged_by_its_typical_factor() -> None:
    found = cost_error(completed([1.0] * 5, [20.0] * 5, [10.0] * 5))
    assert found is not None
    assert found.level == "warning"
    assert "factor of 2.00" in found.text
    good = cost_error(completed([1.0] * 5, [10.5] * 5, [10.0] * 5))
    assert good is not None
    assert good.level == "good"


def test_failures_are_a_warning_from_a_tenth_on() -> None:
    runs = pd.DataFrame({"state": ["failed"] + ["completed"] * 9, "sequence": range(1, 11), "paid_wall_seconds": 1.0})
    warned = failure_share(runs)
    assert warned is not None
    assert (warned.level, warned.text) == ("warning", "10% of the runs failed and took 10% of the time.")


def test_parameters_without_effect_are_named_and_the_others_are_not() -> None:
    table = pd.DataFrame({"parameter": ["lr", "seed"], "total_high": [0.9, 0.01]})
    assert "seed" in no_effect(table).text
    assert "lr" not in no_effect(table).text
