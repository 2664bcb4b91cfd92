"""Nobody who is not meant to comes in: host names, token and cookie, on every route."""

from __future__ import annotations

import http.client
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from dash import Dash

from metta_sweep.cli.main import main
from metta_sweep.dashboard.app import create_app
from metta_sweep.dashboard.door import Door
from metta_sweep.dashboard.queries import Queries
from metta_sweep.errors import ConfigError

TOKEN = "the-token-of-this-test"
HOME = "/?sweep=sim&page=model"
WITHOUT_TOKEN: tuple[dict[str, str], ...] = (
    {},
    {"Authorization": "Bearer wrong"},
    {"Authorization": f"Basic {TOKEN}"},
    {"Cookie": f"metta_sweep={TOKEN}"},
)
FOREIGN = ("evil.example", "evil.example:8050", "localhost.evil.example", "evil@localhost", "127.0.0.1.example", "")
Dashboard = Callable[..., tuple[subprocess.Popen[str], int]]  # starts the command; its process and port


@pytest.fixture
def app(queries: Queries) -> Dash:
    return create_app(queries, door=Door("0.0.0.0", TOKEN, ["sweeps.example"]))


@pytest.fixture
def local(queries: Queries) -> Dash:
    return create_app(queries)


def routes(app: Dash) -> list[tuple[str, str]]:
    """A request for every route that the server has, and for one that it has not."""
    rules = [(method, str(rule)) for rule in app.server.url_map.iter_rules() for method in rule.methods or ()]
    rules = [(method, re.sub("<[^>]*>", "a.js", rule)) for method, rule in rules]
    assert ("POST", "/_dash-update-component") in rules
    return [*rules, ("POST", "/nowhere"), ("DELETE", "/"), ("GET", "/_dash-ws")]


def test_an_address_that_others_reach_needs_a_token() -> None:
    for host in ("0.0.0.0", "::", "192.0.2.7", "myhost", ""):
        with pytest.raises(ConfigError, match="reachable from other machines"):
            Door(host)
    for host in ("127.0.0.1", "127.0.0.2", "localhost", "::1"):
        Door(host)


def test_no_route_answers_without_the_token(app: Dash) -> None:
    client = app.server.test_client()
    for method, path in routes(app):
        for headers in WITHOUT_TOKEN:
            answer = client.open(path, method=method, headers=headers)
            assert answer.status_code == 401, (method, path, headers)
            assert "Set-Cookie" not in answer.headers


@pytest.mark.parametrize("host", FOREIGN)
def test_no_route_answers_to_another_host_name(app: Dash, local: Dash, host: str) -> None:
    for one in (app, local):
        for method, path in routes(one):
            headers = {"Host": host, "Authorization": f"Bearer {TOKEN}", "X-Forwarded-Host": "localhost"}
            answer = one.server.test_client().open(path, method=method, headers=headers)
            assert answer.status_code == 403, (method, path)


def test_own_names_are_known(app: Dash, local: Dash) -> None:
    bearer = {"Authorization": f"Bearer {TOKEN}"}
    for host in ("localhost:8050", "LOCALHOST", "127.0.0.1:8050", "[::1]:8050", "[::1]"):
        for one in (app, local):
            assert one.server.test_client().get("/", headers={"Host": host, **bearer}).status_code == 200, host
    own = socket.gethostname()
    for host in (own, f"{own}:8050", "192.0.2.7:8050", "[2001:db8::7]:8050", "sweeps.example"):
        assert app.server.test_client().get("/", headers={"Host": host, **bearer}).status_code == 200, host
        assert local.server.test_client().get("/", headers={"Host": host}).status_code == 403, host


@pytest.mark.parametrize(
    "show",
    [
        lambda client, path: client.get(f"{path}&token={TOKEN}"),
        lambda client, path: client.post(path, data={"token": TOKEN}),
    ],
    ids=["address", "form"],
)
def test_a_browser_shows_the_token_once_and_comes_back_to_its_page(app: Dash, show: Callable[[Any, str], Any]) -> None:
    client = app.server.test_client()
    answer = show(client, HOME)
    assert (answer.status_code, answer.headers["Location"]) == (303, HOME)
    cookie = answer.headers["Set-Cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Strict" in cookie
    assert TOKEN not in cookie
    assert client.get(HOME).status_code == 200
    assert client.get("/_dash-layout").status_code == 200
    assert app.server.test_client().get(HOME).status_code == 401


def test_a_wrong_token_is_told_and_a_cookie_of_another_dashboard_is_worth_nothing(app: Dash, queries: Queries) -> None:
    client = app.server.test_client()
    wrong = client.post(HOME, data={"token": f"{TOKEN}<script>"})
    assert wrong.status_code == 401
    assert "This is not the token." in wrong.text
    assert "<script>" not in wrong.text
    session = client.get(f"{HOME}&token={TOKEN}").headers["Set-Cookie"].split(";")[0]
    restarted = create_app(queries, door=Door("0.0.0.0", TOKEN))
    assert restarted.server.test_client().get("/", headers={"Cookie": session}).status_code == 401


@pytest.mark.parametrize("path", ["//evil.example/", "/\\evil.example/", "/%5Cevil.example/", "///evil.example"])
def test_the_way_back_never_leads_to_another_server(app: Dash, path: str) -> None:
    answer = app.server.test_client().post(path, data={"token": TOKEN})
    location = answer.headers.get("Location", "/")
    assert location.startswith("/")
    assert not location.startswith(("//", "/\\"))


def test_a_large_body_is_not_read_before_the_token(app: Dash) -> None:
    body = f"token={TOKEN}&rest=" + "x" * 5000
    answer = app.server.test_client().post("/", data=body, content_type="application/x-www-form-urlencoded")
    assert answer.status_code == 401


@pytest.fixture
def dashboard(data_dir: Path) -> Iterator[Dashboard]:
    """Starts the command on a free port, and tells process and port."""
    started: list[subprocess.Popen[str]] = []

    def start(*flags: str, **environ: str) -> tuple[subprocess.Popen[str], int]:
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = int(free.getsockname()[1])
        words = ["dashboard", f"data_dir={data_dir}", "--port", str(port), *flags]
        command = [sys.executable, "-u", "-m", "metta_sweep", *words]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        started.append(subprocess.Popen(command, env={**os.environ, **environ}, **pipes))  # type: ignore[call-overload]
        return started[-1], port

    yield start
    for process in started:
        with process:
            process.kill()


def status_of(port: int, path: str, **headers: str) -> int:
    """Of a GET, as soon as the server answers."""
    deadline = time.monotonic() + 120.0
    while True:
        with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=60)) as connection:
            try:
                connection.request("GET", path, headers=headers)
                return connection.getresponse().status
            except ConnectionError:
                assert time.monotonic() < deadline, "nobody answers"
        time.sleep(0.1)


def test_the_command_prints_a_token_once_and_shows_it_nowhere_else(dashboard: Dashboard) -> None:
    process, port = dashboard("--host", "0.0.0.0", "-v")
    assert process.stdout is not None
    token = next(line for line in process.stdout if line.startswith("token: ")).split()[1]
    assert len(token) == 32
    assert status_of(port, "/") == 401
    assert status_of(port, f"/?token={token}") == 303
    assert status_of(port, "/_dash-layout", Authorization=f"Bearer {token}") == 200
    assert token not in Path(f"/proc/{process.pid}/cmdline").read_text()
    process.terminate()
    assert token not in process.stdout.read()


def test_a_token_of_ones_own_is_asked_for_on_loopback_too_and_is_not_printed(dashboard: Dashboard) -> None:
    process, port = dashboard(METTA_SWEEP_DASHBOARD_TOKEN=TOKEN)
    assert status_of(port, "/") == 401
    assert status_of(port, "/", Authorization=f"Bearer {TOKEN}") == 200
    process.terminate()
    assert process.stdout is not None
    assert TOKEN not in process.stdout.read()


def test_a_short_token_is_refused(
    data_dir: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("METTA_SWEEP_DASHBOARD_TOKEN", "short")
    assert main(["dashboard", f"data_dir={data_dir}"]) == 2
    assert "METTA_SWEEP_DASHBOARD_TOKEN: need at least 16 characters, got 5" in capsys.readouterr().err
