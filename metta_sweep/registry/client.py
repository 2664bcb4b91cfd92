"""The registry behind a service, spoken to over HTTP."""

from __future__ import annotations

import logging
import random
import time
import uuid
from collections.abc import Callable, Sequence
from typing import Any

import httpx

from metta_sweep import errors
from metta_sweep.errors import OldService, RegistryError, RegistryUnavailable, SpecChanged, UnknownSweep
from metta_sweep.registry import wire
from metta_sweep.registry.api import Registry
from metta_sweep.registry.codec import decode, dumps
from metta_sweep.registry.names import check_lease, check_sweep_name
from metta_sweep.registry.operation import Operation
from metta_sweep.registry.records import JsonObject, RemarkRecord, RunRecord, RunState, SweepRecord
from metta_sweep.registry.trouble import without_password
from trainables import faults

log = logging.getLogger(__name__)

RETRIED_STATUS = frozenset({429, 500, 502, 503, 504})
PATIENCE_SECONDS = 30.0
NO_ROUTE = (404, 405)  # a sweep or run that is not there has errors of its own
REFUSALS = (errors.NumberTaken, errors.Fenced, errors.IllegalTransition, errors.InvalidRequest, errors.AccessDenied)
KNOWN_ERRORS = {kind.__name__: kind for kind in (UnknownSweep, errors.UnknownRun, *REFUSALS)}


class HttpRegistry(Registry):
    """The registry over the service's routes; safe to share between threads.

    Every call may be repeated without harm (writes carry their key), so whatever fails on the way is tried again, after
    pauses that double and are drawn at random, until `patience_seconds` are over.

    Args:
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
        address = httpx.URL(uri.rstrip("/"))
        self._http = httpx.Client(
            base_url=address.copy_with(userinfo=b""),  # httpx writes the address of each request into its log
            auth=(address.username, address.password) if address.userinfo else None,
            headers={"Authorization": f"Bearer {token}"} if token else {},
            timeout=httpx.Timeout(15.0, connect=5.0),
            transport=transport,
            verify=uri.startswith("https://"),  # loading certificates takes longer than all else here
        )
        self._shown = without_password(uri)
        self._patience_seconds = patience_seconds
        self._sleep = sleep
        self._rng = random.Random()

    def close(self) -> None:
        self._http.close()

    def _perform(self, operation: Operation, arguments: dict[str, Any]) -> Any:
        path = operation.path_of(arguments)
        if operation.cursor:
            return self._pages(operation, path, **arguments)
        if "lease_seconds" in arguments:
            check_lease(arguments["lease_seconds"])  # JSON has none that is no number
        # A key of its own where none was given, so that trying again does not write twice.
        key = operation.key_of(arguments) or (uuid.uuid4().hex if "key" in operation.parameters else "")
        body = arguments if operation.verb == "POST" else None
        return _result(operation, self._call(operation.verb, path, body=body, key=key))

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
        self, operation: Operation, path: str, after: int, limit: int | None, states: Sequence[RunState] = ()
    ) -> list[Any]:
        asked = {wire.STATES: list(states)} if states else {}
        items: list[Any] = []
        cursor: int | None = after
        while cursor is not None and (limit is None or len(items) < limit):
            size = wire.MAX_PAGE if limit is None else min(wire.MAX_PAGE, limit - len(items))
            page = self._call("GET", path, query={**asked, "after": cursor, "limit": size})
            items += decode(operation.result, page["items"])
            cursor = page["next"]
        return items

    def create_sweep(self, name: str, spec_yaml: str, *, update: bool = False, **wandb: str) -> SweepRecord:
        check_sweep_name(name)
        entity, project = wandb.get("wandb_entity", ""), wandb.get("wandb_project", "")
        body = wire.SweepBody(project, entity, wandb.get("wandb_sweep_id", ""), spec_yaml, update)
        answer = self._call("POST", f"/sweeps/{name}/create_sweep", body=body)
        return decode(wire.SweepCreated, answer).sweep

    def remarks(self, sweep: str) -> list[RemarkRecord]:
        try:
            return super().remarks(sweep)
        except OldService:  # nobody can have written any there
            return []

    def requeue(self, run_id: str, fence: int, *, reason: str, costs: JsonObject, key: str) -> RunRecord:
        try:
            return super().requeue(run_id, fence, reason=reason, costs=costs, key=key)
        except OldService:  # it can do the same but for the lease: the run is anybody's until the owner claims it
            return self.interrupt(run_id, fence, reason=reason, costs=costs, key=key)


def _result(operation: Operation, answer: Any) -> Any:
    """What a method returns; routes of old clients wrap it."""
    if operation.name == "reserve":
        return decode(wire.NextRun, answer).run
    if operation.name == "get_sweep":
        info = decode(wire.SweepInfo, answer)
        if info.sweep is None:
            raise UnknownSweep(info.message)
        return info.sweep
    return decode(operation.result, answer)


def _answer(response: httpx.Response) -> Any:
    """JSON of a good answer; raises the error of the registry that a bad one names."""
    if response.is_success:
        return response.json()
    name, message, diff = _error_body(response)
    if name == "SpecChanged":
        raise SpecChanged(message, diff)
    if name == "InvalidRequest" and response.status_code in NO_ROUTE:
        raise OldService(
            f"registry {response.url}: it knows no such {response.request.method} request; upgrade the service first, "
            "then the drivers (or is its address wrong?)"
        )
    if name in KNOWN_ERRORS:
        raise KNOWN_ERRORS[name](message)
    raise RegistryError(f"registry {response.url}: {message}; is this a metta_sweep registry?")


def _error_body(response: httpx.Response) -> tuple[str, str, str]:
    """Name, message and diff; a proxy's answer has no name."""
    try:
        body = decode(wire.ErrorBody, response.json())
    except ValueError:
        return "", _problem(response), ""
    return body.error, body.message, body.diff


def _problem(response: httpx.Response) -> str:
    return f"HTTP {response.status_code} {response.text[:200]}"
