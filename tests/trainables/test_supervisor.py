"""A program and its supervisor end together."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from tests.trainables.test_programs import wait_for


@contextmanager
def supervised(directory: Path) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """A supervisor, and the process id of its program."""
    supervisor = Path(__file__).parents[2] / "trainables" / "supervisor.py"
    command = ["sh", "-c", "echo $$ > pid.new; mv pid.new pid; exec sleep 600"]
    words = [sys.executable, "-P", str(supervisor), "1", *command]
    with subprocess.Popen(words, stdin=subprocess.PIPE, cwd=directory) as process:
        wait_for((directory / "pid").exists)
        yield process, int((directory / "pid").read_text())


def test_a_supervisor_that_is_ended_ends_its_program(tmp_path: Path) -> None:
    with supervised(tmp_path) as (process, program):
        process.terminate()
        assert process.wait(30) == 128 + 15
    assert not psutil.pid_exists(program)


def test_a_program_ends_also_when_a_dying_worker_kills_its_children_first(tmp_path: Path) -> None:
    with supervised(tmp_path) as (process, program):
        process.kill()
    wait_for(lambda: not psutil.pid_exists(program))
