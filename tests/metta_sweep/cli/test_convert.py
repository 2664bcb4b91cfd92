"""A W&B sweep file becomes one of ours, which `validate` takes."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from metta_sweep.cli.main import main
from metta_sweep.config import validate_file

THEIRS = """\
program: train.py
method: bayes
run_cap: 30
metric: {name: episode_return, goal: maximize}
early_terminate: {type: hyperband, min_iter: 3}
parameters:
  learning_rate: {distribution: log_uniform_values, min: 0.0001, max: 1e-1}
  decay: {distribution: log_uniform, min: -9.210340371976182, max: 0}
  layers: {min: 1, max: 4}
  gamma: {min: 0.9, max: 0.999}
  activation: {values: [relu, tanh]}
  noise: {distribution: normal, mu: 0.5, sigma: 0.1}
  epochs: {value: 10}
  optimizer:
    parameters:
      beta1: {min: 0.8, max: 0.99}
command: ["${env}", "${interpreter}", "${program}", "--quiet", "${args_no_boolean_flags}"]
"""


def test_a_wandb_file_becomes_a_sweep_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "theirs.yaml").write_text(THEIRS)
    assert main(["convert", str(tmp_path / "theirs.yaml")]) == 0
    said = capsys.readouterr().out
    ours = yaml.safe_load(said)
    assert {key: ours[key] for key in ("goal", "method", "num_samples", "early_stopping")} == {
        "goal": "maximize",
        "method": "bayes",
        "num_samples": 30,
        "early_stopping": True,
    }
    parameters = ours["parameters"]
    assert parameters["learning_rate"] == {"distribution": "log_normal", "min": 0.0001, "max": 0.1}
    assert parameters["decay"] == {"distribution": "log_normal", "min": pytest.approx(1e-4), "max": 1.0}
    assert parameters["layers"] == {"distribution": "int_uniform", "min": 1, "max": 4}
    assert parameters["activation"] == {"choices": ["relu", "tanh"]}
    assert parameters["noise"] == {"distribution": "uniform", "min": pytest.approx(0.3), "max": 0.7, "mean": 0.5}
    assert parameters["optimizer.beta1"] == {"distribution": "uniform", "min": 0.8, "max": 0.99}
    assert ours["sweep_job_overrides"]["trainable"] == {
        "kind": "command",
        "command": "python train.py --quiet {overrides}",
        "override": "--{key}={value}",
        "booleans": "present",
        "parameters": {"epochs": 10},
    }
    assert "# noise: normal has no bounds" in said
    (tmp_path / "ours.yaml").write_text(said)
    assert validate_file(tmp_path / "ours.yaml", [], {}).sweep.num_samples == 30


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("- a\n", "need a W&B sweep file"),
        ("parameters: {x: {min: 1}}\n", "parameters.x: need values, value, or min and max"),
        ("parameters: {x: 3}\n", "parameters.x: need a mapping, got 3"),
        ("parameters: {x: {min: low, max: 1}}\n", "parameters.x.min: need a finite number, got 'low'"),
        ("metric: loss\nparameters: {x: {value: 3}}\n", "metric: need a mapping with name and goal, got 'loss'"),
        ("a: [\n", "cannot be read as YAML"),
    ],
)
def test_what_is_no_wandb_file_is_told(
    tmp_path: Path, text: str, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "theirs.yaml").write_text(text)
    assert main(["convert", str(tmp_path / "theirs.yaml")]) == 2
    assert told in capsys.readouterr().err


def test_a_file_that_is_not_there_is_a_mistake_of_the_command_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["convert", str(tmp_path / "none.yaml")]) == 2
    assert "none.yaml: no such file" in capsys.readouterr().err
