"""How a process ended that nobody could ask any more: `os._exit` and fatal signals leave a word in the log of their
run.

Ray only knows that a process is gone. Python's fault handler, which Ray switches on, writes of a signal; of `os._exit`
we write ourselves.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

# What a process wrote or said that died of each
SIGNALS = {
    "Segmentation fault": "SIGSEGV",
    "Aborted": "SIGABRT",
    "Bus error": "SIGBUS",
    "Floating-point exception": "SIGFPE",
    "Floating point exception": "SIGFPE",
    "Illegal instruction": "SIGILL",
}
# What our own hook in `os._exit` wrote
_EXIT = re.compile(r"^this process ends with (exit code \d+) by os\._exit at (.+)$", re.M)
_FATAL = re.compile(rf"^Fatal Python error: ({'|'.join(SIGNALS)})$", re.M)  # what Python's faulthandler writes
_FRAME = re.compile(r'^  File "(.+)", line (\d+) in ', re.M)  # a line of its stack
# NCCL's watchdog aborts a healthy process when another rank is gone.
_NOT_ITS_OWN = ("ProcessGroupNCCL", "NCCL watchdog")
MAX_BYTES = 1 << 20  # of a log's end that are read: a stack of many threads fits; a round number


@dataclass(frozen=True, slots=True)
class ProcessEnding:
    """`how`: "exit code 7" or "SIGSEGV"; `where`: `directory/file.py:line`, "" when unknown."""

    how: str
    where: str

    def __str__(self) -> str:
        return f"{self.how} at {self.where}" if self.where else self.how


def note_exits() -> None:
    """From now on `os._exit` of this process, but not of its children, leaves a word in standard error."""
    pid, leave = os.getpid(), os._exit

    def noted_exit(status: int) -> NoReturn:
        if os.getpid() == pid:
            _say_where(status)
        leave(status)

    if getattr(leave, "__name__", "") != noted_exit.__name__:
        os._exit = noted_exit


def _say_where(status: int) -> None:
    caller = sys._getframe(2)
    word = (
        f"this process ends with exit code {status & 0xFF} by os._exit at "
        f"{_place(caller.f_code.co_filename, caller.f_lineno)}\n"
    )
    os.write(2, word.encode(errors="replace"))


def find_ending(logs: Iterable[tuple[Path, int]]) -> ProcessEnding | None:
    """The last words in these logs, each read from an offset on; None when there are none."""
    return next((ending for path, offset in logs if (ending := _ending_in(_read(path, offset))) is not None), None)


def _read(path: Path, offset: int) -> str:
    try:
        with path.open("rb") as file:
            file.seek(max(offset, path.stat().st_size - MAX_BYTES))
            return file.read().decode(errors="replace")
    except FileNotFoundError:
        return ""


def _ending_in(text: str) -> ProcessEnding | None:
    if match := _EXIT.search(text):
        return ProcessEnding(match[1], match[2])
    match = _FATAL.search(text)
    if match is None or any(word in text for word in _NOT_ITS_OWN):
        return None
    frame = _FRAME.search(text, match.end())
    return ProcessEnding(SIGNALS[match[1]], _place(frame[1], int(frame[2])) if frame else "")


def _place(filename: str, line: int) -> str:
    path = Path(filename)
    return f"{path.parent.name}/{path.name}:{line}"


def sizes(paths: Iterable[Path]) -> list[tuple[Path, int]]:
    """Where each log ends now, for `find_ending` later."""
    return [(path, path.stat().st_size if path.exists() else 0) for path in paths]
