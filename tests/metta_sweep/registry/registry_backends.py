"""What the registry's tests share: a clock, two owners, a backend."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

import httpx

from metta_sweep.registry.api import Registry
from metta_sweep.registry.limits import ServiceLimits
from metta_sweep.registry.records import Owner, Reservation, RunRecord
from metta_sweep.registry.schema import metadata
from metta_sweep.registry.serve import make_server
from metta_sweep.registry.store import SqlRegistry


@dataclass
class Clock:
    """Epoch seconds that move when a test says so."""

    now: float = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Backend:
    """One implementation: `open()` gives another registry on the same data, as after a restart."""

    open: Callable[[], Registry]
    clock: Clock = field(default_factory=Clock)


class Closable(Protocol):
    """A registry or an outbox."""

    def close(self) -> None: ...


Opened = TypeVar("Opened", bound=Closable)


class ClosingAll:
    """Closes everything that was passed through."""

    def __enter__(self) -> ClosingAll:
        self._all: list[Closable] = []
        return self

    def __call__(self, one: Opened) -> Opened:
        self._all.append(one)
        return one

    def __exit__(self, *_error: object) -> None:
        for one in self._all:
            one.close()


HERE = Owner(host="a", boot_id="m.1.p", pid=1, started=10.0)
THERE = Owner(host="b", boot_id="m.2.p", pid=2, started=20.0)


def reserve(registry: Registry, number: int | None = None, owner: Owner = HERE, sweep: str = "s") -> RunRecord:
    """A new run, whose key is new, too."""
    return registry.reserve(
        sweep,
        Reservation(number, {"x": 0.5}),
        owner,
        lease_seconds=300,
        key=f"{owner.host}-{registry.next_number(sweep)}",
    )


@contextmanager
def served(store: SqlRegistry, limits: ServiceLimits | None = None) -> Iterator[str]:
    """The service over this store in a thread; gives its URL."""
    urls: list[str] = []
    is_ready = threading.Event()

    def on_ready(url: str) -> None:
        urls.append(url)
        is_ready.set()

    server = make_server(store, port=0, limits=limits, on_ready=on_ready)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        assert is_ready.wait(30)
        yield urls[0]
    finally:
        server.should_exit = True
        thread.join()


class ServiceOfBefore(httpx.BaseTransport):
    """The way to a service as it was before it knew `requeue` and notes: those routes have other names there."""

    def __init__(self) -> None:
        self._wire = httpx.HTTPTransport()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        request.url = request.url.copy_with(path=re.sub("/(requeue|remarks?)$", "/nosuch", request.url.path))
        return self._wire.handle_request(request)

    def close(self) -> None:
        self._wire.close()


def wipe(store: SqlRegistry) -> None:
    with store.engine.begin() as connection:
        for table in reversed(metadata.sorted_tables):
            connection.execute(table.delete())
