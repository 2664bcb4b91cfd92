"""A laptop checks and plans what will run on a cluster."""

from __future__ import annotations

from pathlib import Path

import pytest

from metta_sweep.cli.main import main
from metta_sweep.launch.request import PROVIDERS

LAPTOP = {"NUM_CPUS": "2", "NUM_GPUS": "0", "WANDB_MODE": "disabled"}


@pytest.fixture(autouse=True)
def laptop(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in LAPTOP.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)


@pytest.mark.parametrize("hardware", ["aws", "pufferbox"])
@pytest.mark.parametrize("command", ["validate", "plan"])
def test_a_sweep_for_gpus_is_checked_without_one(
    command: str, hardware: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["sweep_name=s", "sweep=full", f"+hardware={hardware}", f"data_dir={tmp_path}"]
    assert main([command, *words]) == 2
    assert "+hardware=macbook" in capsys.readouterr().err
    assert main([command, *words, "--for-cluster", "4x8"]) == 0
    assert main([command, *words, "--for-cluster", "cluster/aws.yaml"]) == 0


def test_the_plan_counts_the_slots_of_the_cluster(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["sweep_name=s", "sweep=quick", "+hardware=aws", f"data_dir={tmp_path}", "--json"]
    assert main(["plan", *words, "--for-cluster", "4x8x96"]) == 0
    assert '"slots": 32' in capsys.readouterr().out


def test_a_run_that_the_cluster_cannot_hold_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["sweep_name=s", "sweep=full", "device=cuda", "resources.gpus_per_worker=16", f"data_dir={tmp_path}"]
    assert main(["validate", *words, "--for-cluster", "4x8"]) == 2
    assert "resources.gpus_per_worker: 16 GPUs per rank, but no node has more than 8" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["4y8", "0x8", "4x8x0", "README.md", "cluster/local.yaml", "cluster", "-1x2"])
def test_what_describes_no_cluster_is_refused(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["validate", "sweep_name=s", "sweep=quick", f"--for-cluster={text}"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: --for-cluster: ")
    assert "such as 4x8" in error


def test_cluster_launch_without_a_provider_says_which_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cluster", "launch", "run=s", "sweep=quick"]) == 2
    error = capsys.readouterr().err
    assert all(f"{name} ({what})" in error for name, what in PROVIDERS.items())
