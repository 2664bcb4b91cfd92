"""Any sequence of writes, expiries, late results, repeated calls and restarts leaves every implementation where the
oracle is.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from metta_sweep.errors import RegistryError
from metta_sweep.registry.records import NewObservation, Owner, Reservation
from tests.metta_sweep.registry.registry_backends import HERE, THERE, Backend
from tests.metta_sweep.registry.registry_oracle import Oracle

LEASE_SECONDS = 300.0
OWNERS = st.sampled_from([HERE, THERE])
PICK = st.integers(min_value=0, max_value=10**6)
OBSERVATIONS = st.sampled_from(
    [
        NewObservation("completed", 1.0, 10.0, 10.0),
        NewObservation("stopped_early", 0.5, 4.0, 4.0),
        NewObservation("failed", None, 1.0, 1.0, failure="code", signature="E@x.py:1", message="broken"),
    ]
)


class RegistryMachine(RuleBasedStateMachine):
    """Drives a registry and the oracle with the same calls."""

    backend: Backend
    numbers = itertools.count()

    @initialize()
    def open(self) -> None:
        self.registry = self.backend.open()
        self.sweep = f"sweep-{next(self.numbers)}"
        self.registry.create_sweep(self.sweep, "")
        self.oracle = Oracle(self.backend.clock.now)
        self.fences: list[int] = []  # highest fence that drivers know, by run
        self.keys = itertools.count()
        self.last: Callable[[], Any] | None = None

    def both(self, write: Callable[[str], Any], expected: Callable[[], Any]) -> tuple[Any, Any] | None:
        """Answers of registry and oracle, or None when both refuse for the same reason."""
        key = f"key-{next(self.keys)}"
        try:
            wanted = expected()
        except RegistryError as error:
            with pytest.raises(type(error)):
                write(key)
            return None
        answer = write(key)
        self.last = lambda: write(key)
        self.last_answer = answer
        return answer, wanted

    def run_id(self, number: int) -> str:
        return f"{self.sweep}.r.{number}"

    def chosen(self, pick: int) -> int:
        return pick % len(self.fences)

    def fence(self, number: int, is_old: bool) -> int:
        return max(1, self.fences[number] - is_old)

    @rule(owner=OWNERS, is_late=st.booleans())
    def reserve(self, owner: Owner, is_late: bool) -> None:
        number = max(0, len(self.oracle.runs) - is_late)
        reservation = Reservation(number, {"x": number})
        answers = self.both(
            lambda key: self.registry.reserve(self.sweep, reservation, owner, lease_seconds=LEASE_SECONDS, key=key),
            lambda: self.oracle.reserve(number, owner, LEASE_SECONDS),
        )
        if answers is not None:
            self.fences.append(1)

    @precondition(lambda self: self.fences)
    @rule(pick=PICK, is_old=st.booleans())
    def start(self, pick: int, is_old: bool) -> None:
        number = self.chosen(pick)
        fence = self.fence(number, is_old)
        self.both(
            lambda key: self.registry.start(self.run_id(number), fence, num_gpus=0, key=key),
            lambda: self.oracle.start(number, fence),
        )

    @precondition(lambda self: self.fences)
    @rule(pick=PICK, is_old=st.booleans())
    def interrupt(self, pick: int, is_old: bool) -> None:
        number = self.chosen(pick)
        fence = self.fence(number, is_old)
        self.both(
            lambda key: self.registry.interrupt(self.run_id(number), fence, reason="test", costs={}, key=key),
            lambda: self.oracle.interrupt(number, fence),
        )

    @precondition(lambda self: self.fences)
    @rule(pick=PICK, is_old=st.booleans())
    def requeue(self, pick: int, is_old: bool) -> None:
        number = self.chosen(pick)
        fence = self.fence(number, is_old)
        self.both(
            lambda key: self.registry.requeue(self.run_id(number), fence, reason="test", costs={}, key=key),
            lambda: self.oracle.requeue(number, fence),
        )

    @precondition(lambda self: self.fences)
    @rule(pick=PICK, is_old=st.booleans())
    def release(self, pick: int, is_old: bool) -> None:
        number = self.chosen(pick)
        fence = self.fence(number, is_old)
        self.both(
            lambda key: self.registry.release(self.run_id(number), fence, key=key),
            lambda: self.oracle.release(number, fence),
        )

    @precondition(lambda self: self.fences)
    @rule(pick=PICK, is_old=st.booleans(), observation=OBSERVATIONS)
    def finish(self, pick: int, is_old: bool, observation: NewObservation) -> None:
        number = self.chosen(pick)
        fence = self.fence(number, is_old)
        self.both(
            lambda key: self.registry.finish(self.run_id(number), fence, observation, key=key),
            lambda: self.oracle.finish(number, fence, observation),
        )

    @precondition(lambda self: self.fences)
    @rule(pick=PICK)
    def retry(self, pick: int) -> None:
        number = self.chosen(pick)
        self.both(
            lambda key: self.registry.retry(self.run_id(number), by="test", key=key), lambda: self.oracle.retry(number)
        )

    @precondition(lambda self: self.fences)
    @rule(owner=OWNERS)
    def heartbeat(self, owner: Owner) -> None:
        numbers = list(range(len(self.fences)))
        lost = self.registry.heartbeat(owner, [self.run_id(number) for number in numbers], lease_seconds=LEASE_SECONDS)
        assert lost == [self.run_id(number) for number in self.oracle.heartbeat(owner, numbers, LEASE_SECONDS)]

    @rule(owner=OWNERS)
    def claim(self, owner: Owner) -> None:
        answers = self.both(
            lambda key: self.registry.claim(self.sweep, owner, lease_seconds=LEASE_SECONDS, key=key),
            lambda: self.oracle.claim(owner, LEASE_SECONDS),
        )
        assert answers is not None
        claimed, expected = answers
        assert [run.number for run in claimed] == expected
        for run in claimed:
            self.fences[run.number] = run.fence

    @rule(seconds=st.sampled_from([1.0, 299.0, 301.0]))
    def wait(self, seconds: float) -> None:
        self.backend.clock.now += seconds
        self.oracle.now += seconds

    @precondition(lambda self: self.last)
    @rule()
    def repeat(self) -> None:
        assert self.last is not None
        assert self.last() == self.last_answer

    @rule()
    def restart(self) -> None:
        self.registry.close()
        self.registry = self.backend.open()

    @invariant()
    def agree(self) -> None:
        if not hasattr(self, "oracle"):
            return
        found = [(run.number, run.state, run.fence, run.attempts, run.owner) for run in self.registry.runs(self.sweep)]
        assert found == [(run.number, run.state, run.fence, run.attempts, run.owner) for run in self.oracle.runs]
        assert [
            (seen.sequence, seen.run_number) for seen in self.registry.observations(self.sweep)
        ] == self.oracle.observations
        assert self.registry.next_number(self.sweep) == len(self.oracle.runs)

    def teardown(self) -> None:
        if hasattr(self, "oracle"):
            events = self.registry.events(self.sweep)
            assert [event.sequence for event in events] == list(range(1, len(events) + 1))
            assert sum(event.kind == "late_result" for event in events) == self.oracle.late_results
            assert len(self.registry.attempts(self.sweep)) == sum(run.attempts for run in self.oracle.runs)
            self.registry.close()


def test_every_history_leaves_the_registry_where_the_oracle_is(backend: Backend) -> None:
    machine = type("Machine", (RegistryMachine,), {"backend": backend})
    few = settings(
        max_examples=8,
        stateful_step_count=20,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        derandomize=True,
        database=None,
    )
    run_state_machine_as_test(machine, settings=few)


@pytest.mark.long
def test_many_histories_leave_the_registry_where_the_oracle_is(backend: Backend) -> None:
    machine = type("Machine", (RegistryMachine,), {"backend": backend})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=300, stateful_step_count=60, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )
