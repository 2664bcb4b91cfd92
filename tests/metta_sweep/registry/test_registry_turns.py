"""Writes that wait for each other share a transaction, and none suffers for another."""

from __future__ import annotations

import inspect
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import select

from metta_sweep.errors import InvalidRequest, NumberTaken, RegistryUnavailable
from metta_sweep.registry import queries, writes
from metta_sweep.registry.api import Registry
from metta_sweep.registry.lease_clock import Tick
from metta_sweep.registry.operation import Operation, operations
from metta_sweep.registry.records import Reservation
from metta_sweep.registry.schema import sweeps
from metta_sweep.registry.store import SqlRegistry, Write
from metta_sweep.registry.transaction import Transaction
from metta_sweep.registry.turns import Turns
from tests.metta_sweep.registry.registry_backends import HERE

DECLARED = {operation.name: operation for operation in operations(Registry)}
NUM_WAITING = 8


class Desk:
    """Does what is not refused, slowly the first time, so that others come to wait."""

    def __init__(self, refuse: Callable[[Sequence[int]], Exception | None] = lambda _batch: None) -> None:
        self.batches: list[list[int]] = []
        self.go_on = threading.Event()
        self._refuse = refuse

    def do(self, _sweep: str, batch: Sequence[int]) -> list[str]:
        self.batches.append(list(batch))
        if len(self.batches) == 1:
            assert self.go_on.wait(30)
        if error := self._refuse(batch):
            raise error
        return [f"{work} is done" for work in batch]


def race(desk: Desk) -> list[Future[Any]]:
    """One piece of work that is slow, and the others that come meanwhile."""
    turns = Turns(desk.do)
    with ThreadPoolExecutor(NUM_WAITING + 1) as pool:
        asked = [pool.submit(turns.take, "s", 0)]
        until(lambda: len(desk.batches) == 1)
        asked += [pool.submit(turns.take, "s", number) for number in range(1, NUM_WAITING + 1)]
        until(lambda: len(turns._turns["s"].waiting) == NUM_WAITING)
        desk.go_on.set()
    return asked


def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def test_writes_that_wait_are_committed_together_and_each_gets_its_own_answer() -> None:
    desk = Desk()
    asked = race(desk)
    assert [len(batch) for batch in desk.batches] == [1, NUM_WAITING]
    assert [future.result() for future in asked] == [f"{number} is done" for number in range(NUM_WAITING + 1)]


def test_a_refused_write_is_refused_alone() -> None:
    desk = Desk(lambda batch: NumberTaken("3 is taken") if 3 in batch else None)
    asked = race(desk)
    with pytest.raises(NumberTaken, match="3 is taken"):
        asked.pop(3).result()
    assert all(future.result().endswith("is done") for future in asked)


def test_a_database_that_is_gone_is_asked_once_for_all_that_wait() -> None:
    desk = Desk(lambda _batch: RegistryUnavailable("gone"))
    for future in race(desk):
        with pytest.raises(RegistryUnavailable, match="gone"):
            future.result()
    assert len(desk.batches) == 2


@pytest.fixture
def num_commits(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Sizes of the store's transactions, the first of which waits until there are others."""
    sizes: list[int] = []
    if isinstance(registry, SqlRegistry):
        turns, commit = registry._turns, registry._turns._do

        def slowly(sweep: str, batch: Sequence[Write]) -> Sequence[Any]:
            if not sizes:
                until(lambda: len(turns._turns[sweep].waiting) == NUM_WAITING)
            sizes.append(len(batch))
            return commit(sweep, batch)

        monkeypatch.setattr(turns, "_do", slowly)
    return sizes


@pytest.mark.parametrize("backend", ["sqlite", "postgresql"], indirect=True)
def test_numbers_events_and_answers_of_a_shared_transaction_are_as_of_many(
    registry: Registry, num_commits: list[int]
) -> None:
    def reserve(number: int) -> str:
        key = f"k{number // 2}"  # each key comes twice
        return registry.reserve("s", Reservation(None, {"x": 1}), HERE, lease_seconds=300, key=key).id

    with ThreadPoolExecutor(NUM_WAITING + 1) as pool:
        ids = list(pool.map(reserve, range(NUM_WAITING + 1)))
    assert num_commits == [1, NUM_WAITING]
    assert ids[0:8:2] == ids[1:8:2]
    assert sorted(set(ids)) == [f"s.r.{number}" for number in range(5)]
    assert [run.id for run in registry.runs("s")] == sorted(set(ids))
    assert [event.sequence for event in registry.events("s")] == list(range(1, 7))
    assert reserve(3) == ids[3]


def test_counters_events_and_answers_are_written_down_once_at_the_end(sqlite_registry: SqlRegistry) -> None:
    with sqlite_registry.engine.begin() as connection:
        row = connection.execute(select(sweeps)).mappings().one()
        tx = Transaction(connection, row, 7.0, Tick("", 7.0))
        assert [tx.take("next_run") for _ in range(3)] == [0, 1, 2]
        tx.event("note", by=HERE)
        tx.event("note", by="me", detail={"a": 1})
        tx.remember("k", "reserve", {"id": "s.r.0"})
        assert tx.answer("k", "reserve") == [{"id": "s.r.0"}]
        with pytest.raises(InvalidRequest, match="was used for reserve"):
            tx.answer("k", "start")
        assert connection.execute(select(sweeps.c.next_run)).scalar_one() == 0
        tx.write_down()
    assert sqlite_registry.next_number("s") == 3
    assert [(event.by, event.at) for event in sqlite_registry.events("s", after=1)] == [("a:1", 7.0), ("me", 7.0)]


# The protocol and the functions that do it


@pytest.mark.parametrize("operation", DECLARED.values(), ids=DECLARED)
def test_each_method_has_a_function_that_takes_and_gives_the_same(operation: Operation) -> None:
    function = getattr(queries if operation.verb == "GET" else writes, operation.name)
    signature = inspect.signature(function, eval_str=True)
    taken = {name for name in list(signature.parameters)[1:] if name != "columns"}
    asked = set(operation.parameters) - {"key"}
    if operation.name in ("set_sweep_state", "delete_sweep", "heartbeat"):
        return  # the store does more than to call it
    assert taken == (asked if operation.verb == "GET" else asked - {"sweep"})
    assert signature.return_annotation == operation.result
