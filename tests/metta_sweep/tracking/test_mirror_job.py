"""Where the mirror writes, and how it reads a file that is still growing."""

from __future__ import annotations

from pathlib import Path

import pytest

from metta_sweep.errors import ConfigError
from metta_sweep.tracking.history import MetricsFile, Position, flatten, new_rows
from metta_sweep.tracking.job import MirrorJob, resolve_mode


@pytest.mark.parametrize(
    ("mode", "environ", "expected"),
    [
        ("auto", {}, "offline"),
        ("auto", {"WANDB_API_KEY": "k"}, "online"),
        ("auto", {"WANDB_API_KEY": "k", "WANDB_MODE": "offline"}, "offline"),
        ("auto", {"WANDB_MODE": "disabled"}, "off"),
        ("offline", {"WANDB_API_KEY": "k"}, "offline"),
        ("off", {"WANDB_API_KEY": "k", "WANDB_MODE": "online"}, "off"),
    ],
)
def test_auto_is_online_with_a_key_and_offline_without(
    tmp_path: Path, mode: str, environ: dict[str, str], expected: str
) -> None:
    assert resolve_mode(mode, {"HOME": str(tmp_path), **environ}) == expected


def test_a_key_in_netrc_counts_for_its_own_server_only(tmp_path: Path) -> None:
    (tmp_path / ".netrc").write_text("machine wandb.example login user password secret\n")
    environ = {"HOME": str(tmp_path)}
    assert resolve_mode("auto", environ) == "offline"
    assert resolve_mode("auto", {**environ, "WANDB_BASE_URL": "https://wandb.example"}) == "online"


@pytest.mark.parametrize(
    ("mode", "environ", "message"),
    [
        ("on", {}, "wandb.mode: need one of auto, online, offline, off, got 'on'"),
        (
            "auto",
            {"WANDB_MODE": "maybe"},
            "environment: WANDB_MODE: unknown value 'maybe'; known: disabled, dryrun, offline, online, run",
        ),
    ],
)
def test_an_unknown_mode_is_refused(mode: str, environ: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        resolve_mode(mode, environ)


def test_a_job_travels_as_json() -> None:
    job = MirrorJob("demo", Path("/data"), None, "online", "me", "metta", ("a", "b"), poll_seconds=0.5)
    assert MirrorJob.from_json(job.to_json()) == job


def test_a_line_is_read_once_and_only_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    metrics = MetricsFile(path)
    assert metrics.read_new() == []
    path.write_text('{"env_steps": 1}\n{"env_st')
    assert metrics.read_new() == [{"env_steps": 1}]
    with path.open("a") as file:
        file.write('eps": 2}\n')
    assert metrics.read_new() == [{"env_steps": 2}]
    assert metrics.read_new() == []


def test_a_file_that_became_shorter_is_read_from_its_start(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    metrics = MetricsFile(path)
    path.write_text('{"env_steps": 1}\n{"env_steps": 2}\n')
    metrics.read_new()
    path.write_text('{"env_steps": 1}\n')
    assert metrics.read_new() == [{"env_steps": 1}]


def test_a_broken_line_is_logged_and_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text('nonsense\n[1]\n{"env_steps": 3}\n')
    assert MetricsFile(path).read_new() == [{"env_steps": 3}]
    assert "not a JSON object" in caplog.text


def test_a_curve_point_that_arrives_late_gets_the_next_free_step() -> None:
    (late,) = new_rows([], [{"env_steps": 100, "seconds": 1.0, "score": 2.0}], Position(env_steps=300, step=300))
    assert (late.step, late.values["curve/env_steps"]) == (301, 100)
    assert list(new_rows([], [{"env_steps": 100, "seconds": 1.0, "score": 2.0}], late.position)) == []


def test_nested_scalars_are_joined_and_lists_left_out() -> None:
    assert flatten({"a": {"b": 1, "c": [1]}, "d": None, "e": "x"}) == {"a/b": 1, "e": "x"}
