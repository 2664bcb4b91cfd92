"""Connections of the service: how long each may take, how many a client may hold; nobody keeps others out by them."""

from __future__ import annotations

import asyncio
from collections import OrderedDict, defaultdict
from typing import Any, ClassVar

from uvicorn.protocols.http.h11_impl import H11Protocol

from metta_sweep.registry.limits import ServiceLimits


class Doorman:
    """Knows every connection, and which of them wait: they are open and no whole request has come.

    A connection that waits is worth nothing yet. When there are too many, the client with the most of them loses its
    oldest, and whoever comes new and says what he wants is served.
    """

    def __init__(self, limits: ServiceLimits) -> None:
        self.limits = limits
        self._opened: dict[str, int] = defaultdict(int)
        self._waiting: dict[str, OrderedDict[Connection, None]] = defaultdict(OrderedDict)

    def opens(self, connection: Connection) -> None:
        """A new connection, which waits; of too many the client's oldest waiting one goes, or this one."""
        client = connection.address
        self._opened[client] += 1
        self.waits(connection)
        if self._opened[client] > self.limits.connections_per_client:
            self._drop_oldest(client)

    def waits(self, connection: Connection) -> None:
        """The connection has nothing to do."""
        self._waiting[connection.address].setdefault(connection)
        if sum(map(len, self._waiting.values())) > self.limits.waiting_connections:
            self._drop_oldest(max(self._waiting, key=lambda client: len(self._waiting[client])))

    def works(self, connection: Connection) -> None:
        """A request has come."""
        self._waiting[connection.address].pop(connection, None)

    def closes(self, connection: Connection) -> None:
        self.works(connection)
        self._opened[connection.address] -= 1
        if not self._opened[connection.address]:
            del self._opened[connection.address], self._waiting[connection.address]

    def _drop_oldest(self, client: str) -> None:
        oldest = next(iter(self._waiting[client]))
        self.works(oldest)
        oldest.transport.abort()


class Connection(H11Protocol):
    """uvicorn's connection with a deadline: for a request's head, then for the whole of it, body and answer."""

    doorman: ClassVar[Doorman]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.address = ""
        self._deadline: asyncio.TimerHandle | None = None
        self._is_working = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        super().connection_made(transport)
        self.address = self.client[0] if self.client else ""
        self._until(self.doorman.limits.header_seconds)
        self.doorman.opens(self)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
        self.doorman.closes(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._look()

    def on_response_complete(self) -> None:
        self._is_working = False  # the next request, which may be here already, has its own time
        self._until(self.doorman.limits.header_seconds)
        self.doorman.waits(self)
        super().on_response_complete()
        self._look()

    def _look(self) -> None:
        """Whether a request has begun since we looked last."""
        if not self._is_working and self.cycle is not None and not self.cycle.response_complete:
            self._is_working = True
            self._until(self.doorman.limits.request_seconds)
            self.doorman.works(self)

    def _until(self, seconds: float) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
        self._deadline = self.loop.call_later(seconds, self.transport.abort)


def guarded(limits: ServiceLimits) -> type[Connection]:
    """The connection class of one server."""
    return type("GuardedConnection", (Connection,), {"doorman": Doorman(limits)})
