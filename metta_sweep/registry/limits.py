"""What one client may ask of the service: how much at once, and for how long."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ServiceLimits:
    """Attributes:
    body_bytes: of one request.
    client_bytes: of all bodies that one address is sending.
    total_bytes: of all bodies.
    header_seconds: until the head of a request is complete, from the opening of its connection or the answer before it.
    body_seconds: until its body is complete.
    request_seconds: until its answer is sent.
    connections_per_client: that one address may hold.
    waiting_connections: that may be open without a request; the oldest of whoever holds most of them goes first.
    """

    body_bytes: int = 8 * 1024 * 1024
    client_bytes: int = 32 * 1024 * 1024
    total_bytes: int = 128 * 1024 * 1024
    header_seconds: float = 10.0
    body_seconds: float = 30.0
    request_seconds: float = 120.0
    connections_per_client: int = 500
    waiting_connections: int = 400
