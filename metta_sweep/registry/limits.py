"""What one client may ask of the service: how often, and how much at once."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from metta_sweep.registry.codec import dumps


@dataclass(frozen=True, slots=True)
class Limits:
    """Attributes:
    requests_per_second: of one token (or address, without tokens), on average.
    burst: requests at once.
    body_bytes: of one request.
    """

    requests_per_second: float = 1000.0
    burst: int = 2000
    body_bytes: int = 8 * 1024 * 1024


class RateLimiter:
    """Token bucket per client; forgets the longest idle ones beyond `max_clients`."""

    def __init__(self, limits: Limits, clock: Callable[[], float], max_clients: int = 10_000) -> None:
        self._limits, self._clock, self._max_clients = limits, clock, max_clients
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()
        self._guard = threading.Lock()

    def wait_seconds(self, client: str) -> float:
        """0 and a request is counted, or how long to wait."""
        with self._guard:
            now = self._clock()
            left, then = self._buckets.pop(client, (float(self._limits.burst), now))
            left = min(float(self._limits.burst), left + (now - then) * self._limits.requests_per_second)
            is_allowed = left >= 1
            self._buckets[client] = (left - is_allowed, now)
            if len(self._buckets) > self._max_clients:
                self._buckets.popitem(last=False)
            return 0.0 if is_allowed else (1 - left) / self._limits.requests_per_second


class BodyLimit:
    """ASGI middleware: 413 for a larger body, before anything of it is parsed."""

    def __init__(self, app: ASGIApp, max_bytes: int) -> None:
        self._app, self._max_bytes = app, max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        declared = dict(scope["headers"]).get(b"content-length", b"0")
        is_too_large = len(declared) > 12 or (declared.isdigit() and int(declared) > self._max_bytes)
        body = None if is_too_large else await self._read(receive)
        if body is None:
            await self._refuse(send)
        else:
            await self._app(scope, _replay(body, receive), send)

    async def _read(self, receive: Receive) -> bytes | None:
        """The whole body, None when it is too large."""
        chunks: list[bytes] = []
        size = 0
        while True:
            message = await receive()
            chunk = message.get("body", b"")
            size += len(chunk)
            if size > self._max_bytes:
                return None
            chunks.append(chunk)
            if not message.get("more_body", False):
                return b"".join(chunks)

    async def _refuse(self, send: Send) -> None:
        body = dumps({"error": "InvalidRequest", "message": f"body: more than {self._max_bytes} bytes"}).encode()
        headers = [(b"content-type", b"application/json"), (b"connection", b"close")]
        await send({"type": "http.response.start", "status": 413, "headers": headers})
        await send({"type": "http.response.body", "body": body})


def _replay(body: bytes, receive: Receive) -> Receive:
    """A `receive` that gives the body that was read, then what comes from the server."""
    pending: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay() -> Message:
        return pending.pop() if pending else await receive()

    return replay
