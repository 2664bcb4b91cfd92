"""Which configuration to use: the model's answer, what was luck, when to repeat; and one answer wherever it is read."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from rich.console import Console

from metta_sweep.analysis.frame import build
from metta_sweep.analysis.overview import overview
from metta_sweep.analysis.recommend import Recommendation, recommend, sentences
from metta_sweep.cli.main import main
from metta_sweep.config import load_train_job
from metta_sweep.config.job import SweepSpec
from metta_sweep.config.registered import read_spec
from metta_sweep.dashboard import panels
from metta_sweep.dashboard.background_fits import fit
from metta_sweep.dashboard.figure_input import FigureInput
from metta_sweep.dashboard.report import configuration
from metta_sweep.dashboard.snapshot import Feed, FeedOptions
from metta_sweep.dashboard.view import View
from metta_sweep.driver.summary import SweepOutcome, print_summary
from metta_sweep.errors import ConfigError
from metta_sweep.registry.open import sqlite_url
from metta_sweep.registry.reader import SqliteReader
from metta_sweep.registry.store import SqlRegistry
from metta_sweep.typed_commands import NO_ADDRESS
from tests.metta_sweep.analysis.sweep_rows import observation, run
from tests.metta_sweep.dashboard.simulated import Clock, Plan, Simulator, spec_yaml

X = {"x": {"distribution": "uniform", "min": 0.0, "max": 1.0, "mean": 0.5}}


def spec(goal: str = "maximize", parameters: Mapping[str, Any] = X) -> SweepSpec:
    tree = {**yaml.safe_load(spec_yaml(Plan())), "goal": goal}
    for phase in tree["phases"]:
        phase["parameters"] = dict(parameters)
    return read_spec(yaml.safe_dump(tree)).sweep


def sweep(points: list[tuple[float, float]], state: str = "completed") -> pd.DataFrame:
    """Runs at x with a score."""
    runs = [run(i, {"x": x}, state) for i, (x, _) in enumerate(points)]
    return build(runs, [observation(i, {"x": x}, score, outcome=state) for i, (x, score) in enumerate(points)], [])


def hill(noise: float, seed: int, count: int = 25) -> list[tuple[float, float]]:
    """Scores of a hill at x = 0.3, with noise."""
    rng = np.random.default_rng(seed)
    xs = rng.uniform(0.0, 1.0, count)
    return [(float(x), float(-4.0 * (x - 0.3) ** 2 + noise * rng.normal())) for x in xs]


def found(runs: pd.DataFrame, goal: str = "maximize") -> Recommendation:
    answer = recommend(runs, spec(goal))
    assert answer is not None
    return answer


def test_a_lucky_run_far_from_the_hill_is_shown_as_luck_and_not_recommended() -> None:
    points = [*hill(0.05, 0), *[(0.9, -1.44)] * 3, (0.91, 0.2)]
    answer = found(sweep(points))
    assert abs(answer.winner.params["x"] - 0.3) < 0.15
    assert answer.luckiest is not None
    assert (answer.luckiest.id, answer.luckiest.score) == (f"demo.r.{len(points) - 1}", 0.2)
    assert any(text.startswith(f"The best single score is 0.2, of {answer.luckiest.id}") for text in sentences(answer))


def test_minimise_mirrors_maximise() -> None:
    points = hill(0.1, 1)
    up, down = found(sweep(points)), found(sweep([(x, -score) for x, score in points]), "minimize")
    assert up.winner.id == down.winner.id
    assert up.winner.posterior is not None
    assert down.winner.posterior is not None
    assert down.winner.posterior.mean == pytest.approx(-up.winner.posterior.mean)
    assert ("highest" in sentences(up)[0], "lowest" in sentences(down)[0]) == (True, True)


def test_two_points_that_only_noise_parts_are_offered_a_repeat_with_its_price() -> None:
    rng = np.random.default_rng(3)
    points = [(x, 1.0 + 0.3 * rng.normal()) for x in (0.2, 0.8) for _ in range(3)] + [(0.5, -2.0)] * 3
    answer = found(sweep(points))
    assert answer.repeat is not None
    repeats = answer.repeat.repeats
    assert 1 <= repeats <= 5
    assert answer.repeat.cost_seconds == pytest.approx(repeats * 2 * 13.0)  # each run costs 13 s
    assert "cannot be told apart" in sentences(answer)[-1]
    assert "of each would cost" in sentences(answer)[-1]


def test_the_answer_is_the_same_however_many_are_ranked() -> None:
    runs = sweep(hill(1.0, 2, 40))
    few, many = recommend(runs, spec(), top_n=1), recommend(runs, spec(), top_n=40)
    assert few is not None
    assert many is not None
    assert few.repeat is not None
    assert (few.winner, few.repeat) == (many.winner, many.repeat)


def test_a_clear_winner_needs_no_repeat() -> None:
    points = [(0.1, 0.0), (0.1, 0.01), (0.9, 5.0), (0.9, 5.01), (0.5, 1.0), (0.5, 1.01)]
    assert found(sweep(points)).repeat is None


def test_a_run_that_was_stopped_early_is_not_recommended_while_one_was_completed() -> None:
    done, stopped = run(0, {"x": 0.2}), run(1, {"x": 0.8}, "stopped_early")
    results = [observation(0, {"x": 0.2}, 1.0), observation(1, {"x": 0.8}, 2.0, outcome="stopped_early")]
    assert found(build([done, stopped], results, [])).winner.id == "demo.r.0"


def test_without_a_search_space_the_best_mean_is_named_as_that() -> None:
    answer = recommend(sweep([(0.1, 1.0), (0.2, 2.0)]), None)
    assert answer is not None
    assert sentences(answer) == [
        "Use demo.r.1: of 2 configurations it has the highest mean score (measured 2 in 1 run)."
    ]


def test_no_score_no_answer() -> None:
    assert recommend(build([], [], []), spec()) is None


# One answer wherever it is read


def write(directory: Path, num_runs: int, seed: int) -> Path:
    """A generated sweep, with failures, two phases and runs that were stopped early."""
    plan = Plan(num_runs=num_runs, seed=seed, num_running=1)
    Simulator(SqlRegistry(sqlite_url(directory), Clock()), Clock(), plan).run_all()
    return directory


@pytest.mark.parametrize(("num_runs", "seed"), [(9, 0), (33, 1)])
def test_every_command_page_and_report_names_the_same_run_with_the_same_words(
    num_runs: int, seed: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    written = write(tmp_path, num_runs, seed)
    where = ["sweep_name=sim", f"data_dir={written}"]
    with_model = SqliteReader(written / "registry.db")
    snapshot = Feed(with_model, "sim", FeedOptions(max_observations=5)).refresh()
    inputs = FigureInput(snapshot, View(sweep="sim"), fit(snapshot))
    answer = inputs.recommendation
    assert answer is not None
    words = sentences(answer)
    console = Console(record=True, width=1000, file=io.StringIO())
    print_summary("sim", with_model, SweepOutcome("over", 0, 1.0, 0, None), console, NO_ADDRESS)
    ended = console.export_text()
    assert overview(with_model, "sim", 2e9).recommendation == answer
    with_model.close()
    assert main(["status", *where, "--json"]) == 0
    status = json.loads(capsys.readouterr().out)
    assert main(["best", *where, "--json", "--top-n", "3"]) == 0
    ranked = json.loads(capsys.readouterr().out)
    assert status["recommendation"] == ranked["recommendation"]
    assert (status["best"]["id"], ranked["best"][0]["id"]) == (answer.winner.id, answer.winner.id)
    printed = []
    for command in ("status", "best"):
        assert main([command, *where]) == 0
        printed.append(capsys.readouterr().out)
    texts = [
        *printed,
        ended,
        configuration(inputs),
        *(str(panels.PANELS[page](inputs)) for page in ("overview", "runs")),
    ]
    assert all(text in one for text in words for one in texts)
    assert inputs.held == answer.winner.params


def test_the_printed_train_command_finds_the_patch_wherever_it_was_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    written = write(tmp_path, 4, 0)
    monkeypatch.chdir(tmp_path)
    for directory in ("somewhere/else", "configs/trainer/patch"):
        assert main(["best", "sweep_name=sim", f"data_dir={written}", "--output-dir", directory]) == 0
        command = capsys.readouterr().out.splitlines()[-1].split()
        assert command[:4] == ["python", "-m", "metta_sweep", "train"]
        # A real sweep has whole numbers of steps; these are made up.
        config = load_train_job([*command[4:], "trainer.total_timesteps=1000"], {}).config
        patch = yaml.safe_load(Path(directory, "sim_best.yaml").read_text(encoding="utf-8"))
        assert config["trainer"]["optimizer"]["learning_rate"] == patch["trainer"]["optimizer"]["learning_rate"]


def test_a_patch_that_is_not_there_is_told_by_its_path() -> None:
    with pytest.raises(ConfigError, match=r"nowhere.yaml: no such file"):
        load_train_job(["run=x", "nowhere.yaml"], {})
