"""What a driver does with its process's terminal: signals from it, and what does not belong on it."""

from __future__ import annotations

import io
import logging
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from pathlib import Path
from typing import Any

from rich.console import Console

from metta_sweep.driver.control import Control
from metta_sweep.driver.stop_rules import Verdict

# `timeout` signals its child and then the group that it is in: what comes so soon was not sent by a person who lost
# patience.
ECHO_SECONDS = 0.5


@contextmanager
def stop_signals(control: Control, console: Console) -> Iterator[None]:
    """First Ctrl-C (or SIGTERM): no new runs, running ones checkpoint and become interrupted.

    The second stops at once.
    """

    asked_at: list[float] = []

    def handle(number: int, frame: Any) -> None:
        asked_at.append(time.monotonic())
        if asked_at[-1] - asked_at[0] > ECHO_SECONDS:
            raise KeyboardInterrupt
        if len(asked_at) > 1:
            return
        control.interrupted_by_user = True
        control.drain(Verdict("interrupted; the same command continues it", is_cap=False), now=True)
        console.print("stopping: running runs write a checkpoint (Ctrl-C again stops at once)", highlight=False)

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class LogFile(io.TextIOWrapper):
    """Leaves out what a full disk does not take: a line that is lost must not end Tune's loop, which prints."""

    def write(self, text: str, /) -> int:
        with suppress(OSError):
            super().write(text)
        return len(text)


@contextmanager
def quiet(path: Path) -> Iterator[None]:
    """Send what Ray prints, and the log of this process, to a file, where it does not break the table."""
    with (
        LogFile(path.open("ab", buffering=0), encoding="utf-8", write_through=True) as file,
        redirect_stdout(file),
        redirect_stderr(file),
    ):
        handler = logging.StreamHandler(file)
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
        root = logging.getLogger()
        root.addHandler(handler)
        before, root.level = root.level, logging.INFO
        try:
            yield
        finally:
            root.removeHandler(handler)
            root.setLevel(before)
