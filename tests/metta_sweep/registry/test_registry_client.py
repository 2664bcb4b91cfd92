"""The client on a bad network: it tries again, never twice for the registry, and gives up in time with a reason."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import httpx
import pytest

from metta_sweep.errors import OldService, RegistryError, RegistryUnavailable, UnknownSweep
from metta_sweep.registry.api import Registry
from metta_sweep.registry.client import HttpRegistry
from metta_sweep.registry.owner import current_owner
from metta_sweep.registry.records import NewObservation, Reservation, RunState
from metta_sweep.registry.store import SqlRegistry
from tests.metta_sweep.registry.registry_backends import HERE, ClosingAll, ServiceOfBefore, reserve, served


class Network(httpx.BaseTransport):
    """Passes requests on and lets `trouble` spoil them; keeps what was sent."""

    def __init__(self, trouble: Callable[[int, httpx.Request, httpx.BaseTransport], httpx.Response]) -> None:
        self._wire = httpx.HTTPTransport()
        self._trouble = trouble
        self.sent: list[httpx.Request] = []

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        self.sent.append(request)
        return self._trouble(len(self.sent), request, self._wire)

    def close(self) -> None:
        self._wire.close()


@pytest.fixture
def url(sqlite_registry: SqlRegistry) -> Iterator[str]:
    with served(sqlite_registry) as url:
        yield url


def test_a_lost_answer_is_asked_for_again_and_the_write_happens_once(
    url: str, sqlite_registry: SqlRegistry, opened: ClosingAll
) -> None:
    def lose_first_answer(count: int, request: httpx.Request, wire: httpx.BaseTransport) -> httpx.Response:
        response = wire.handle_request(request)
        if count == 1:
            response.read()
            raise httpx.ReadTimeout("the answer was lost")
        return response

    network = Network(lose_first_answer)
    pauses: list[float] = []
    run = opened(HttpRegistry(url, transport=network, sleep=pauses.append)).reserve(
        "s", Reservation(None, {}), HERE, lease_seconds=300, key="k"
    )
    assert run.id == "s.r.0"
    assert len(network.sent) == 2
    assert sqlite_registry.next_number("s") == 1
    assert 0.05 <= pauses[0] <= 0.1


def test_duplicated_and_reordered_requests_change_nothing(
    url: str, sqlite_registry: SqlRegistry, opened: ClosingAll
) -> None:
    """Each request arrives again after the next one."""
    late: list[httpx.Request] = []

    def repeat_later(_count: int, request: httpx.Request, wire: httpx.BaseTransport) -> httpx.Response:
        copy = httpx.Request(request.method, request.url, headers=request.headers, content=request.content)
        response = wire.handle_request(request)
        response.read()
        for old in late:
            wire.handle_request(old).read()
        late[:] = [copy]
        return response

    registry = opened(HttpRegistry(url, transport=Network(repeat_later)))
    for number in range(3):
        run = registry.reserve("s", Reservation(number, {}), HERE, lease_seconds=300, key=f"r{number}")
        registry.start(run.id, run.fence, num_gpus=0, key=f"s{number}")
        registry.record_progress(run.id, run.fence, [{"env_steps": 1, "score": 0.0}])
        registry.finish(run.id, run.fence, NewObservation("completed", 1.0, 1.0, 1.0), key=f"f{number}")
        registry.add_event("s", "note", run_id=run.id, by="me", detail={})
    assert [seen.run_number for seen in sqlite_registry.observations("s")] == [0, 1, 2]
    assert [event.kind for event in sqlite_registry.events("s")] == ["created"] + [
        "reserved",
        "started",
        "completed",
        "note",
    ] * 3


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_a_busy_or_broken_server_is_tried_again(url: str, status: int, opened: ClosingAll) -> None:
    def broken_twice(count: int, request: httpx.Request, wire: httpx.BaseTransport) -> httpx.Response:
        return httpx.Response(status, text="try later") if count <= 2 else wire.handle_request(request)

    network = Network(broken_twice)
    assert opened(HttpRegistry(url, transport=network, sleep=lambda _seconds: None)).next_number("s") == 0
    assert len(network.sent) == 3


def test_it_gives_up_with_the_last_reason_and_pauses_grow(opened: ClosingAll) -> None:
    pauses: list[float] = []

    def shortened(seconds: float) -> None:
        pauses.append(seconds)
        time.sleep(0.03)

    registry = opened(HttpRegistry("http://127.0.0.1:1", patience_seconds=0.2, sleep=shortened))
    with pytest.raises(RegistryUnavailable, match=r"http://127.0.0.1:1.*refused"):
        registry.next_number("s")
    assert len(pauses) >= 3
    for number, pause in enumerate(pauses):
        longest = min(5.0, 0.1 * 2**number)
        assert 0.5 * longest <= pause <= longest


def test_an_answer_of_something_else_is_told(url: str, opened: ClosingAll) -> None:
    def proxy(_count: int, _request: httpx.Request, _wire: httpx.BaseTransport) -> httpx.Response:
        return httpx.Response(404, text="<html>nginx</html>")

    with pytest.raises(RegistryError, match="is this a metta_sweep registry") as caught:
        opened(HttpRegistry(url, transport=Network(proxy))).next_number("s")
    assert not isinstance(caught.value, RegistryUnavailable)


@pytest.mark.parametrize(("verb", "path"), [("GET", "/nosuch/s"), ("POST", "/sweeps/s/runs")])
def test_a_service_without_the_route_is_to_be_upgraded_first(
    url: str, verb: str, path: str, opened: ClosingAll
) -> None:
    with pytest.raises(
        OldService, match=rf"registry {url}{path}: .* no such {verb} request; upgrade the service first"
    ):
        opened(HttpRegistry(url))._call(verb, path)


def test_a_service_that_cannot_requeue_a_run_gives_it_back(
    url: str, sqlite_registry: SqlRegistry, opened: ClosingAll
) -> None:
    registry = opened(HttpRegistry(url, transport=ServiceOfBefore()))
    run = reserve(registry)
    registry.start(run.id, run.fence, num_gpus=0, key="s")
    costs = {"train": {"wall_seconds": 1.0}}
    for _ in range(2):  # the first answer may be lost
        back = registry.requeue(run.id, run.fence, reason="lost", costs=costs, key="q")
        assert (back.state, back.owner) == (RunState.INTERRUPTED, None)
    (attempt,) = sqlite_registry.attempts("s")
    assert (attempt.exit_reason, attempt.costs) == ("lost", costs)
    assert [run.id for run in registry.claim("s", HERE, lease_seconds=300, key="c")] == ["s.r.0"]


def test_a_service_that_knows_no_notes_shows_none_and_takes_none(
    url: str, sqlite_registry: SqlRegistry, opened: ClosingAll
) -> None:
    sqlite_registry.remark("s", run_id=None, note="x", tags=[], by="me")
    registry = opened(HttpRegistry(url, transport=ServiceOfBefore()))
    assert registry.remarks("s") == []
    with pytest.raises(OldService, match="upgrade the service first"):
        registry.remark("s", run_id=None, note="y", tags=[], by="me")


def test_refusals_are_not_tried_again(url: str, opened: ClosingAll) -> None:
    network = Network(lambda _count, request, wire: wire.handle_request(request))
    with pytest.raises(UnknownSweep):
        opened(HttpRegistry(url, transport=network)).next_number("nosuch")
    assert len(network.sent) == 1


def test_dead_owners_are_judged_where_the_client_runs(url: str, sqlite_registry: Registry, opened: ClosingAll) -> None:
    """The service may run anywhere: only the claiming host can see that a pid of its own is gone."""
    here = current_owner()
    run = reserve(sqlite_registry, owner=replace(here, started=here.started - 1))
    reserve(sqlite_registry, owner=here)
    network = Network(lambda _count, request, wire: wire.handle_request(request))
    (claimed,) = opened(HttpRegistry(url, transport=network)).claim("s", here, lease_seconds=300, key="c")
    assert claimed.id == run.id
