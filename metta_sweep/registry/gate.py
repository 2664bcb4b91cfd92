"""What stands before the routes: the token, then the body, within limits, then whether a database can keep its JSON."""

from __future__ import annotations

import asyncio
import json
import math
from collections import defaultdict
from collections.abc import Awaitable, Callable

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from metta_sweep.errors import InvalidRequest, RegistryError
from metta_sweep.registry.limits import ServiceLimits

OPEN_PATHS = frozenset({"/health", "/docs", "/docs/oauth2-redirect", "/redoc", "/openapi.json"})
MAX_JSON_DEPTH = 64
SMALL_BYTES = 16 * 1024  # parsed at once; more is parsed beside the others' requests
DRAIN_SECONDS = 1.0
MAX_DRAINS = 50
Answer = Callable[[Request, Exception], Response]


class Gate:
    """ASGI middleware: `admit` lets a request in by its head, or raises; `answer` is what an error looks like."""

    def __init__(self, app: ASGIApp, admit: Callable[[Request], None], answer: Answer, limits: ServiceLimits) -> None:
        self._app, self._admit, self._answer, self._limits = app, admit, answer, limits
        self._held: dict[str, int] = defaultdict(int)  # bytes of bodies by client
        self._num_drains = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            return  # nothing here speaks anything else
        request = Request(scope)
        if scope["path"] in OPEN_PATHS:
            await self._app(scope, _replay(b"", receive), send)
            return
        client = request.client.host if request.client else ""
        body = bytearray()
        try:
            await run_in_threadpool(self._admit, request)
            await self._fill(body, request, client, receive)
            await _check(request, body)
            await self._app(scope, _replay(bytes(body), receive), send)
        except (RegistryError, HTTPException) as error:  # of the gate: the routes answer their own
            await self._refuse(self._answer(request, error), receive, send)
        finally:
            self._release(client, len(body))

    async def _fill(self, body: bytearray, request: Request, client: str, receive: Receive) -> None:
        """Read the whole body.

        Raises `HTTPException` when it is too large, comes too slowly, or others of this client fill the memory.
        """
        declared = request.headers.get("content-length", "0")
        if len(declared) > 12 or (declared.isdigit() and int(declared) > self._limits.body_bytes):
            raise self._too_large()
        try:
            async with asyncio.timeout(self._limits.body_seconds):
                while (chunk := await receive())["type"] == "http.request":
                    data: bytes = chunk.get("body", b"")
                    body += data
                    self._take(client, len(data))
                    if len(body) > self._limits.body_bytes:
                        raise self._too_large()
                    if not chunk.get("more_body", False):
                        return
        except TimeoutError as error:
            raise HTTPException(408, f"body: not complete after {self._limits.body_seconds:g} s") from error
        raise HTTPException(400, "body: the client went away")

    def _take(self, client: str, size: int) -> None:
        self._held[client] += size
        later = {"Retry-After": "1"}
        if self._held[client] > self._limits.client_bytes and size:
            raise HTTPException(
                429, f"body: more than {self._limits.client_bytes} bytes at once from this client", headers=later
            )
        if sum(self._held.values()) > self._limits.total_bytes and size:
            raise HTTPException(503, "body: the service is busy with other requests; try again", headers=later)

    def _release(self, client: str, size: int) -> None:
        self._held[client] -= size
        if self._held[client] <= 0:
            del self._held[client]

    def _too_large(self) -> HTTPException:
        return HTTPException(413, f"body: more than {self._limits.body_bytes} bytes")

    async def _refuse(self, response: Response, receive: Receive, send: Send) -> None:
        """Answer without having read the body.

        What the client still sends is thrown away for a moment: a reset would take the answer with it.
        """
        response.headers["connection"] = "close"
        await send({"type": "http.response.start", "status": response.status_code, "headers": response.raw_headers})
        await send({"type": "http.response.body", "body": bytes(response.body), "more_body": True})
        if self._num_drains < MAX_DRAINS:
            self._num_drains += 1
            try:
                await asyncio.wait_for(_drain(receive), DRAIN_SECONDS)
            except TimeoutError:
                pass  # long enough
            finally:
                self._num_drains -= 1
        await send({"type": "http.response.body", "body": b""})


async def _drain(receive: Receive) -> None:
    while (message := await receive())["type"] == "http.request" and message.get("more_body", False):
        continue


async def _check(request: Request, body: bytearray) -> None:
    """Raises `InvalidRequest` for a body that is not plain JSON."""
    if request.method in ("GET", "HEAD") or not body:
        return
    if len(body) < SMALL_BYTES:
        check_json(body)
    else:
        await run_in_threadpool(check_json, body)


def check_json(body: bytes | bytearray) -> None:
    """Refuse what Python's parser takes and JSON does not know, and what is nested so deep that no reader could follow.

    Raises:
        InvalidRequest: no JSON, NaN or infinity, a number of thousands of digits, or more than `MAX_JSON_DEPTH` levels.
    """
    try:
        value = json.loads(body, parse_constant=_no_number, parse_float=_finite)
    except (ValueError, RecursionError) as error:
        reason = "nested too deep" if isinstance(error, RecursionError) else ascii(str(error))[1:-1][:200]
        raise InvalidRequest(f"body: not JSON ({reason})") from error
    level = [value]
    for _ in range(MAX_JSON_DEPTH):
        opened = [one.values() if isinstance(one, dict) else one for one in level if isinstance(one, dict | list)]
        level = [inner for one in opened for inner in one]
    if level:
        raise InvalidRequest(f"body: more than {MAX_JSON_DEPTH} levels")


def _no_number(text: str) -> float:
    raise ValueError(f"{text} is not a JSON number")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text[:40]} is too large")
    return value


def _replay(body: bytes, receive: Receive) -> Callable[[], Awaitable[Message]]:
    """A `receive` that gives the body that was read, then what comes from the server."""
    pending: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay() -> Message:
        return pending.pop() if pending else await receive()

    return replay
