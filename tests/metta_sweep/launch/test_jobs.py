"""What is shipped to a cluster, and what is not."""

from __future__ import annotations

import shlex
import zipfile
from pathlib import Path

import pytest
import yaml
from ray._private.runtime_env.packaging import create_package

from metta_sweep.capacity import Node, promised_nodes
from metta_sweep.errors import ConfigError
from metta_sweep.launch.jobs import EXCLUDES, Submission, make_submission
from metta_sweep.launch.render import render
from metta_sweep.launch.request import ClusterRequest, OwnMachines

CHECKOUT = Path(__file__).parents[3]


def submission(
    *overrides: str, environ: dict[str, str] | None = None, request: ClusterRequest | None = None
) -> Submission:
    config = yaml.safe_load(render(request)) if request else None
    return make_submission("s", ["sweep_name=s", *overrides], CHECKOUT, environ or {}, config)


def test_the_job_is_run_on_the_head_with_the_clusters_shared_directory() -> None:
    assert (
        submission("sweep=quick").entrypoint
        == "python -m metta_sweep.cli.head sweep_name=s sweep=quick data_dir=/shared/metta_sweep"
    )


@pytest.mark.parametrize("word", ["data_dir=/mnt/x", "++data_dir=/mnt/x"])
def test_a_data_directory_that_the_user_names_stays(word: str) -> None:
    assert shlex.split(submission(word).entrypoint)[3:] == ["sweep_name=s", word]


def test_words_with_special_characters_reach_the_head_unchanged() -> None:
    word = "sweep.constraints=['trainer.a <= trainer.b']"
    assert word in shlex.split(submission(word).entrypoint)


def test_keys_travel_in_the_environment_and_nothing_else_of_it_does() -> None:
    environ = {
        "WANDB_API_KEY": "k",
        "METTA_SWEEP_TOKEN": "t",
        "WANDB_MODE": "",
        "AWS_SECRET_ACCESS_KEY": "x",
        "HOME": "/home/me",
    }
    shipped = submission(environ=environ).runtime_env
    assert shipped["env_vars"] == {"WANDB_API_KEY": "k", "METTA_SWEEP_TOKEN": "t"}
    assert "k" not in submission(environ=environ).entrypoint.split()


def test_auto_means_a_worker_and_not_the_head_unless_the_user_says_otherwise() -> None:
    request = ClusterRequest("aws", gpus=1)
    environment = submission(request=request).runtime_env["env_vars"]
    assert (environment["NUM_CPUS"], environment["NUM_GPUS"]) == ("16", "1")
    assert submission(request=request, environ={"NUM_GPUS": "4"}).runtime_env["env_vars"]["NUM_GPUS"] == "4"


def test_the_driver_hears_of_the_nodes_that_the_autoscaler_may_buy() -> None:
    environment = submission(request=ClusterRequest("aws", gpus=1, nodes=2)).runtime_env["env_vars"]
    assert promised_nodes(environment) == (Node({"CPU": 16, "GPU": 1}, {"market": "spot"}),) * 2


def test_own_machines_run_the_python_that_their_set_up_made() -> None:
    request = ClusterRequest("local", own=OwnMachines(head="h", ssh_user="u"))
    assert submission(request=request).entrypoint.startswith(
        "~/metta_sweep_venv/bin/python -m metta_sweep.cli.head sweep_name=s"
    )
    assert submission(request=request).runtime_env["env_vars"] == {}, "only Ray knows their size"


def test_what_git_tracks_is_shipped_and_environments_data_and_history_stay_behind(tmp_path: Path) -> None:
    for name in (
        ".git/config",
        ".venv/bin/python",
        "train_dir/registry.db",
        "wandb/run",
        "outputs/x",
        "a/__pycache__/b.pyc",
        "policy.pt",
    ):
        file = tmp_path / "code" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("large")
    kept = ["configs/env/default.yaml", "configs/wandb/auto.yaml", "metta_sweep/launch/jobs.py"]
    for name in kept:
        file = tmp_path / "code" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("needed")
    create_package(str(tmp_path / "code"), tmp_path / "package.zip", include_gitignore=True, excludes=list(EXCLUDES))
    with zipfile.ZipFile(tmp_path / "package.zip") as package:
        assert sorted(name for name in package.namelist() if not name.endswith("/")) == kept
    assert submission().runtime_env["working_dir"] == str(CHECKOUT)


def test_a_checkout_holds_our_packages_so_none_is_shipped_twice() -> None:
    assert "py_modules" not in submission().runtime_env


def test_a_directory_without_our_packages_is_refused_when_they_come_from_a_checkout(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"does not hold metta_sweep, which comes from the checkout"):
        make_submission("s", ["sweep_name=s"], tmp_path, {}, None)
