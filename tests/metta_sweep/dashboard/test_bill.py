"""One sweep whose money is known to the second: run cost and idle make up the node bill wherever they are told."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from metta_sweep.analysis.estimates import totals
from metta_sweep.cli.main import main
from metta_sweep.config.job import Budget
from metta_sweep.dashboard.background_fits import Fit
from metta_sweep.dashboard.figure_input import FigureInput
from metta_sweep.dashboard.figures import theme
from metta_sweep.dashboard.pages import find
from metta_sweep.dashboard.report import report_html
from metta_sweep.dashboard.snapshot import Feed, FeedOptions
from metta_sweep.dashboard.tables import summary_cards
from metta_sweep.dashboard.view import View
from metta_sweep.dashboard.wealth import bill_of, wealth_of
from metta_sweep.registry.open import sqlite_url
from metta_sweep.registry.reader import SqliteReader
from metta_sweep.registry.records import NewObservation, Reservation
from metta_sweep.registry.store import SqlRegistry
from tests.metta_sweep.dashboard.simulated import OWNER, START, Clock, Plan, spec_yaml
from tests.metta_sweep.dashboard.test_app import components

PRICE = 36.0  # dollars per GPU-hour: a cent per second
# Start, end, and seconds of set-up, training and evaluation, on one GPU each. Two slots are held for 100 s: 160 s are
# paid, the rest is idle: 10 s at the end of the first run, 20 s between the others and 10 s at the end of the last.
RUNS = ((0, 100, (10, 70, 10)), (0, 40, (10, 25, 5)), (60, 100, (5, 20, 5)))
BILL = "Node bill $2.00 = run cost $1.60 + idle $0.40; Node bill 3 min 20 s = run cost 2 min 40 s + idle 40 s"


def write(data_dir: Path) -> None:
    """`RUNS` in the order of time, as a driver writes them."""
    clock = Clock()
    registry = SqlRegistry(sqlite_url(data_dir), clock)
    registry.create_sweep("known", spec_yaml(Plan(name="known")))
    params = {"trainer.ppo.gamma": 0.9}
    ends = [(end, False, number) for number, (_, end, _) in enumerate(RUNS)]
    moments = sorted([*ends, *((start, True, number) for number, (start, _, _) in enumerate(RUNS))])
    held = {}
    for at, is_start, number in moments:
        clock.now = START + at
        if is_start:
            asked = Reservation(number, params, {}, "explore", 0, 1.0, 1.0)
            held[number] = registry.reserve("known", asked, OWNER, lease_seconds=math.inf, key=f"reserve:{number}")
            registry.start(held[number].id, held[number].fence, num_gpus=1.0, key=f"start:{number}")
            registry.record_nodes(held[number].id, held[number].fence, ["node-a"])
            continue
        seconds = dict(zip(("setup", "train", "evaluate"), map(float, RUNS[number][2]), strict=True))
        clocks = ("wall_seconds", "cpu_seconds", "gpu_seconds")
        costs = {part: dict.fromkeys(clocks, took) for part, took in seconds.items()}
        took = seconds["train"] + seconds["evaluate"]
        result = NewObservation("completed", 1.0, took, took, costs=costs, attempt_costs=costs, nodes=("node-a",))
        registry.finish(held[number].id, held[number].fence, result, key=f"finish:{number}")
    registry.close()


@pytest.fixture(scope="module")
def known_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("bill")
    write(directory)
    return directory


@pytest.fixture(scope="module")
def inputs(known_dir: Path) -> Iterator[FigureInput]:
    reader = SqliteReader(known_dir / "registry.db")
    snapshot = Feed(reader, "known", FeedOptions(Budget(hourly_cost=PRICE))).refresh()
    yield FigureInput(snapshot, View(sweep="known"), Fit.without_model(snapshot))
    reader.close()


def status(data_dir: Path, capsys: pytest.CaptureFixture[str], *more: str) -> str:
    assert main(["status", "sweep_name=known", f"data_dir={data_dir}", f"budget.hourly_cost={PRICE}", *more]) == 0
    return capsys.readouterr().out


def test_status_says_that_run_cost_and_idle_are_the_node_bill(
    known_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = " ".join(status(known_dir, capsys).split())
    assert "node bill $2.000 = run cost $1.600 + idle $0.400" in words
    assert "node bill 3 min 20 s of GPUs = run cost 2 min 40 s of GPUs + idle 40 s of GPUs" in words
    assert "2 slots, 80% busy (lowest: slot 1, 70%; longest gap 20 s)" in words
    money = json.loads(status(known_dir, capsys, "--json"))["money"]
    assert [(one["unit"], one["spent"], one["idle"], one["node_bill"]) for one in money[:2]] == [
        ("$", pytest.approx(1.6), pytest.approx(0.4), pytest.approx(2.0)),
        ("GPU h", pytest.approx(160 / 3600), pytest.approx(40 / 3600), pytest.approx(200 / 3600)),
    ]
    assert money[2]["idle"] is None  # time alone costs nothing


def test_the_page_counts_the_time_of_a_sweep_that_nobody_ended_as_status_does(
    inputs: FigureInput, known_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert inputs.snapshot.ending is None
    hours = json.loads(status(known_dir, capsys, "--json"))["money"][2]["spent"]
    assert wealth_of(inputs.snapshot).amounts[2].spent == pytest.approx(hours, abs=0.05)


def test_the_dashboard_and_the_report_say_the_same(inputs: FigureInput) -> None:
    wealth = wealth_of(inputs.snapshot)
    assert bill_of(wealth) == BILL
    report = report_html(inputs)
    for name, value in (("run cost", "$1.60"), ("idle", "$0.40"), ("node bill", "$2.00")):
        assert f"{name}<b>{value}</b>" in report
    cards = components(summary_cards(totals(inputs.snapshot.all_runs, inputs.goal), wealth))
    assert '"$2.00"' in cards
    assert "run cost $1.60 + idle $0.40" in cards


def test_the_timeline_draws_what_the_costs_say(inputs: FigureInput) -> None:
    drawn: dict[str, Any] = {trace.name: trace for trace in find("timeline").draw(inputs).data}
    seconds = {name: sum(trace.x) / 1000 for name, trace in drawn.items()}
    assert seconds == pytest.approx({"set-up": 25.0, "train": 115.0, "evaluate": 20.0, "idle": 40.0})


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.0, "0 s"),
        (0.42, "0.42 s"),
        (9.96, "10 s"),
        (45.0, "45 s"),
        (59.7, "1 min"),
        (215.3, "3 min 35 s"),
        (7559.0, "2 h 6 min"),
        (3599.6, "1 h"),
        (446_400.0, "5 d 4 h"),
        (-90.0, "-1 min 30 s"),
        (math.nan, "–"),
    ],
)
def test_a_length_of_time_is_told_in_units_that_fit(seconds: float, words: str) -> None:
    assert theme.seconds(seconds) == words
