"""What is said about runs reaches the reader as it was said."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from rich.console import Console

from metta_sweep.driver.display import Progressing, ProgressView, TableStyle, bar, fitting
from metta_sweep.driver.messages import LiveRun
from metta_sweep.driver.runs import finished
from metta_sweep.registry.records import RunRecord, RunState
from trainables.result import Costs, Progress, RunResult, Span

RECORD = RunRecord(
    "s.r.0",
    "s",
    0,
    RunState.RUNNING,
    {},
    {},
    "",
    0,
    1,
    0,
    None,
    None,
    0.0,
    0.0,
    None,
    None,
    None,
    None,
    None,
    "",
    "",
    "",
)


def test_brackets_in_a_message_are_no_markup() -> None:
    said = io.StringIO()
    result = RunResult("failed", None, Costs(), Costs(), failure="code", message='pip install "metta_sweep[atari]"')
    run = LiveRun(RECORD, "failed", 0.0, result=finished(result, "cpu_seconds"))
    with ProgressView(
        lambda: Progressing([run]), TableStyle((), show_phase=False, cost_label="CPU s"), Console(file=said, width=200)
    ):
        pass
    assert 'failed score=- cost=0.0 CPU s (pip install "metta_sweep[atari]")' in said.getvalue()


@pytest.mark.parametrize(
    ("steps", "total", "shown"),
    [(0, 0, "starting"), (12_345, 0, "step 12,345"), (50, 100, "━━━━╌╌╌╌  50%"), (120, 100, "━━━━━━━━ 100%")],
)
def test_a_run_of_unknown_length_shows_its_step(steps: int, total: int, shown: str) -> None:
    assert bar(LiveRun(RECORD, RunState.RUNNING, 0.0, progress=Progress(steps, total, 1.0))) == shown


@pytest.mark.parametrize(("width", "num_params"), [(80, 0), (90, 1), (105, 2), (120, 3), (200, 3)])
def test_a_narrow_terminal_shows_fewer_parameters_and_cuts_nothing(width: int, num_params: int) -> None:
    params = {
        "trainer.optimizer.learning_rate": 0.00123456,
        "trainer.minibatch_size": 4096,
        "trainer.ppo.gae_lambda": 0.98765,
    }
    result = finished(
        RunResult("completed", 12.345, Costs(train=Span(1.0, 123.4, 0.0)), Costs(), env_steps=1), "cpu_seconds"
    )
    records = [replace(RECORD, id=f"a-long-name.r.{number}", phase="expensive", params=params) for number in range(3)]
    runs = [LiveRun(record, "completed", 0.0, result=result) for record in records]
    console = Console(file=io.StringIO(), width=width, force_terminal=True)
    with console.capture() as captured:
        console.print(fitting(runs, TableStyle(list(params), show_phase=True, cost_label="CPU s"), console))
    said = captured.get()
    assert "…" not in said
    assert all(word in said for word in ("a-long-name.r.2", "expensive", "12.35", "123.4", "completed"))
    assert sum(name in said for name in ("learning_rate", "minibatch_size", "gae_lambda")) == num_params
