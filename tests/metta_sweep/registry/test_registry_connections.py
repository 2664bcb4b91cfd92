"""Which connection has to go when there are too many."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any, cast

import pytest
from uvicorn import Config
from uvicorn.server import ServerState

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


def test_a_client_that_left_in_the_middle_of_a_request_does_not_count_any_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Connection, "doorman", Doorman(ServiceLimits(connections_per_client=1)), raising=False)

    async def leave_and_return() -> bytes:
        left = asyncio.Event()

        async def answer(scope: Any, receive: Any, send: Any) -> None:
            if scope["path"] == "/slow":
                while (await receive())["type"] != "http.disconnect":
                    pass
                left.set()
            await send({"type": "http.response.start", "status": 204, "headers": []})
            await send({"type": "http.response.body"})

        config = Config(answer, log_config=None)
        config.load()
        server = await asyncio.get_running_loop().create_server(
            lambda: Connection(config=config, server_state=ServerState(), app_state={}), "127.0.0.1", 0
        )
        async with server:
            address = server.sockets[0].getsockname()
            _, writer = await asyncio.open_connection(*address)
            writer.write(b"GET /slow HTTP/1.1\r\nhost: here\r\n\r\n")
            writer.close()
            await left.wait()
            reader, writer = await asyncio.open_connection(*address)
            writer.write(b"GET / HTTP/1.1\r\nhost: here\r\nconnection: close\r\n\r\n")
            answered = await reader.read()
            writer.close()
            return answered

    assert asyncio.run(leave_and_return()).startswith(b"HTTP/1.1 204")
