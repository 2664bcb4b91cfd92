"""What is shipped to a cluster, and what is not."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from metta_sweep.errors import ConfigError
from metta_sweep.launch.jobs import EXCLUDES, Submission, make_submission

CHECKOUT = Path(__file__).parents[3]


def submission(*overrides: str, environ: dict[str, str] | None = None, node: dict[str, float] | None = None) -> Submission:
    return make_submission("s", ["sweep_name=s", *overrides], CHECKOUT, environ or {}, node)


def test_the_job_is_run_on_the_head_with_the_clusters_shared_directory() -> None:
    assert submission("sweep=quick").entrypoint == "python -m metta_sweep.launch.head sweep_name=s sweep=quick data_dir=/shared/metta_sweep"


@pytest.mark.parametrize("word", ["data_dir=/mnt/x", "++data_dir=/mnt/x"])
def test_a_data_directory_that_the_user_names_stays(word: str) -> None:
    assert shlex.split(submission(word).entrypoint)[3:] == ["sweep_name=s", word]


def test_words_with_special_characters_reach_the_head_unchanged() -> None:
    word = "sweep.constraints=['trainer.a <= trainer.b']"
    assert word in shlex.split(submission(word).entrypoint)


def test_keys_travel_in_the_environment_and_nothing_else_of_it_does() -> None:
    environ = {"WANDB_API_KEY": "k", "METTA_SWEEP_TOKEN": "t", "WANDB_MODE": "", "AWS_SECRET_ACCESS_KEY": "x", "HOME": "/home/me"}
    shipped = submission(environ=environ).runtime_env
    assert shipped["env_vars"] == {"WANDB_API_KEY": "k", "METTA_SWEEP_TOKEN": "t"}
    assert "k" not in submission(environ=environ).entrypoint.split()


def test_auto_means_a_worker_and_not_the_head_unless_the_user_says_otherwise() -> None:
    node = {"CPU": 16.0, "GPU": 1.0}
    assert submission(node=node).runtime_env["env_vars"] == {"NUM_CPUS": "16", "NUM_GPUS": "1"}
    assert submission(node=node, environ={"NUM_GPUS": "4"}).runtime_env["env_vars"] == {"NUM_CPUS": "16", "NUM_GPUS": "4"}


def test_environments_data_and_history_stay_behind() -> None:
    assert {".git", ".venv", "train_dir", "wandb", "outputs", "__pycache__"} <= set(EXCLUDES)
    assert submission().runtime_env["working_dir"] == str(CHECKOUT)


def test_a_checkout_holds_our_packages_so_none_is_shipped_twice() -> None:
    assert "py_modules" not in submission().runtime_env


def test_a_directory_without_our_packages_is_refused_when_they_come_from_a_checkout(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"does not hold metta_sweep, which comes from the checkout"):
        make_submission("s", ["sweep_name=s"], tmp_path, {}, None)
