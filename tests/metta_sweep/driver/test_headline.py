"""What stands above the table of runs."""

from __future__ import annotations

import io
from dataclasses import replace

from rich.console import Console

from metta_sweep.config.job import Budget
from metta_sweep.driver import display
from metta_sweep.driver import messages as ms
from metta_sweep.driver.display import Progressing, ProgressView, TableStyle
from metta_sweep.driver.headline import headline
from metta_sweep.driver.messages import LiveRun
from metta_sweep.driver.past import PastRuns
from metta_sweep.driver.rules import StopReason, Tally
from metta_sweep.driver.runs import finished
from metta_sweep.driver.state import Optimiser, State, Stop, Waiting
from metta_sweep.registry.records import RunState
from tests.metta_sweep.driver.world import Row, World
from trainables.result import Costs, RunResult, Span

FIVE_DOLLARS = Budget(dollars=5.0, hourly_cost=3.6)  # a thousandth of a dollar a second
A_MINUTE = Costs(train=Span(60.0, 60.0, 0.0))


def sweep_of_60() -> State:
    """Twelve runs of a minute each have ended, two run on two slots, and 1200 s are paid for."""
    world = World(slots=2)
    limits = replace(world.state.rules.limits, num_samples=60, budget=FIVE_DOLLARS)
    result = finished(RunResult("completed", 1.0, A_MINUTE, A_MINUTE, env_steps=1), "cpu_seconds")
    past = PastRuns.of(LiveRun(Row(number).record, RunState.COMPLETED, 0.0, result=result) for number in range(12))
    live = {row.id: LiveRun(row.record, RunState.RUNNING, 1.0) for row in map(Row, (12, 13))}
    told = replace(world.state.optimiser, tally=Tally(14, 600.0, spent_seconds=1200.0))
    rules = replace(world.state.rules, limits=limits)
    return replace(world.state, rules=rules, past=past, live=live, best=7.0612, optimiser=told)


def test_it_says_how_far_the_sweep_is_what_it_found_spent_and_does() -> None:
    said = headline(sweep_of_60(), now=100.0)
    assert said == "12/60 runs, best single score 7.061, $1.20 of $5.00 spent, about 24 min left: 2 running"


def test_it_says_for_how_long_the_model_is_being_fitted() -> None:
    state = sweep_of_60()
    fitting = replace(state.optimiser, asked=ms.Propose(14), asked_at=55.0)
    assert headline(replace(state, live={}, optimiser=fitting), now=100.0).endswith(": fitting the model for 45 s")


def test_it_says_what_it_waits_for() -> None:
    state = replace(sweep_of_60(), live={})
    assert headline(state, 100.0).endswith(": starting")
    assert headline(replace(state, waiting=Waiting(since=90.0)), 100.0).endswith(": waiting for a place for 10 s")
    no_node = replace(state, capacity=replace(state.capacity, slots=0))
    assert headline(no_node, 100.0).endswith(": waiting for a node")
    resting = replace(state, resting=(103.0,))
    assert headline(resting, 100.0).endswith(": resting 3 s after a failed run")


def test_it_says_that_no_further_runs_start() -> None:
    state = replace(sweep_of_60(), stop=Stop(StopReason("the cap", is_cap=True)))
    assert headline(state, 100.0).endswith(": 2 running, no new runs")


def test_before_the_first_look_into_the_registry_nothing_is_made_up() -> None:
    assert headline(replace(World(slots=2).state, optimiser=Optimiser()), 0.0) == "0 runs: starting"


def test_plain_lines_carry_it_once_a_minute(monkeypatch: object) -> None:
    clock, said = [1000.0], io.StringIO()
    monkeypatch.setattr(display.time, "monotonic", lambda: clock[0])  # type: ignore[attr-defined]
    style = TableStyle((), show_phase=False, cost_label="CPU s")
    view = ProgressView(lambda: Progressing((), "s: 3/60 runs"), style, Console(file=said, width=200))
    for clock[0] in (1001.0, 1059.0, 1061.0, 1062.0):
        view.draw()
    assert said.getvalue() == "s: 3/60 runs\n"


def test_a_terminal_shows_it_above_the_table_without_a_turn_of_tunes_loop() -> None:
    said = io.StringIO()
    console = Console(file=said, width=100, force_terminal=True)
    style = TableStyle(("lr", "steps"), show_phase=False, cost_label="CPU s")
    run = LiveRun(replace(Row(3).record, params={"lr": 0.5}), RunState.RUNNING, 0.0)
    with ProgressView(lambda: Progressing([run], "s: 3/60 runs"), style, console):
        pass
    lines = said.getvalue().splitlines()
    assert "s: 3/60 runs" in lines[0]
    assert "None" not in said.getvalue()  # `steps` is inactive in this run
