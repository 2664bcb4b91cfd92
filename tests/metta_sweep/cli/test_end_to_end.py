"""The whole way on real parts, through the command line: two ranks train, the sweep ends, `best` writes a patch,
`train` repeats the winner.
"""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from metta_sweep.cli.main import main

pytestmark = [pytest.mark.ray, pytest.mark.timeout(600)]
ROOT = Path(__file__).parents[3]
SMALL = (
    "sweep=quick",
    "sim=smoke_test",
    "sweep.num_samples=2",
    "sweep.parameters.trainer.total_timesteps={distribution: int_uniform, min: 16384, max: 24576, mean: 16384}",
)


def metta_sweep(directory: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environ = {**os.environ, "PYTHONPATH": str(ROOT), "METTA_SWEEP_RAY_DASHBOARD": "0", "NUM_CPUS": "2"}
    environ.pop("WANDB_API_KEY", None)
    command = [sys.executable, "-m", "metta_sweep", *words]
    return subprocess.run(command, cwd=directory, env=environ, capture_output=True, text=True, check=False)


def succeed(directory: Path, *words: str) -> str:
    done = metta_sweep(directory, *words)
    assert done.returncode == 0, f"{words}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def test_from_a_sweep_file_to_a_policy_trained_with_what_it_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def answer(*words: str) -> Any:  # what starts no Ray needs no process of its own
        assert main([*words, "--json"]) == 0
        return json.loads(capsys.readouterr().out)

    monkeypatch.chdir(tmp_path)
    started = time.time()
    said = succeed(tmp_path, "run", "sweep_name=s", *SMALL, "resources.world_size=2")
    assert "all 2 runs are done" in said
    assert "random policy, same suite" in said

    runs = tmp_path / "train_dir" / "sweep" / "s" / "runs"
    assert sorted(path.name for path in runs.iterdir()) == ["s.r.0", "s.r.1"]
    for run in runs.iterdir():
        files = {path.name for path in run.iterdir()}
        assert {"protein_suggestion.yaml", "protein_state.yaml", "train_config_overrides.yaml", "dist_1.yaml"} <= files
        assert {"train.log", "metrics.jsonl", "checkpoints", "eval", "wandb"} <= files
        assert {"sweep_eval_config.yaml", "sweep_eval_results.yaml"} <= files
        times = [json.loads(line)["time"] for line in (run / "metrics.jsonl").read_text().splitlines()]
        assert started < times[0] <= times[-1] < time.time()
        with sqlite3.connect(run / "eval" / "stats.db") as stats:
            tables = {name for (name,) in stats.execute("select name from sqlite_master where type = 'table'")}
        assert tables

    status = answer("status", "sweep_name=s")
    assert status["runs_by_state"] == {"completed": 2}
    assert [len(row["nodes"]) for row in status["runs"]] == [2, 2]  # a node for each rank
    found = answer("best", "sweep_name=s", "--output-dir", "configs/trainer/patch")
    best = found["best"][0]
    assert best["id"] in [row["id"] for row in found["front"]]
    assert main(["best", "sweep_name=s", "--output-dir", "configs/trainer/patch"]) == 2, "it overwrote a patch unasked"

    result = json.loads(
        succeed(tmp_path, "train", "run=again", "+trainer/patch=s_best", "resources.world_size=2", "--json")
    )
    assert result["score"] == pytest.approx(best["score"], abs=1e-9)
    written = (
        directory / "train_config_overrides.yaml" for directory in (tmp_path / "train_dir" / "again", runs / best["id"])
    )
    again, before = (file.read_text().splitlines() for file in written)
    assert [(new, old) for new, old in zip(again, before, strict=True) if new != old] == [
        ("run: again", f"run: {best['id']}")
    ]
    evaluated = json.loads(succeed(tmp_path, "evaluate", "run=again", "+trainer/patch=s_best", "--json"))
    assert evaluated["score"] == pytest.approx(result["score"], abs=1e-9)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["sweep=quick"], "sweep_name: missing"),
        (["sweep=quick", "sweep_name=a/b"], "sweep_name: 'a/b' cannot name a directory"),
        (["sweep=quick", "sweep_name=a..b"], "and no '..'"),
        (["sweep=quick", "sweep_name=x", "resources.gpus_per_worker=64"], "resources.gpus_per_worker: 64"),
        (["sweep=quik", "sweep_name=x"], "quick"),
        (["sweep=quick", "sweep_name=x", "sweep.metric=rewrad"], "reward"),
        (["sweep=quick", "sweep_name=x", "sweep.parameters.trainer.ppo.gama={min: 0.8, max: 0.9}"], "gamma"),
        (
            [
                "sweep=quick",
                "sweep_name=x",
                "sweep.parameters.trainer.ppo.gamma={distribution: logit_normal, min: 0.8, max: 1.0}",
            ],
            "max < 1",
        ),
        (["sweep=quick", "sweep_name=x", "sweep.parameters.trainer.ppo.gamma={min: 0.9, max: 0.8}"], "min"),
        (
            ["sweep=quick", "sweep_name=x", "sweep.parameters.trainer.ppo.gamma={min: 0.8, max: 0.9, mean: 0.95}"],
            "mean",
        ),
        (
            [
                "sweep=quick",
                "sweep_name=x",
                "sweep.parameters.trainer.ppo.gamma={distribution: log_norml, min: 0.8, max: 0.9}",
            ],
            "log_normal",
        ),
    ],
)
def test_bad_input_is_one_clear_line_and_starts_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["run", *words]) == 2
    said = capsys.readouterr().err
    assert message in said
    assert len(said.strip().splitlines()) == 1
    assert not list(tmp_path.iterdir())


def test_a_yaml_syntax_error_names_file_and_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "configs" / "sweep" / "broken.yaml"
    file.parent.mkdir(parents=True)
    file.write_text("metric: reward\nparameters: {trainer: [\n")
    monkeypatch.chdir(tmp_path)
    assert main(["run", "sweep_name=x", "sweep=broken"]) == 2
    assert "broken.yaml:" in capsys.readouterr().err


def test_bad_input_shows_no_traceback_to_a_user(tmp_path: Path) -> None:
    done = metta_sweep(tmp_path, "run", "sweep=quick")
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
