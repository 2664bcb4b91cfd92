"""The registry behind a service, spoken to over HTTP."""

from __future__ import annotations

import logging
import math
import random
import time
import uuid
from collections.abc import Callable, Sequence
from typing import Any

import httpx

from metta_sweep import errors
from metta_sweep.errors import InvalidRequest, RegistryError, RegistryUnavailable, SpecChanged, UnknownRun, UnknownSweep
from metta_sweep.registry import wire
from metta_sweep.registry.codec import decode, dumps
from metta_sweep.registry.names import check_key, check_sweep_name, sweep_of
from metta_sweep.registry.owner import is_dead
from metta_sweep.registry.records import (
    AttemptRecord,
    EventRecord,
    JsonObject,
    NewObservation,
    ObservationRecord,
    Owner,
    Reservation,
    RunRecord,
    RunState,
    SweepRecord,
    SweepState,
)
from metta_sweep.registry.trouble import without_password
from trainables import faults

log = logging.getLogger(__name__)

RETRIED_STATUS = frozenset({429, 500, 502, 503, 504})
PATIENCE_SECONDS = 30.0
KNOWN_ERRORS = (
    "UnknownSweep",
    "UnknownRun",
    "NumberTaken",
    "Fenced",
    "IllegalTransition",
    "InvalidRequest",
    "AccessDenied",
)


class HttpRegistry:
    """The `Registry` protocol over the service's routes; safe to share between threads.

    Every call may be repeated without harm (writes carry their key), so whatever fails on the way is tried again, after
    pauses that double and are drawn at random, until `patience_seconds` are over.

    Args:
        uri: `http(s)://host:port`.
        token: of the service; None when it needs none.
        patience_seconds: how long one call may try before it raises `RegistryUnavailable`.
        transport: in place of the network, for tests.
        sleep: in place of `time.sleep`, for tests.
    """

    def __init__(
        self,
        uri: str,
        token: str | None = None,
        *,
        patience_seconds: float = PATIENCE_SECONDS,
        transport: httpx.BaseTransport | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        timeout = httpx.Timeout(15.0, connect=5.0)
        is_secure = uri.startswith("https://")  # loading certificates takes longer than all else here
        address = httpx.URL(uri.rstrip("/"))
        self._http = httpx.Client(
            base_url=address.copy_with(userinfo=b""),  # httpx writes the address of each request into its log
            auth=(address.username, address.password) if address.userinfo else None,
            headers=headers,
            timeout=timeout,
            transport=transport,
            verify=is_secure,
        )
        self._shown = without_password(uri)
        self._patience_seconds = patience_seconds
        self._sleep = sleep
        self._rng = random.Random()

    def close(self) -> None:
        self._http.close()

    def _call(
        self, method: str, path: str, *, body: object = None, key: str = "", query: JsonObject | None = None
    ) -> Any:
        """JSON of the answer. Raises what the service's store raised, or `RegistryUnavailable`."""
        headers = {"Content-Type": "application/json"} | ({"Idempotency-Key": key} if key else {})
        content = None if body is None else dumps(body)
        deadline = time.monotonic() + self._patience_seconds
        pause_seconds = 0.1
        while True:
            problem = "no answer"
            try:
                faults.point("client.send")
                response = self._http.request(method, path, content=content, headers=headers, params=query)
                faults.point("client.received")
                if response.status_code not in RETRIED_STATUS:
                    return _answer(response)
                problem = _problem(response)
            except httpx.TransportError as error:
                problem = f"{type(error).__name__}: {error}"
            if time.monotonic() >= deadline:
                raise RegistryUnavailable(f"registry {self._shown}: {problem}")
            log.debug("registry call %s %s: %s; trying again", method, path, problem)
            self._sleep(self._rng.uniform(0.5, 1.0) * pause_seconds)
            pause_seconds = min(2 * pause_seconds, 5.0)

    def _pages(
        self, kind: Any, path: str, *, after: int, limit: int | None = None, query: JsonObject | None = None
    ) -> list[Any]:
        items: list[Any] = []
        cursor: int | None = after
        while cursor is not None and (limit is None or len(items) < limit):
            size = wire.MAX_PAGE if limit is None else min(wire.MAX_PAGE, limit - len(items))
            page = self._call("GET", path, query={**(query or {}), "after": cursor, "limit": size})
            items += decode(list[kind], page["items"])
            cursor = page["next"]
        return items

    def create_sweep(
        self,
        name: str,
        spec_yaml: str,
        *,
        wandb_entity: str = "",
        wandb_project: str = "",
        wandb_sweep_id: str = "",
        update: bool = False,
    ) -> SweepRecord:
        check_sweep_name(name)
        body = wire.SweepBody(wandb_project, wandb_entity, wandb_sweep_id, spec_yaml, update)
        created: wire.SweepCreated = decode(
            wire.SweepCreated, self._call("POST", f"/sweeps/{name}/create_sweep", body=body)
        )
        return created.sweep

    def get_sweep(self, name: str) -> SweepRecord:
        info: wire.SweepInfo = decode(wire.SweepInfo, self._call("GET", _sweep(name)))
        if info.sweep is None:
            raise UnknownSweep(info.message)
        return info.sweep

    def list_sweeps(self) -> list[SweepRecord]:
        return self._pages(SweepRecord, "/sweeps", after=0)

    def set_sweep_state(
        self, name: str, state: SweepState, *, by: str, reason: str, age_seconds: float = 0.0
    ) -> SweepRecord:
        body = wire.StateBody(state, by, reason, age_seconds)
        sweep: SweepRecord = decode(SweepRecord, self._call("POST", f"{_sweep(name)}/state", body=body))
        return sweep

    def next_number(self, sweep: str) -> int:
        return int(self._call("GET", f"{_sweep(sweep)}/next_number"))

    def reserve(
        self, sweep: str, reservation: Reservation, owner: Owner, *, lease_seconds: float, key: str
    ) -> RunRecord:
        body = {"reservation": reservation, "owner": owner, "lease_seconds": _lease(lease_seconds)}
        answer: wire.NextRun = decode(
            wire.NextRun, self._call("POST", f"{_sweep(sweep)}/runs/next", body=body, key=_key(key))
        )
        return answer.run

    def replace_suggestion(self, run_id: str, fence: int, reservation: Reservation, *, key: str) -> RunRecord:
        body = {"fence": fence, "reservation": reservation}
        run: RunRecord = decode(RunRecord, self._call("POST", f"{_run(run_id)}/suggestion", body=body, key=_key(key)))
        return run

    def start(self, run_id: str, fence: int, *, num_gpus: float, key: str) -> AttemptRecord:
        body = {"fence": fence, "num_gpus": num_gpus}
        attempt: AttemptRecord = decode(
            AttemptRecord, self._call("POST", f"{_run(run_id)}/start", body=body, key=_key(key))
        )
        return attempt

    def record_nodes(self, run_id: str, fence: int, nodes: Sequence[str]) -> None:
        self._call("POST", f"{_run(run_id)}/nodes", body={"fence": fence, "nodes": list(nodes)})

    def record_progress(self, run_id: str, fence: int, curve: Sequence[JsonObject]) -> None:
        self._call("POST", f"{_run(run_id)}/progress", body={"fence": fence, "curve": list(curve)})

    def heartbeat(self, owner: Owner, run_ids: Sequence[str], *, lease_seconds: float) -> list[str]:
        body = {"owner": owner, "run_ids": list(run_ids), "lease_seconds": _lease(lease_seconds)}
        lost: list[str] = decode(list[str], self._call("POST", "/heartbeat", body=body))
        return lost

    def interrupt(self, run_id: str, fence: int, *, reason: str, costs: JsonObject, key: str) -> RunRecord:
        body = {"fence": fence, "reason": reason, "costs": costs}
        run: RunRecord = decode(RunRecord, self._call("POST", f"{_run(run_id)}/interrupt", body=body, key=_key(key)))
        return run

    def requeue(self, run_id: str, fence: int, *, reason: str, costs: JsonObject, key: str) -> RunRecord:
        body = {"fence": fence, "reason": reason, "costs": costs}
        run: RunRecord = decode(RunRecord, self._call("POST", f"{_run(run_id)}/requeue", body=body, key=_key(key)))
        return run

    def release(self, run_id: str, fence: int, *, key: str) -> RunRecord:
        run: RunRecord = decode(
            RunRecord, self._call("POST", f"{_run(run_id)}/release", body={"fence": fence}, key=_key(key))
        )
        return run

    def finish(self, run_id: str, fence: int, observation: NewObservation, *, key: str) -> ObservationRecord | None:
        body = {"fence": fence, "observation": observation}
        stored: ObservationRecord | None = decode(
            ObservationRecord | None, self._call("POST", f"{_run(run_id)}/finish", body=body, key=_key(key))
        )
        return stored

    def retry(self, run_id: str, *, by: str, key: str) -> RunRecord:
        run: RunRecord = decode(RunRecord, self._call("POST", f"{_run(run_id)}/retry", body={"by": by}, key=_key(key)))
        return run

    def claim(self, sweep: str, owner: Owner, *, lease_seconds: float, key: str) -> list[RunRecord]:
        body = {
            "owner": owner,
            "lease_seconds": _lease(lease_seconds),
            "dead": [holder for holder in self._owners(sweep) if is_dead(holder)],
        }
        claimed: list[RunRecord] = decode(
            list[RunRecord], self._call("POST", f"{_sweep(sweep)}/claim", body=body, key=_key(key))
        )
        return claimed

    def runs(self, sweep: str, *, states: Sequence[RunState] = ()) -> list[RunRecord]:
        return self._pages(
            RunRecord,
            f"{_sweep(sweep)}/runs",
            after=-1,
            query={"state": [str(state) for state in states]} if states else None,
        )

    def get_run(self, run_id: str) -> RunRecord:
        run: RunRecord = decode(RunRecord, self._call("GET", _run(run_id)))
        return run

    def attempts(self, sweep: str) -> list[AttemptRecord]:
        return self._pages(AttemptRecord, f"{_sweep(sweep)}/attempts", after=-1)

    def observations(self, sweep: str, *, after: int = 0, limit: int | None = None) -> list[ObservationRecord]:
        return self._pages(ObservationRecord, f"{_sweep(sweep)}/observations", after=after, limit=limit)

    def curve(self, run_id: str) -> list[JsonObject]:
        points: list[JsonObject] = self._call("GET", f"{_run(run_id)}/curve")
        return points

    def add_event(
        self, sweep: str, kind: str, *, run_id: str | None, by: str, detail: JsonObject, key: str = ""
    ) -> None:
        body = {"kind": kind, "run_id": run_id, "by": by, "detail": detail}
        # A key of its own, so that trying again does not add it twice.
        self._call("POST", f"{_sweep(sweep)}/events", body=body, key=_key(key or uuid.uuid4().hex))

    def delete_sweep(self, name: str, *, force: bool = False) -> None:
        body = wire.DeleteBody([holder for holder in self._owners(name) if is_dead(holder)], force)
        self._call("POST", f"{_sweep(name)}/delete", body=body)

    def _owners(self, name: str) -> list[Owner]:
        holders: list[Owner] = decode(list[Owner], self._call("GET", f"{_sweep(name)}/owners"))
        return holders

    def events(self, sweep: str, *, after: int = 0, limit: int | None = None) -> list[EventRecord]:
        return self._pages(EventRecord, f"{_sweep(sweep)}/events", after=after, limit=limit)


def _sweep(name: str) -> str:
    """Path of the sweep. A name that no sweep can have is unknown; it is not sent, some would change the path."""
    try:
        check_sweep_name(name)
    except InvalidRequest as error:
        raise UnknownSweep(str(error)) from error
    return f"/sweeps/{name}"


def _run(run_id: str) -> str:
    """Path of the run. Raises `UnknownRun` for what is no run id."""
    try:
        check_sweep_name(sweep_of(run_id))
    except InvalidRequest as error:
        raise UnknownRun(str(error)) from error
    return f"/runs/{run_id}"


def _key(key: str) -> str:
    check_key(key)
    return key


def _lease(seconds: float) -> float | None:
    """JSON has no infinity: null is a lease without end."""
    if not seconds > 0:
        raise InvalidRequest(f"lease_seconds: need a number > 0, got {seconds!r}")
    return seconds if math.isfinite(seconds) else None


def _answer(response: httpx.Response) -> Any:
    """JSON of a good answer; raises the error of the registry that a bad one names."""
    if response.is_success:
        return response.json()
    name, message, diff = _error_body(response)
    if name == "SpecChanged":
        raise SpecChanged(message, diff)
    if name in KNOWN_ERRORS:
        raise getattr(errors, name)(message)
    raise RegistryError(f"registry {response.url}: {message}; is this a metta_sweep registry?")


def _error_body(response: httpx.Response) -> tuple[str, str, str]:
    """Name, message and diff; a proxy's answer has no name."""
    try:
        body: wire.ErrorBody = decode(wire.ErrorBody, response.json())
    except ValueError:
        return "", _problem(response), ""
    return body.error, body.message, body.diff


def _problem(response: httpx.Response) -> str:
    return f"HTTP {response.status_code} {response.text[:200]}"
