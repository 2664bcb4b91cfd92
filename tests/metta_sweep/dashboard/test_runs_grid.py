"""The table of runs: its columns and rows, what is sent of them, its filters in figures and exports, runs compared."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from metta_sweep.dashboard import export
from metta_sweep.dashboard.comparison import compared
from metta_sweep.dashboard.conditions import Condition
from metta_sweep.dashboard.figure_input import FigureInput
from metta_sweep.dashboard.grid_callbacks import read_table
from metta_sweep.dashboard.queries import Queries
from metta_sweep.dashboard.runs_grid import Asked, definitions, news
from metta_sweep.dashboard.snapshot import Feed, Snapshot
from metta_sweep.dashboard.view import View
from metta_sweep.registry.open import sqlite_url
from metta_sweep.registry.reader import SqliteReader
from metta_sweep.registry.store import SqlRegistry
from tests.metta_sweep.dashboard.conftest import HOSTILE, OPTIONS
from tests.metta_sweep.dashboard.simulated import Clock, Plan, Simulator
from tests.metta_sweep.dashboard.test_app import components

SIM = View(sweep="sim", page="runs")
RATE = "param.trainer.optimizer.learning_rate"


def looked_at(snapshot: Snapshot, view: View = SIM) -> FigureInput:
    return FigureInput(snapshot, view, None)


def titles(snapshot: Snapshot) -> list[str]:
    return [one["headerName"] for one in definitions(snapshot.runs, SIM, "maximize")]


def test_parameters_are_columns_and_numbers_stand_right(snapshot: Snapshot) -> None:
    defined = {one["field"]: one for one in definitions(snapshot.runs, SIM, "maximize")}
    assert defined[RATE]["headerName"] == "learning_rate"
    assert defined[RATE]["headerTooltip"] == "parameter trainer.optimizer.learning_rate"
    assert "rightAligned" in defined[RATE]["type"]
    assert defined["param.model.type"]["type"] == "text"
    assert defined["score"]["initialSort"] == "desc"
    assert "failure" in defined
    assert defined["failure"]["hide"]


def test_columns_that_say_nothing_are_left_out(snapshot: Snapshot) -> None:
    runs = snapshot.runs.assign(dollars=float("nan"), phase="")
    assert "paid" in titles(snapshot)
    assert {"paid", "phase"}.isdisjoint(one["headerName"] for one in definitions(runs, SIM, "maximize"))


def test_the_browser_is_sent_what_changed_and_all_of_another_set(snapshot: Snapshot) -> None:
    runs, defined = snapshot.runs, definitions(snapshot.runs, SIM, "maximize")
    every = news(runs, defined, Asked("s", 7, {}), None)
    assert every is not None
    assert len(every["values"]["id"]) == len(runs)
    has = {"key": every["key"], "revision": 7}
    assert news(runs, defined, Asked("s", 7, {"sim.r.3": 7}), has) is None
    few = news(runs, defined, Asked("s", 9, {"sim.r.3": 8, "sim.r.4": 7, "sim.r.99": 9}), has)
    assert few is not None
    assert (few["whole"], few["values"]["id"], few["gone"]) == (False, ["sim.r.3"], ["sim.r.99"])
    assert news(runs, defined, Asked("others", 7, {}), has)["whole"]  # type: ignore[index]


def test_the_rows_are_sent_again_for_other_ranges_only(queries: Queries) -> None:
    every = queries.table_news(SIM, None)
    assert every is not None
    has = {"key": every["key"], "revision": every["revision"]}
    for look in ({"theme": "dark"}, {"curve_scale": "linear"}, {"colour": "run"}, {"chosen": (1,)}, {"find": "lstm"}):
        assert queries.table_news(replace(SIM, **look), has) is None
    assert queries.table_news(replace(SIM, score=(2.0, 7.0)), has)["whole"]  # type: ignore[index]


def test_cells_are_json_with_nothing_for_what_is_not_known(snapshot: Snapshot) -> None:
    every = news(snapshot.runs, definitions(snapshot.runs, SIM, "maximize"), Asked("s", 1, {}), None)
    values = json.loads(json.dumps(every, allow_nan=False))["values"]
    failed = snapshot.runs["state"].tolist().index("failed")
    assert values["score"][failed] is None
    assert values["message"][failed] == HOSTILE  # as a text: the table shows texts as they are
    assert values[RATE][0] == snapshot.runs[RATE].iloc[0]


def test_a_run_that_changed_is_told_and_others_are_not(tmp_path: Path) -> None:
    clock = Clock()
    registry = SqlRegistry(sqlite_url(tmp_path), clock)
    simulator = Simulator(registry, clock, Plan(name="live", num_runs=0))
    simulator.finish_one()
    feed = Feed(SqliteReader(tmp_path / "registry.db"), "live", OPTIONS)
    before = feed.refresh().changes
    simulator.finish_one()
    after = feed.refresh().changes
    registry.close()
    assert after.feed == before.feed
    assert {name for name, at in after.by_run.items() if at > before.revision} == {"live.r.1"}


@pytest.mark.parametrize(
    ("column", "model", "query"),
    [
        ("score", {"type": "greaterThanOrEqual", "filter": 5}, "score >= 5"),
        ("score", {"type": "lessThanOrEqual", "filter": 5}, "score <= 5"),
        ("cost_seconds", {"type": "inRange", "filter": 60, "filterTo": 600}, "60 <= cost_seconds <= 600"),
        ("number", {"type": "equals", "filter": 3}, "number == 3"),
        ("score", {"type": "blank"}, "score.isna()"),
        ("score", {"type": "notBlank"}, "score.notna()"),
        ("state", {"type": "contains", "filter": "STOPPED"}, "state == 'stopped_early'"),
        ("state", {"type": "notContains", "filter": "stopped"}, "state != 'stopped_early'"),
        ("param.model.type", {"type": "equals", "filter": "lstm"}, "`param.model.type` == 'lstm'"),
        ("phase", {"type": "startsWith", "filter": "expl"}, "phase.notna()"),
        ("message", {"type": "notBlank"}, "message != ''"),
    ],
)
def test_a_filter_of_the_table_holds_for_figures_and_csv(
    snapshot: Snapshot, column: str, model: dict[str, Any], query: str
) -> None:
    view = View(sweep="sim", **read_table({"where": {column: model}}))
    assert View.from_search(view.to_search()) == view
    expected = snapshot.runs.query(query)
    assert len(expected) > 0
    assert looked_at(snapshot, view).runs["id"].tolist() == expected["id"].tolist()
    assert looked_at(snapshot, view).in_ranges.equals(snapshot.runs)  # the browser filters the rows that it has
    assert len(pd.read_csv(io.StringIO(export.csv_text(looked_at(snapshot, view).runs)))) == len(expected)


@pytest.mark.parametrize(
    "model",
    [
        {"type": "constructor", "filter": 1},
        {"type": "inRange", "filter": 1},
        {"type": "greaterThanOrEqual", "filter": "x"},
        {"type": "greaterThanOrEqual", "filter": float("inf")},
        {"type": "contains", "filter": {"function": "alert(1)"}},
        "x",
        None,
    ],
)
def test_a_filter_that_makes_no_sense_is_none(model: Any) -> None:
    assert Condition.of_model(model) is None


def test_a_condition_of_another_kind_of_column_leaves_all(snapshot: Snapshot) -> None:
    where = {"score": Condition("contains", ("a",)), "phase": Condition("inRange", (1, 2)), "gone": Condition("blank")}
    assert len(looked_at(snapshot, View(where=where)).runs) == len(snapshot.runs)


def test_a_search_needs_every_word_and_looks_into_texts_and_choices(snapshot: Snapshot) -> None:
    found = looked_at(snapshot, View(find="LSTM stopped")).runs
    assert set(found["state"]) == {"stopped_early"}
    assert set(found["param.model.type"]) == {"lstm"}
    assert looked_at(snapshot, View(find="no such words")).runs.empty


def test_what_is_chosen_is_compared_with_what_differs_first(snapshot: Snapshot) -> None:
    runs = snapshot.all_runs
    two = runs[runs["state"].eq("completed") & runs["param.model.type"].eq("lstm")]["number"].tolist()[:2]
    tree = compared(looked_at(snapshot, View(sweep="sim", chosen=tuple(two))))
    before, after = components(tree).split("The same in all")
    assert all(name in before for name in ('"score"', "learning_rate", "gamma", f"sim.r.{two[0]}", f"sim.r.{two[1]}"))
    assert "lstm" in after
    assert "lstm" not in before
    assert compared(looked_at(snapshot)) == []


def test_curves_of_the_chosen_runs_lie_over_each_other(queries: Queries) -> None:
    figure = queries.figure("chosen_curves", View(sweep="sim", page="runs", chosen=(0, 2, 3)))
    assert [trace.name for trace in figure.data] == ["#0", "#2", "#3"]
    assert len({trace.line.color for trace in figure.data}) == 3


def test_the_table_does_not_draw_the_page_anew_when_it_is_sorted() -> None:
    sorted_view = View(sweep="sim", page="runs", sort=(("score", "asc"),), columns="all")
    assert sorted_view.drawn() == SIM.drawn()
    assert View(sweep="sim", page="runs", chosen=(1, 2)).drawn() != SIM.drawn()
    assert View(sweep="sim", chosen=(1, 2)).drawn() == View(sweep="sim").drawn()
