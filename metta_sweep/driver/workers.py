"""The driver's threads: the one that owns the state, what the others have in common, and what all of them know."""

from __future__ import annotations

import logging
import queue
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from metta_sweep.analysis.charges import charged_seconds
from metta_sweep.config import resolve_run
from metta_sweep.config.job import SweepJob
from metta_sweep.driver.files import set_aside
from metta_sweep.driver.messages import Event, LoopEnded, MachineCommand, NoRun, ReservedRun, TimePassed, WorkerFailed
from metta_sweep.driver.rules import Tally
from metta_sweep.driver.state import Rules, State
from metta_sweep.driver.step import step
from metta_sweep.registry.api import Registry
from metta_sweep.registry.records import Owner, RunRecord, RunState, SweepRecord
from trainables.spec import spec_of_point

logger = logging.getLogger(__name__)

# How long the machine sleeps when no event comes: what is due wakes it earlier, but never so often that it spins.
TICK_SECONDS = (0.02, 1.0)
# How long what would have to be given back is waited for at the end; leases do the rest.
SETTLE_SECONDS = 15.0
UNFINISHED = (RunState.RESERVED, RunState.RUNNING, RunState.INTERRUPTED)  # will still cost something
Post = Callable[[Event], None]


class StateMachine:
    """Steps the state, one event at a time; `carry_out` hands each command on, in order, from the machine's thread.

    Attributes:
        state: after the last event. Readers in other threads need no lock: a state never changes.
    """

    def __init__(
        self, state: State, inbox: queue.SimpleQueue[Event], carry_out: Callable[[MachineCommand], None]
    ) -> None:
        self.state = state
        self.post: Post = inbox.put
        self._inbox = inbox
        self._carry_out = carry_out
        self._is_closed = False
        self._thread = threading.Thread(target=self._work, name="machine", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """Tune's loop is over: give back what this driver holds, and end."""
        self.post(LoopEnded())
        if self._thread.is_alive():
            self._thread.join(timeout=SETTLE_SECONDS)
        else:  # it was never begun with, but what was asked of it counts
            while not self._inbox.empty():
                self._hear(self._inbox.get())
        self._is_closed = True

    def _work(self) -> None:
        try:
            while not self.state.is_over and not self._is_closed:
                self._hear(self._next())
        except BaseException as error:  # handed to Tune's loop, which ends the sweep with it
            logger.exception("the driver's state machine ended")
            self.state = replace(self.state, error=error)
            self._carry_out(NoRun())

    def _next(self) -> Event:
        shortest, longest = TICK_SECONDS
        due = min(self.state.wakes_at()) - time.monotonic()
        try:
            return self._inbox.get(timeout=min(max(due, shortest), longest))
        except queue.Empty:
            return TimePassed()

    def _hear(self, event: Event) -> None:
        self.state, commands = step(self.state, event, time.monotonic())
        for command in commands:
            self._carry_out(command)


@dataclass(frozen=True, slots=True)
class SweepContext:
    """What the other threads know of the sweep and its driver.

    Attributes:
        post: tells the machine what happened.
        say: tells the person at the terminal.
    """

    job: SweepJob
    registry: Registry
    sweep: SweepRecord
    owner: Owner
    rules: Rules
    post: Post
    say: Callable[[str], None]

    def prepare(self, record: RunRecord) -> ReservedRun:
        """A run with what its trainable gets. One that never started may still get a better point."""
        seed = int(np.random.SeedSequence([self.job.seed, record.number]).generate_state(1)[0])
        config = resolve_run(self.job.train, record.id, dict(record.params), seed=seed)
        directory = self.job.run_directory(record.id)
        if notice := set_aside(directory, self.sweep.id, record.id, config):
            self.post(notice)
        trial = {
            "id": record.id,
            "sweep_id": self.sweep.id,
            "attempt": record.attempts + 1,
            "directory": str(directory),
            "spec": spec_of_point(config),
            "umask": self.job.umask,
        }
        may_change = record.state is RunState.RESERVED and self.job.sweep.learns
        return ReservedRun(record, record.cursor if may_change else None, trial)

    def tally(self, number: int | None = None) -> Tally:
        """What the registry says is spent and promised, money only when it may end the sweep.

        `number` is the next run's, when that is known. Raises `RegistryError`.
        """
        number = self.registry.next_number(self.sweep.name) if number is None else number
        elapsed, limits = time.time() - self.sweep.created_at, self.rules.limits
        if not limits.has_money_cap:
            return Tally(number, elapsed)
        ended = [attempt for attempt in self.registry.attempts(self.sweep.name) if attempt.ended_at is not None]
        unfinished = self.registry.runs(self.sweep.name, states=UNFINISHED)
        spent = sum(charged_seconds(attempt, gpus=limits.has_gpus) for attempt in ended)
        committed = sum(self.rules.slot_seconds(run.predicted_cost or 0.0) for run in unfinished)
        return Tally(number, elapsed, spent, committed)


class Worker(ABC):
    """A thread with a queue of commands; its end by an error is the machine's to know."""

    def __init__(self, name: str, post: Post) -> None:
        self._post = post
        self._commands: queue.SimpleQueue[Any] = queue.SimpleQueue()  # None wakes it
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def put(self, command: MachineCommand | None) -> None:
        self._commands.put(command)

    def stop(self) -> None:
        """Begin nothing new."""
        self._closing.set()

    def join(self, seconds: float) -> None:
        self.stop()
        self.put(None)
        if self._thread.is_alive():
            self._thread.join(timeout=seconds)

    @abstractmethod
    def work(self) -> None:
        """All that it does, until it is closed."""

    def _run(self) -> None:
        try:
            self.work()
        except BaseException as error:
            logger.exception("the %s's thread ended", self._thread.name)
            self._post(WorkerFailed(error))
