"""The service under abuse: who only holds on, sends half, or sends nonsense keeps nobody else out and fills no
memory.
"""

from __future__ import annotations

import contextlib
import json
import resource
import socket
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from metta_sweep.errors import AccessDenied, IllegalTransition, UnknownSweep
from metta_sweep.registry.client import HttpRegistry
from metta_sweep.registry.limits import ServiceLimits
from metta_sweep.registry.records import SweepState
from metta_sweep.registry.store import SqlRegistry
from metta_sweep.registry.tokens import Role, TokenStore
from tests.metta_sweep.registry.registry_backends import ClosingAll, reserve, served

NUM_HALF_OPEN = 1100
HEAD = b"POST /sweeps/s/events HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
NOTE: dict[str, Any] = {"kind": "note", "run_id": None, "by": "me", "detail": {}}


@pytest.fixture
def store(sqlite_registry: SqlRegistry) -> SqlRegistry:
    return sqlite_registry


@contextlib.contextmanager
def talking(url: str, sent: bytes) -> Iterator[socket.socket]:
    """A connection to the service that has said so much."""
    host, _, port = url.removeprefix("http://").rpartition(":")
    with socket.create_connection((host, int(port)), timeout=30) as connection:
        connection.sendall(sent)
        yield connection


def heard(connection: socket.socket) -> bytes:
    """All that the service says until it closes the connection; fails when it does not within 30 s."""
    said = b""
    with contextlib.suppress(ConnectionResetError):
        while chunk := connection.recv(65536):
            said += chunk
    return said


# Connections


@pytest.fixture
def many_files() -> Iterator[None]:
    """Room for both ends of the connections in this process."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(4096, hard), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.usefixtures("many_files")
def test_a_thousand_half_open_connections_keep_nobody_out(store: SqlRegistry) -> None:
    with served(store) as url, contextlib.ExitStack() as opened:
        for number in range(NUM_HALF_OPEN):
            opened.enter_context(talking(url, b"GET /sweeps HTTP/1.1\r\nHost: x\r\n" if number % 2 else b""))
        registry = HttpRegistry(url, patience_seconds=0.0)  # one try has to do
        assert [sweep.name for sweep in registry.list_sweeps()] == ["s"]
        assert reserve(registry).id == "s.r.0"
        registry.close()


def test_a_request_whose_head_never_ends_is_given_up(store: SqlRegistry) -> None:
    with served(store, limits=ServiceLimits(header_seconds=0.2)) as url:
        for sent in (
            b"",
            b"GET /sweeps HTTP/1.1\r\nHost: 127.0.0.1\r\n",
            b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\nGET ",
        ):
            with talking(url, sent) as connection:
                said = heard(connection)
                assert (b"200 OK" in said) == (b"/health" in sent)


def test_an_answer_that_never_comes_ends_with_the_requests_time(store: SqlRegistry) -> None:
    limits = ServiceLimits(body_seconds=60.0, request_seconds=0.2)
    with served(store, limits=limits) as url, talking(url, HEAD + b"Content-Length: 9\r\n\r\n{") as connection:
        assert heard(connection) == b""


def test_one_address_holds_so_many_connections_and_its_newest_are_served(store: SqlRegistry) -> None:
    with served(store, limits=ServiceLimits(connections_per_client=5)) as url, contextlib.ExitStack() as opened:
        connections = [opened.enter_context(talking(url, b"")) for _ in range(8)]
        assert httpx.get(f"{url}/health").status_code == 200
        assert [heard(connection) for connection in connections[:3]] == [b"", b"", b""]


def test_a_head_without_end_and_an_upgrade_to_websockets_are_answered(store: SqlRegistry) -> None:
    with served(store) as url:
        with talking(url, b"GET /sweeps HTTP/1.1\r\nHost: x\r\nX: " + b"x" * 200_000) as connection:
            assert b"400 Bad Request" in heard(connection)[:40]
        upgrade = (
            b"Connection: Upgrade, close\r\nUpgrade: websocket\r\nSec-WebSocket-Key: "
            b"eHh4\r\nSec-WebSocket-Version: 13\r\n\r\n"
        )
        with talking(url, b"GET /sweeps HTTP/1.1\r\nHost: 127.0.0.1\r\n" + upgrade) as connection:
            connection.settimeout(10)
            assert b"HTTP/1.1 200 OK" in connection.recv(1000)


@pytest.mark.parametrize("host", [b"evil.example", b"127.0.0.1.evil.example", b"evil.example:8800"])
def test_a_host_that_is_not_ours_is_refused(store: SqlRegistry, host: bytes) -> None:
    with (
        served(store) as url,
        talking(url, b"GET /sweeps HTTP/1.1\r\nHost: " + host + b"\r\nConnection: close\r\n\r\n") as connection,
    ):
        assert heard(connection).split(b" ")[1] == b"403"


# Bodies


def test_the_token_is_asked_for_before_the_body(store: SqlRegistry) -> None:
    reader = TokenStore(store.engine).create("reader", Role.READER).encode()
    large = b"Content-Length: 8000000\r\n\r\n{"
    with served(store) as url:
        for token in (b"", b"Authorization: Bearer guess.x\r\n", b"Authorization: Basic " + reader + b"\r\n"):
            with talking(url, HEAD + token + large) as connection:
                assert b"HTTP/1.1 401 Unauthorized" in heard(connection)
        with talking(url, b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n" + large) as connection:
            assert b"HTTP/1.1 200 OK" in heard(connection)


@pytest.mark.parametrize("head", [b"Content-Length: 1000\r\n\r\n{", b"Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n"])
def test_a_body_that_does_not_come_is_given_up(store: SqlRegistry, head: bytes) -> None:
    with served(store, limits=ServiceLimits(body_seconds=0.2)) as url, talking(url, HEAD + head) as connection:
        said = heard(connection)
        assert b"408" in said
        assert b"body: not complete after 0.2 s" in said


def test_bodies_of_one_address_fill_so_much_memory_and_no_more(store: SqlRegistry) -> None:
    limits = ServiceLimits(client_bytes=300_000)
    part = HEAD + b"Content-Length: 200000\r\n\r\n" + b" " * 100_000
    with served(store, limits=limits) as url, contextlib.ExitStack() as opened:
        connections = [opened.enter_context(talking(url, part)) for _ in range(8)]
        refused: list[bytes] = []
        deadline = time.monotonic() + 30
        while len(refused) < 5 and time.monotonic() < deadline:
            for connection in connections[:]:
                connection.settimeout(0.1)
                with contextlib.suppress(TimeoutError):
                    refused.append(connection.recv(1000))
                    connections.remove(connection)
        assert len(refused) == 5
        assert all(b"HTTP/1.1 429" in said for said in refused)
        for connection in connections:
            connection.close()
        registry = HttpRegistry(url)
        registry.add_event("s", "note", run_id=None, by="me", detail={"after": "x" * 100_000})
        registry.close()


def nested(depth: int, opening: str = "[", closing: str = "]") -> str:
    return f'{{"kind": "note", "run_id": null, "by": "me", "detail": {{"a": {opening * depth}{closing * depth}}}}}'


@pytest.mark.parametrize(
    "body",
    [
        nested(500).encode(),
        nested(500, '{"a":', "}").replace('{"a":}', '{"a":1}').encode(),
        nested(100_000).encode(),
        b"[" * 1_000_000,
        nested(0).replace('{"a": }', '{"a": NaN}').encode(),
        nested(0).replace('{"a": }', '{"a": -Infinity}').encode(),
        nested(0).replace('{"a": }', '{"a": 1e999}').encode(),
        nested(0).replace('{"a": }', '{"a": %s}' % ("9" * 10_000)).encode(),
        nested(0).replace('{"a": }', '{"a": "x"}').replace("me", "m\udce9").encode("utf-8", "surrogateescape"),
        b"\xff\xfe\x00",
        b"kind=note",
        b"{",
        b"null",
        b'"note"',
    ],
    ids=range(14),
)
def test_what_is_no_plain_json_is_422_with_a_reason(store: SqlRegistry, body: bytes) -> None:
    with served(store) as url:
        for path in ("/sweeps/s/events", "/sweeps/s/runs/next", "/heartbeat"):
            if body == b"null" and path.endswith("next"):
                continue  # what clients of old send for nothing
            response = httpx.post(
                f"{url}{path}", content=body, headers={"Content-Type": "application/json"}, timeout=30
            )
            assert response.status_code == 422, path
            assert response.json()["error"] == "InvalidRequest"
    assert [event.kind for event in store.events("s")] == ["created"]


def test_odd_texts_come_through_every_field_or_are_refused(store: SqlRegistry) -> None:
    with served(store) as url, httpx.Client(base_url=url, timeout=30) as web:
        for text in ("\0", "\ud800", "\u202e", "x" * 100_000, "[/bold]", "\x1b[2J"):
            bodies: dict[str, Any] = {
                "/sweeps/s/events": {**NOTE, "by": text, "detail": {text: text}},
                "/sweeps/s/state": {"state": "active", "by": text, "reason": text},
                "/sweeps/n/create_sweep": {"project": text, "entity": text, "wandb_sweep_id": text},
                "/sweeps/s/runs/next": {
                    "reservation": {"number": None, "params": {}, "explanation": {text: text}, "phase": text}
                },
            }
            for path, body in bodies.items():
                response = web.post(path, content=json.dumps(body), headers={"Content-Type": "application/json"})
                assert response.status_code in (200, 422), (path, text[:10], response.text)


# Roles


def test_only_an_admin_deletes(store: SqlRegistry, opened: ClosingAll) -> None:
    tokens = TokenStore(store.engine)
    writer, admin = tokens.create("driver", Role.WRITER), tokens.create("root", Role.ADMIN)
    with served(store) as url:
        with pytest.raises(AccessDenied, match="is a writer's, this needs an admin's"):
            opened(HttpRegistry(url, writer)).delete_sweep("s")
        root = opened(HttpRegistry(url, admin))
        assert root.set_sweep_state("s", SweepState.ACTIVE, by="root", reason="").name == "s"  # an admin also writes
        reserve(root)
        with pytest.raises(IllegalTransition):
            root.delete_sweep("s")
        root.delete_sweep("s", force=True)
        with pytest.raises(UnknownSweep):
            root.get_sweep("s")
