"""How a process ended is read from its log."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from trainables.last_words import ProcessEnding, find_ending

PROGRAM = """
import faulthandler, os, signal, sys
from trainables.last_words import note_exits

faulthandler.enable(all_threads=False)
note_exits()
note_exits()
def leave():
    {leave}
leave()
"""


def ending_of(leave: str, directory: Path, offset: int = 0) -> ProcessEnding | None:
    program, log = directory / "program.py", directory / "train.log"
    program.write_text(PROGRAM.format(leave=leave))
    with log.open("ab") as file:
        subprocess.run(
            [sys.executable, str(program)], stderr=file, cwd=Path(__file__).parents[2], env={"PYTHONPATH": "."}
        )
    return find_ending([(directory / "nothing.log", 0), (log, offset)])


@pytest.mark.parametrize(
    ("leave", "how"),
    [
        ("os._exit(7)", "exit code 7"),
        ("os._exit(-1)", "exit code 255"),
        ("import ctypes; ctypes.string_at(0)", "SIGSEGV"),
        ("os.abort()", "SIGABRT"),
        ("os.kill(os.getpid(), signal.SIGBUS)", "SIGBUS"),
        ("os.kill(os.getpid(), signal.SIGFPE)", "SIGFPE"),
        ("os.kill(os.getpid(), signal.SIGILL)", "SIGILL"),
    ],
)
def test_an_ending_has_a_code_or_a_signal_and_a_place(leave: str, how: str, tmp_path: Path) -> None:
    ending = ending_of(leave, tmp_path)
    assert ending is not None
    assert ending.how == how
    if "ctypes" not in leave:  # the last frame of that one is in the library
        assert str(ending) == f"{how} at {tmp_path.name}/program.py:9"


@pytest.mark.parametrize(
    "leave", ["os.kill(os.getpid(), signal.SIGKILL)", "os.fork() or os._exit(7)", "sys.exit(7)", "pass"]
)
def test_a_kill_from_outside_a_child_and_an_orderly_end_leave_no_word(leave: str, tmp_path: Path) -> None:
    assert ending_of(leave, tmp_path) is None


def test_what_an_earlier_attempt_said_is_not_this_ones_ending(tmp_path: Path) -> None:
    ending_of("os._exit(7)", tmp_path)
    assert ending_of("os.kill(os.getpid(), signal.SIGKILL)", tmp_path, (tmp_path / "train.log").stat().st_size) is None


def test_the_abort_of_nccls_watchdog_says_nothing_of_the_code(tmp_path: Path) -> None:
    leave = "os.write(2, b'[Rank 1] ProcessGroupNCCL watchdog thread terminated'); os.write(2, bytes([10])); os.abort()"
    assert ending_of(leave, tmp_path) is None
