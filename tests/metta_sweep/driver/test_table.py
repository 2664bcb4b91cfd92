"""What is said about runs reaches the reader as it was said."""

from __future__ import annotations

import io

from rich.console import Console

from metta_sweep.driver.board import Board
from metta_sweep.driver.outcome import finished
from metta_sweep.driver.table import ProgressView, TableStyle
from metta_sweep.registry.records import RunRecord, RunState
from trainables.result import Costs, RunResult

RECORD = RunRecord("s.r.0", "s", 0, RunState.RUNNING, {}, {}, "", 0, 1, 0, None, None, 0.0, 0.0, None, None, None, None, None, "", "", "")


def test_brackets_in_a_message_are_no_markup() -> None:
    board, said = Board(), io.StringIO()
    board.started(RECORD)
    result = RunResult("failed", None, Costs(), Costs(), failure="code", message='pip install "metta_sweep[atari]"')
    board.ended("s.r.0", "failed", finished(result, "cpu_seconds"))
    with ProgressView(board, TableStyle((), show_phase=False, cost_label="cpu s"), Console(file=said, width=200)):
        pass
    assert 'failed score=- cost=0.0 cpu s (pip install "metta_sweep[atari]")' in said.getvalue()
