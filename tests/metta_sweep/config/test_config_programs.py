"""Sweeps over a program of the user's own: its parameters are its own."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from metta_sweep.config import SweepJob, load_sweep_job, load_train_job, resolve_run
from metta_sweep.config.patches import FinishedRun, run_patch
from metta_sweep.errors import ConfigError

SWEEP = """\
metric: score
parameters:
  lr: {distribution: log_normal, min: 1.0e-4, max: 1.0e-1}
  net.width: {distribution: uniform_pow2, min: 16, max: 256}
sweep_job_overrides:
  trainable: {kind: command, command: "python train.py {overrides}"}
"""


@pytest.fixture
def config_dir(tmp_path: Path) -> Path:
    (tmp_path / "sweep").mkdir()
    (tmp_path / "sweep" / "program.yaml").write_text(SWEEP)
    return tmp_path


def load(config_dir: Path, *overrides: str) -> SweepJob:
    return load_sweep_job(["sweep_name=demo", "sweep=program", *overrides], {}, [config_dir])


def test_a_program_is_told_what_is_searched_by_dotted_name(config_dir: Path) -> None:
    run = resolve_run(load(config_dir).train, "demo.r.0", {"lr": 0.01, "net.width": 64}, seed=1)
    assert run["suggestion"] == {"lr": 0.01, "net.width": 64}


def test_our_own_training_finds_the_suggestion_in_its_sections() -> None:
    job = load_sweep_job(["sweep_name=demo", "sweep=quick"], {})
    assert "suggestion" not in resolve_run(job.train, "demo.r.0", job.sweep.phases[0].space.center(), seed=1)


def test_a_value_on_the_command_line_fixes_a_programs_parameter(config_dir: Path) -> None:
    job = load(config_dir, "lr=0.02")
    assert job.sweep.fixed == {"lr": 0.02}
    assert job.sweep.phases[0].space.names == ("net.width",)


def test_a_key_that_the_program_does_not_search_is_refused(config_dir: Path) -> None:
    with pytest.raises(ConfigError, match="command line: momentum: unknown key"):
        load(config_dir, "momentum=0.9")


def test_a_programs_patch_reproduces_its_run(config_dir: Path) -> None:
    job = load(config_dir)
    params = {"lr": 0.01, "net.width": 64}
    config = resolve_run(job.train, "demo.r.2", params, seed=5)
    (config_dir / "trainer" / "patch").mkdir(parents=True)
    text = run_patch(FinishedRun(config, params, yaml.safe_load(job.spec_yaml)["choices"]), [], {})
    (config_dir / "trainer" / "patch" / "best.yaml").write_text(text)
    again = load_train_job(["run=x", "+trainer/patch=best"], {}, [config_dir]).config
    assert {**again, "run": "demo.r.2"} == config


def test_a_misspelt_section_of_a_train_job_is_told() -> None:
    with pytest.raises(ConfigError, match=r"command line: trainr: unknown key; did you mean trainer"):
        load_train_job(["run=x", "trainr.num_envs=3"], {})


LENGTH_UNKNOWN = "sweep.early_stopping: stops no run whose length nobody knows"


@pytest.mark.parametrize(
    ("overrides", "is_told"),
    [
        ([], True),
        (["trainable.total_steps=1000"], False),
        (["sweep.protein.fidelity=net.width"], False),
        (["sweep.early_stopping=false"], False),
    ],
)
def test_early_stopping_of_a_program_without_a_length_is_told(
    config_dir: Path, overrides: list[str], is_told: bool
) -> None:
    notes = "\n".join(load(config_dir, "sweep.early_stopping=true", *overrides).notes)
    assert (LENGTH_UNKNOWN in notes) == is_told


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        (["sweep.protein.fidelity=lrr"], r"fidelity: lrr is not searched, .*; did you mean lr"),
        (["sweep.protein.fidelity=lr", "trainable.total_steps=9"], r"total_steps: 9, but lr sets the length of a run"),
    ],
)
def test_a_length_that_is_no_parameter_or_is_told_twice_is_refused(
    config_dir: Path, overrides: list[str], told: str
) -> None:
    with pytest.raises(ConfigError, match=told):
        load(config_dir, *overrides)
