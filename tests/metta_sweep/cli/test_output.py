"""What commands print where: colour on a terminal only, and never with NO_COLOR; clear endings when something cannot be
reached.
"""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from metta_sweep.cli.main import main
from metta_sweep.registry.open import open_registry

ROOT = Path(__file__).parents[3]
COLOUR = "\x1b["
NOBODY = "http://127.0.0.1:9"


@pytest.fixture(autouse=True)
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory to work in, whose registry knows one sweep."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    registry = open_registry(tmp_path / "train_dir", None)
    registry.create_sweep("s", "")
    registry.close()
    return tmp_path


def on_terminal(directory: Path, *words: str, **environ: str) -> str:
    """What a command writes to a terminal."""
    ours, theirs = pty.openpty()
    given = {**os.environ, "PYTHONPATH": str(ROOT), "TERM": "xterm-256color", **environ}
    process = subprocess.Popen(
        [sys.executable, "-m", "metta_sweep", *words],
        cwd=directory,
        env=given,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    said = b""
    while chunk := _read(ours):
        said += chunk
    os.close(ours)
    assert process.wait() == 0, said
    return said.decode()


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 65536)
    except OSError:  # Linux: the other end is closed
        return b""


def test_a_terminal_gets_colour_unless_no_color_is_set(directory: Path) -> None:
    assert f"{COLOUR}1ms" in on_terminal(directory, "status")
    plain = on_terminal(directory, "status", "sweep_name=s", NO_COLOR="1")
    assert not any(f"{COLOUR}{code}m" in plain for code in range(30, 50))


def test_a_pipe_gets_plain_text(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status"]) == 0
    said = capsys.readouterr().out
    assert said.startswith("s active, no driver runs: no runs yet")
    assert COLOUR not in said


def test_a_reader_that_has_seen_enough_causes_no_traceback(directory: Path) -> None:
    command = f"{sys.executable} -m metta_sweep status --json | true"
    done = subprocess.run(
        ["bash", "-c", command],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "Traceback" not in done.stderr


def test_a_registry_that_nobody_serves_is_exit_5(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status", "sweep_name=s", f"settings.sweep_server_uri={NOBODY}"]) == 5
    assert capsys.readouterr().err.startswith(f"error: registry {NOBODY}")


@pytest.mark.parametrize("command", ["run", "plan", "validate"])
def test_a_cluster_where_nobody_listens_is_exit_5_at_once(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:9")
    assert main([command, "sweep_name=s2", "sweep=quick"]) == 5
    assert "RAY_ADDRESS=127.0.0.1:9: nobody answers there" in capsys.readouterr().err


def test_verbose_shows_the_log_on_standard_error(directory: Path) -> None:
    code = (
        "import logging, sys, metta_sweep.cli.status as status, metta_sweep.cli.main as cli;"
        "status.run = lambda args: logging.getLogger('metta_sweep').info('looked') or 0;"
        "sys.exit(cli.main(sys.argv[1:]))"
    )
    said = [
        subprocess.run(
            [sys.executable, "-c", code, "status", *flags],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
        )
        for flags in ([], ["-v"])
    ]
    assert [done.stderr.count("looked") for done in said] == [0, 1]
    assert [done.stdout for done in said] == ["", ""]
