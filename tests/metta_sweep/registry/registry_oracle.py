"""The registry's rules without a database: what the stateful test compares every implementation with."""

from __future__ import annotations

from dataclasses import dataclass, field

from metta_sweep.errors import Fenced, IllegalTransition, NumberTaken
from metta_sweep.registry.records import NewObservation, Owner, RunState

OPEN = (RunState.RESERVED, RunState.RUNNING, RunState.INTERRUPTED)


@dataclass
class OracleRun:
    number: int
    owner: Owner | None
    lease_until: float
    state: RunState = RunState.RESERVED
    fence: int = 1
    attempts: int = 0


@dataclass
class Oracle:
    """One sweep."""

    now: float
    runs: list[OracleRun] = field(default_factory=list)
    observations: list[tuple[int, int]] = field(default_factory=list)
    next_sequence: int = 1
    late_results: int = 0

    def reserve(self, number: int, owner: Owner, lease_seconds: float) -> None:
        if number != len(self.runs):
            raise NumberTaken
        self.runs.append(OracleRun(number, owner, self.now + lease_seconds))

    def held(self, number: int, fence: int, *states: RunState) -> OracleRun:
        run = self.runs[number]
        if run.fence != fence:
            raise Fenced
        if run.state not in states:
            raise IllegalTransition
        return run

    def start(self, number: int, fence: int) -> None:
        run = self.held(number, fence, RunState.RESERVED, RunState.INTERRUPTED)
        if run.owner is None:
            raise Fenced
        run.state = RunState.RUNNING
        run.attempts += 1

    def interrupt(self, number: int, fence: int) -> None:
        run = self.held(number, fence, *OPEN)
        if run.owner is not None:
            run.state, run.owner, run.fence = RunState.INTERRUPTED, None, fence + 1

    def requeue(self, number: int, fence: int) -> None:
        run = self.held(number, fence, RunState.RUNNING)
        run.state, run.fence = RunState.INTERRUPTED, fence + 1

    def release(self, number: int, fence: int) -> None:
        run = self.held(number, fence, RunState.RESERVED, RunState.INTERRUPTED)
        if run.owner is not None:
            run.owner, run.fence = None, fence + 1

    def finish(self, number: int, fence: int, observation: NewObservation) -> None:
        if self.runs[number].fence != fence:
            self.late_results += 1
            return
        run = self.held(number, fence, RunState.RUNNING)
        run.state, run.owner = RunState(observation.outcome), None
        self.observations.append((self.next_sequence, number))
        self.next_sequence += 1

    def retry(self, number: int) -> None:
        run = self.runs[number]
        if run.state != RunState.FAILED:
            raise IllegalTransition
        run.state, run.fence = RunState.INTERRUPTED, run.fence + 1
        self.observations = [seen for seen in self.observations if seen[1] != number]

    def heartbeat(self, owner: Owner, numbers: list[int], lease_seconds: float) -> list[int]:
        lost = [number for number in numbers if self.runs[number].owner != owner or self.runs[number].state not in OPEN]
        for number in set(numbers) - set(lost):
            self.runs[number].lease_until = self.now + lease_seconds
        return lost

    def claim(self, owner: Owner, lease_seconds: float) -> list[int]:
        free = [
            run
            for run in self.runs
            if run.state in OPEN and (run.owner is None or (run.owner != owner and run.lease_until < self.now))
        ]
        for run in free:
            run.state = RunState.INTERRUPTED if run.state == RunState.RUNNING else run.state
            run.owner, run.fence, run.lease_until = owner, run.fence + 1, self.now + lease_seconds
        return [run.number for run in free]
