"""The service: who may do what, how much, and what old clients find."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from fastapi.testclient import TestClient

from metta_sweep.errors import AccessDenied, InvalidRequest, RegistryError, SpecChanged, UnknownSweep
from metta_sweep.registry.client import HttpRegistry
from metta_sweep.registry.limits import ServiceLimits
from metta_sweep.registry.records import NewObservation, Reservation, RunState
from metta_sweep.registry.schema import SCHEMA_VERSION
from metta_sweep.registry.serve import is_loopback, make_server, serve
from metta_sweep.registry.service import create_app
from metta_sweep.registry.store import SqlRegistry
from metta_sweep.registry.tokens import Role, TokenStore, create_token, list_tokens, revoke_token
from tests.metta_sweep.registry.registry_backends import HERE, ClosingAll, reserve, served


@pytest.fixture
def store(sqlite_registry: SqlRegistry) -> SqlRegistry:
    return sqlite_registry


@pytest.fixture
def web(store: SqlRegistry) -> Iterator[TestClient]:
    """A browserless client of the service without tokens."""
    with local(store) as client:
        yield client


def local(store: SqlRegistry, **options: object) -> TestClient:
    return TestClient(create_app(store, **options), base_url="http://127.0.0.1:8800", raise_server_exceptions=False)


# Old Cogweb clients


def test_an_old_client_creates_looks_up_and_numbers_runs(web: TestClient) -> None:
    body = {"project": "metta", "entity": "softmax", "wandb_sweep_id": "x1"}
    created = web.post("/sweeps/old/create_sweep", json=body).json()
    assert (created["created"], created["sweep_id"]) == (True, "old")
    assert web.post("/sweeps/old/create_sweep", json=body).json()["created"] is False
    info = web.get("/sweeps/old").json()
    assert (info["exists"], info["wandb_sweep_id"]) == (True, "x1")
    assert [web.post("/sweeps/old/runs/next").json()["run_id"] for _ in range(3)] == ["old.r.0", "old.r.1", "old.r.2"]


def test_an_old_client_is_told_that_a_sweep_does_not_exist(web: TestClient) -> None:
    response = web.get("/sweeps/t")
    assert response.status_code == 200
    assert response.json() == {
        "exists": False,
        "wandb_sweep_id": "",
        "sweep": None,
        "message": "sweep_name='t': no such sweep",
    }


def test_ids_of_old_clients_are_never_taken_over(web: TestClient, store: SqlRegistry) -> None:
    web.post("/sweeps/s/runs/next")
    assert store.get_run("s.r.0").lease_until is None
    assert store.claim("s", HERE, lease_seconds=300, key="c") == []


def test_the_header_of_old_clients_carries_a_token(store: SqlRegistry) -> None:
    token = TokenStore(store.engine).create("old", Role.WRITER)
    with local(store) as web:
        assert web.post("/sweeps/s/runs/next", headers={"X-Auth-Token": token}).status_code == 200


# Access


@pytest.fixture
def guarded(store: SqlRegistry) -> Iterator[tuple[TestClient, str, str]]:
    """The service with a reader's and a writer's token."""
    tokens = TokenStore(store.engine)
    with local(store) as web:
        yield web, tokens.create("dashboard", Role.READER), tokens.create("driver", Role.WRITER)


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def test_no_token_and_a_wrong_token_are_401(guarded: tuple[TestClient, str, str]) -> None:
    web, _, writer = guarded
    token_id = writer.split(".")[0]
    for headers in (
        {},
        bearer("nonsense"),
        bearer(f"{token_id}.wrong"),
        bearer(token_id),
        bearer(f"{token_id}."),
        {"Authorization": b"Bearer \xe4.\xe4"},
    ):
        response = web.get("/sweeps", headers=headers)
        assert (response.status_code, response.json()["error"]) == (401, "AccessDenied"), headers


def test_a_reader_reads_but_writing_is_403(guarded: tuple[TestClient, str, str]) -> None:
    web, reader, writer = guarded
    assert web.get("/sweeps/s/runs", headers=bearer(reader)).status_code == 200
    response = web.post("/sweeps/s/runs/next", headers=bearer(reader))
    assert (response.status_code, response.json()["error"]) == (403, "AccessDenied")
    assert web.post("/sweeps/s/runs/next", headers=bearer(writer)).status_code == 200
    assert web.get("/sweeps/s/runs", headers=bearer(writer)).status_code == 200


def test_every_route_but_health_and_docs_needs_a_token(guarded: tuple[TestClient, str, str]) -> None:
    web, _, _ = guarded
    assert web.get("/health").json() == {"status": "ok", "schema": SCHEMA_VERSION}
    for path, operations in web.get("/openapi.json").json()["paths"].items():
        for method in operations:
            response = web.request(method, path.format(name="s", run_id="s.r.0"), json={})
            assert response.status_code == (200 if path == "/health" else 401), (method, path)


def test_every_writing_route_refuses_a_reader(guarded: tuple[TestClient, str, str]) -> None:
    web, reader, _ = guarded
    for path, operations in web.get("/openapi.json").json()["paths"].items():
        if "post" in operations:
            assert (
                web.post(path.format(name="s", run_id="s.r.0"), json={}, headers=bearer(reader)).status_code == 403
            ), path


def test_a_revoked_token_ends_at_once_and_does_not_open_the_registry(store: SqlRegistry) -> None:
    tokens = TokenStore(store.engine)
    token = tokens.create("driver", Role.WRITER)
    with local(store) as web:
        assert web.get("/sweeps", headers=bearer(token)).status_code == 200
        tokens.revoke(token.split(".")[0])
        assert web.get("/sweeps", headers=bearer(token)).status_code == 401
        assert web.get("/sweeps").status_code == 401


def test_web_pages_may_not_use_a_registry_without_tokens(web: TestClient) -> None:
    assert web.post("/sweeps/s/runs/next", headers={"Origin": "http://evil.example"}).status_code == 403
    assert web.get("/sweeps", headers={"Host": "evil.example"}).status_code == 403


def test_tokens_are_hashed_at_rest_and_listed_without_their_secret(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/registry.db"
    token = create_token(url, "driver", "writer")
    token_id, secret = token.split(".", 1)
    (listed,) = list_tokens(url)
    assert (listed.id, listed.name, listed.role, listed.revoked_at) == (token_id, "driver", Role.WRITER, None)
    assert not any(secret.encode() in path.read_bytes() for path in tmp_path.iterdir())
    revoked = revoke_token(url, token_id)
    assert revoked.revoked_at is not None
    assert revoke_token(url, token_id) == revoked


def test_token_mistakes_are_told(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/registry.db"
    with pytest.raises(RegistryError, match="need reader, writer, admin"):
        create_token(url, "x", "root")
    with pytest.raises(RegistryError, match="no such token"):
        revoke_token(url, "abc")


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "registry.example", ""])
def test_a_public_address_needs_a_token(store: SqlRegistry, host: str) -> None:
    with pytest.raises(RegistryError, match="token create"):
        make_server(store, host=host)
    TokenStore(store.engine).create("driver", Role.WRITER)
    assert make_server(store, host=host).config.host == host


def test_a_revoked_token_is_none_for_a_public_address(store: SqlRegistry) -> None:
    tokens = TokenStore(store.engine)
    tokens.revoke(tokens.create("driver", Role.WRITER).split(".")[0])
    with pytest.raises(RegistryError, match="token create"):
        make_server(store, host="0.0.0.0")


def test_loopback_is_told_from_the_world() -> None:
    assert [is_loopback(host) for host in ("127.0.0.1", "127.1.2.3", "::1", "localhost")] == [True] * 4
    assert [is_loopback(host) for host in ("0.0.0.0", "192.168.1.1", "example.org", "localhost.example.org")] == [
        False
    ] * 4


def test_a_taken_port_is_told(tmp_path: Path, store: SqlRegistry) -> None:
    with served(store) as url, pytest.raises(RegistryError, match="is the port taken"):
        serve(f"sqlite:///{tmp_path}/other.db", port=int(url.rsplit(":", 1)[1]))


# ServiceLimits


@pytest.mark.parametrize("is_declared", [True, False])
def test_a_body_over_the_limit_is_413(store: SqlRegistry, is_declared: bool) -> None:
    body = b" " * 2000
    with local(store, limits=ServiceLimits(body_bytes=1000)) as web:
        response = web.post(
            "/sweeps/s/events",
            content=body if is_declared else iter([body]),
            headers={"Content-Type": "application/json"},
        )
        assert response.status_code == 413
        assert web.get("/sweeps").status_code == 200


# Shapes


def test_lists_come_in_pages(web: TestClient, store: SqlRegistry) -> None:
    for _ in range(5):
        run = reserve(store)
        store.start(run.id, run.fence, num_gpus=0, key=f"start-{run.id}")
        store.finish(run.id, run.fence, NewObservation("completed", 1.0, 1.0, 1.0), key=f"finish-{run.id}")
    for path, key in (("runs", "number"), ("observations", "sequence"), ("events", "sequence"), ("attempts", "run_id")):
        whole = [item[key] for item in web.get(f"/sweeps/s/{path}").json()["items"]]
        parts, after = [], None
        while True:
            page = web.get(
                f"/sweeps/s/{path}", params={"limit": 2} | ({} if after is None else {"after": after})
            ).json()
            parts += [item[key] for item in page["items"]]
            after = page["next"]
            if after is None:
                break
        assert parts == whole, path
        assert len(whole) >= 5


def test_sweeps_come_in_pages(web: TestClient, store: SqlRegistry) -> None:
    for number in range(4):
        store.create_sweep(f"t{number}", "")
    first = web.get("/sweeps", params={"limit": 3}).json()
    second = web.get("/sweeps", params={"limit": 3, "after": first["next"]}).json()
    assert [sweep["name"] for page in (first, second) for sweep in page["items"]] == [
        sweep.name for sweep in store.list_sweeps()
    ]
    assert second["next"] is None


def test_runs_are_filtered_by_state(web: TestClient, store: SqlRegistry) -> None:
    run = reserve(store)
    reserve(store)
    store.start(run.id, run.fence, num_gpus=0, key="k")
    items = web.get("/sweeps/s/runs", params={"state": ["running", "failed"]}).json()["items"]
    assert [(item["id"], item["state"]) for item in items] == [("s.r.0", RunState.RUNNING)]


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "/sweeps/nosuch/runs", None, 404),
        ("GET", "/runs/s.r.9", None, 404),
        ("GET", "/sweeps/%2e%2e", None, 422),
        ("GET", "/sweeps/a%2fb", None, 404),
        ("GET", "/sweeps/a%00b", None, 422),
        ("GET", "/sweeps/" + "a" * 10_000, None, 422),
        ("GET", "/sweeps/a';DROP TABLE sweeps;--", None, 422),
        ("GET", "/sweeps/<script>", None, 422),
        ("POST", "/sweeps/a..b/create_sweep", {}, 422),
        ("POST", "/runs/s.r.0/start", {"fence": 1, "num_gpus": 0}, 422),
        (
            "POST",
            "/heartbeat",
            {"owner": {"host": "h", "boot_id": "", "pid": 1, "started": "x"}, "run_ids": [], "lease_seconds": 1},
            422,
        ),
        ("GET", "/sweeps/s/runs?limit=100000", None, 422),
        ("GET", "/sweeps/s/runs?state=asleep", None, 422),
        ("DELETE", "/sweeps/s", None, 405),
    ],
)
def test_odd_requests_are_refused_with_a_reason(
    web: TestClient, method: str, path: str, body: object, status: int
) -> None:
    response = web.request(method, path, json=body)
    assert response.status_code == status
    assert set(response.json()) == {"error", "message", "diff"}
    assert [sweep["name"] for sweep in web.get("/sweeps").json()["items"]] == ["s"]


def test_texts_of_any_kind_are_stored_inertly(web: TestClient) -> None:
    for text in ("<script>alert(1)</script>", "'; DROP TABLE runs; --", "\0", "\ud800", "x" * 10_000, "ä\u202e"):
        content = '{"kind":"note","run_id":null,"by":%s,"detail":{"t":%s}}' % ((json.dumps(text),) * 2)
        assert (
            web.post("/sweeps/s/events", content=content, headers={"Content-Type": "application/json"}).status_code
            == 200
        )
        (event,) = web.get("/sweeps/s/events", params={"after": 1}).json()["items"][-1:]
        assert event["detail"]["t"] == text


# The client against a real server


def test_the_client_brings_its_token(store: SqlRegistry, opened: ClosingAll) -> None:
    token = TokenStore(store.engine).create("driver", Role.WRITER)
    with served(store) as url:
        assert opened(HttpRegistry(url, token)).next_number("s") == 0
        with pytest.raises(AccessDenied, match="METTA_SWEEP_TOKEN"):
            opened(HttpRegistry(url)).next_number("s")


def test_a_changed_specification_shows_its_difference_through_the_client(
    store: SqlRegistry, opened: ClosingAll
) -> None:
    with served(store) as url, pytest.raises(SpecChanged) as caught:
        opened(HttpRegistry(url)).create_sweep("s", "metric: hearts")
    assert "+metric: hearts" in caught.value.diff


def test_more_than_a_page_comes_through_the_client(
    store: SqlRegistry, monkeypatch: pytest.MonkeyPatch, opened: ClosingAll
) -> None:
    monkeypatch.setattr("metta_sweep.registry.wire.MAX_PAGE", 2)
    for number in range(5):
        store.reserve("s", Reservation(None, {"x": number}), HERE, lease_seconds=300, key=f"k{number}")
    with served(store) as url:
        registry = opened(HttpRegistry(url))
        assert [run.number for run in registry.runs("s")] == [0, 1, 2, 3, 4]
        assert [event.sequence for event in registry.events("s", after=1, limit=3)] == [2, 3, 4]


@pytest.mark.parametrize("name", ["..", "a/b", "a?b=c", "a#b", "", "a\0"])
def test_the_client_never_sends_a_name_that_would_change_the_path(name: str, opened: ClosingAll) -> None:
    registry = opened(
        HttpRegistry("http://127.0.0.1:1", transport=httpx.MockTransport(lambda request: httpx.Response(200, json={})))
    )
    with pytest.raises(UnknownSweep):
        registry.get_sweep(name)
    with pytest.raises(InvalidRequest):
        registry.create_sweep(name, "")
