"""What one client may ask of the service: how often, and how much at once."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """Attributes:
    requests_per_second: of one token (or address, without tokens), on average.
    burst: requests at once.
    body_bytes: of one request.
    client_bytes: of all bodies that one address is sending.
    total_bytes: of all bodies.
    header_seconds: until the head of a request is complete, from the opening of its connection or the answer before it.
    body_seconds: until its body is complete.
    request_seconds: until its answer is sent.
    connections_per_client: that one address may hold.
    waiting_connections: that may be open without a request; the oldest of whoever holds most of them goes first.
    """

    requests_per_second: float = 1000.0
    burst: int = 2000
    body_bytes: int = 8 * 1024 * 1024
    client_bytes: int = 32 * 1024 * 1024
    total_bytes: int = 128 * 1024 * 1024
    header_seconds: float = 10.0
    body_seconds: float = 30.0
    request_seconds: float = 120.0
    connections_per_client: int = 500
    waiting_connections: int = 400


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
