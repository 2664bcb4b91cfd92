"""`python -m metta_sweep cluster`: the words of the old launchers, and what is refused before anything starts."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from metta_sweep.cli.cluster import sweep_words
from metta_sweep.cli.main import main


def cluster(*words: str, data_dir: Path) -> int:
    return main(["cluster", *words, "--data-dir", str(data_dir)])


def test_up_shows_saves_and_checks_the_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert (
        cluster(
            "up",
            "--provider",
            "aws",
            "--gpus",
            "8",
            "--nodes",
            "4",
            "--no-spot",
            "--name",
            "x",
            "--dry-run",
            data_dir=tmp_path,
        )
        == 0
    )
    text = (tmp_path / "cluster" / "x.yaml").read_text()
    assert text in capsys.readouterr().out
    assert yaml.safe_load(text)["available_node_types"]["gpu_8_on_demand"]["max_workers"] == 4


def test_launch_takes_the_old_launchers_words(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = (
        "launch",
        "sweep",
        "run=my_sweep",
        "sweep=quick",
        "--gpus",
        "1",
        "--nodes",
        "4",
        "--provider",
        "aws",
        "--dry-run",
    )
    assert cluster(*words, data_dir=tmp_path) == 0
    assert (tmp_path / "cluster" / "my-sweep.yaml").is_file()
    assert "my_sweep: 4 runs at a time on 4 workers" in capsys.readouterr().out


def test_a_run_that_fits_no_worker_is_refused_before_anything_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = (
        "launch",
        "run=s",
        "sweep=quick",
        "resources.gpus_per_worker=2",
        "--gpus",
        "1",
        "--provider",
        "aws",
        "--dry-run",
    )
    assert cluster(*words, data_dir=tmp_path) == 2
    assert "resources.gpus_per_worker: 2 GPUs per rank, but no node has more than 1" in capsys.readouterr().err
    assert not (tmp_path / "cluster").exists()


@pytest.mark.parametrize(
    ("overrides", "environ", "words"),
    [
        (["run=s"], {"SWEEP_CONFIG": "configs/sweep/protein_complex.yaml"}, ["run=s", "sweep=protein_complex"]),
        (["run=s", "sweep=quick"], {"SWEEP_CONFIG": "configs/sweep/protein_complex.yaml"}, ["run=s", "sweep=quick"]),
        (["run=s", "++sweep_params=sweep/quick"], {"SWEEP_CONFIG": "full"}, ["run=s", "++sweep_params=sweep/quick"]),
        (["run=s"], {"SWEEP_CONFIG": "full"}, ["run=s", "sweep=full"]),
        (["sweep", "run=s"], {}, ["run=s"]),
    ],
)
def test_sweep_config_names_the_sweep_file_unless_a_word_does(
    overrides: list[str], environ: dict[str, str], words: list[str]
) -> None:
    assert sweep_words(overrides, environ) == words


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("up", "sweep_name=s"), "cluster up: takes no configuration, got 'sweep_name=s'"),
        (("submit", "sweep_name=s", "--env", "X"), "--env: need NAME=VALUE, got 'X'"),
        (("up", "--provider", "aws", "--name", "X"), "--name: need at most 40"),
        (("status", "--name", "gone"), "no such cluster"),
        (("down",), "no cluster in"),
    ],
)
def test_mistakes_are_usage_errors(
    words: tuple[str, ...], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cluster(*words, data_dir=tmp_path) == 2
    assert message in capsys.readouterr().err


def test_of_several_clusters_one_must_be_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("a", "b"):
        assert cluster("up", "--provider", "aws", "--name", name, "--dry-run", data_dir=tmp_path) == 0
    assert cluster("status", data_dir=tmp_path) == 2
    assert "--name: which of a, b?" in capsys.readouterr().err
