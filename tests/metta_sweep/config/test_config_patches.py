"""A patch of a run reproduces the run."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from omegaconf import OmegaConf

from metta_sweep.config import load_sweep_job, load_train_job, resolve_run
from metta_sweep.config.patches import FinishedRun, patch_text, run_patch


@pytest.mark.parametrize(
    "words",
    [["sweep=quick"], ["sweep=full", "resources.world_size=2", "model=lstm"], ["sweep=my_sweep", "sim_name=cogeval"]],
)
def test_train_with_a_runs_patch_uses_the_runs_configuration(words: list[str], tmp_path: Path) -> None:
    job = load_sweep_job(["sweep_name=demo", *words, "trainer.update_epochs=3", "trainer.ppo.vf_coef=0.25"], {})
    params = dict(job.sweep.phases[0].space.center())
    config = resolve_run(job.train, "demo.r.4", params, seed=77)
    text = run_patch(FinishedRun(config, params, yaml.safe_load(job.spec_yaml)["choices"]), ["run demo.r.4"], {})
    file = tmp_path / "trainer" / "patch" / "demo_best.yaml"
    file.parent.mkdir(parents=True)
    file.write_text(text)
    again = load_train_job(["run=production", "+trainer/patch=demo_best"], {}, [tmp_path]).config
    assert {**again, "run": "demo.r.4"} == config


def test_a_patch_is_a_global_package_with_its_header_and_nested_values() -> None:
    assert patch_text(
        {"trainer.ppo.gamma": 0.98, "model.hidden_size": 128}, ["Best run of demo: demo.r.4", "score 6.1"]
    ) == (
        "# @package _global_\n# Best run of demo: demo.r.4\n# score 6.1\ntrainer:\n  ppo:\n    gamma: 0.98\nmodel:\n "
        " hidden_size: 128\n"
    )


def test_a_patch_without_values_changes_nothing() -> None:
    assert patch_text({}, []) == "# @package _global_\n{}\n"


def test_a_line_of_a_header_stays_a_comment_and_a_text_is_not_interpolated() -> None:
    text = patch_text({"trainer.note": "${oc.env:HOME} \\${x}"}, ["run of s\nplugins: [planted]\r- x"])
    assert list(yaml.safe_load(text)) == ["trainer"]
    assert OmegaConf.create(text).trainer.note == "${oc.env:HOME} \\${x}"
