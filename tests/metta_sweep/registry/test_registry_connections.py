"""Which connection has to go when there are too many."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, cast

from metta_sweep.registry.connections import Connection, Doorman
from metta_sweep.registry.limits import ServiceLimits


@dataclass(eq=False)
class Line:
    """What the doorman sees of a connection, which is its own transport."""

    address: str
    is_open: bool = True
    transport: Any = field(init=False)

    def __post_init__(self) -> None:
        self.transport = self

    def abort(self) -> None:
        self.is_open = False


def opened(doorman: Doorman, *addresses: str) -> list[Line]:
    lines = [Line(address) for address in addresses]
    for line in lines:
        doorman.opens(cast("Connection", line))
    return lines


def test_the_oldest_that_waits_goes_when_a_client_has_too_many() -> None:
    doorman = Doorman(ServiceLimits(connections_per_client=2))
    first, second = opened(doorman, "a", "a")
    doorman.works(cast("Connection", first))
    other, third = opened(doorman, "b", "a")
    assert [line.is_open for line in (first, second, other, third)] == [True, False, True, True]


def test_whoever_holds_most_loses_his_oldest_when_too_many_wait() -> None:
    doorman = Doorman(ServiceLimits(waiting_connections=3))
    lines = opened(doorman, "a", "b", "a", "a", "c")
    assert [line.is_open for line in lines] == [False, True, False, True, True]


def test_one_that_closes_makes_room() -> None:
    doorman = Doorman(ServiceLimits(connections_per_client=1))
    (first,) = opened(doorman, "a")
    doorman.closes(cast("Connection", first))
    (second,) = opened(doorman, "a")
    assert first.is_open
    assert second.is_open
