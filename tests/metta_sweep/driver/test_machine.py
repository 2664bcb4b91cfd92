"""The thread that owns the state: events in order, commands in order, what is due without an event, and its end."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable

from metta_sweep.capacity import Node
from metta_sweep.config.job import Budget
from metta_sweep.driver import messages as ms
from metta_sweep.driver.rules import SweepLimits
from metta_sweep.driver.state import Capacity, Rules, begin
from metta_sweep.driver.workers import StateMachine
from tests.metta_sweep.driver.drive import wait_for
from tests.metta_sweep.driver.world import settings
from trainables.resources import Resources


def machine_of(carry_out: Callable[[ms.MachineCommand], None], heartbeat: float = 30.0) -> StateMachine:
    """One slot; nobody answers its commands."""
    limits = SweepLimits(None, None, True, Budget(), has_gpus=False)
    rules = Rules("s", settings(heartbeat_seconds=heartbeat), Resources(), limits, "cpu_seconds")
    inbox: queue.SimpleQueue[ms.Event] = queue.SimpleQueue()
    return StateMachine(begin(rules, time.monotonic(), capacity=Capacity({"a": Node({"CPU": 1.0})})), inbox, carry_out)


def test_what_is_due_is_done_when_nothing_happens() -> None:
    commands: list[ms.MachineCommand] = []
    machine = machine_of(commands.append, heartbeat=0.1)
    machine.start()
    machine.post(ms.LoopTurned((), 0))
    wait_for(lambda: sum(isinstance(command, ms.ExtendLeases) for command in commands) >= 3)
    for event in (ms.LoopEnded(), ms.Idle(), ms.Polled()):
        machine.post(event)
    machine.close()


def test_a_command_that_cannot_be_carried_out_is_the_error_of_the_sweep_and_tune_gets_an_answer() -> None:
    answers: queue.SimpleQueue[ms.MachineCommand] = queue.SimpleQueue()

    def carry_out(command: ms.MachineCommand) -> None:
        if isinstance(command, ms.NoRun):
            answers.put(command)
        elif isinstance(command, ms.ForOptimiser):
            raise RuntimeError("no thread to do it")

    machine = machine_of(carry_out)
    machine.start()
    machine.post(ms.SlotFree())
    assert isinstance(answers.get(timeout=30), ms.NoRun)
    assert str(machine.state.error) == "no thread to do it"


def test_it_ends_when_nothing_that_it_would_have_to_give_back_can_come_any_more() -> None:
    asked = threading.Event()
    machine = machine_of(lambda command: asked.set() if isinstance(command, ms.Learn) else None)
    machine.start()
    machine.post(ms.TimePassed())
    assert asked.wait(30)
    threading.Timer(0.2, lambda: machine.post(ms.Idle())).start()
    machine.close()
    assert machine.state.is_settled
