"""The registry over HTTP: `create_app` wires routes to a store and holds no rule of its own."""

from __future__ import annotations

import math
import time
import uuid
from collections.abc import Callable, Sequence
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Depends, FastAPI, Header, Path, Query, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from metta_sweep.errors import RegistryError, UnknownSweep
from metta_sweep.registry.access import Access, AsciiJson, answer, http_error, needs, registry_error, validation_error
from metta_sweep.registry.gate import Gate
from metta_sweep.registry.limits import Limits, RateLimiter
from metta_sweep.registry.names import KEY, SWEEP_NAME
from metta_sweep.registry.records import (
    AttemptRecord,
    EventRecord,
    JsonObject,
    ObservationRecord,
    Owner,
    RunRecord,
    RunState,
    SweepRecord,
)
from metta_sweep.registry.schema import SCHEMA_VERSION
from metta_sweep.registry.store import SqlRegistry
from metta_sweep.registry.tokens import Role, TokenStore
from metta_sweep.registry.wire import (
    MAX_PAGE,
    ClaimBody,
    DeleteBody,
    ErrorBody,
    EventBody,
    FinishBody,
    HeartbeatBody,
    InterruptBody,
    NextRun,
    NextRunBody,
    NodesBody,
    Page,
    ProgressBody,
    ReleaseBody,
    RetryBody,
    StartBody,
    StateBody,
    SuggestionBody,
    SweepBody,
    SweepCreated,
    SweepInfo,
)

T = TypeVar("T")
Name = Annotated[str, Path(pattern=f"^{SWEEP_NAME}$", description="sweep name")]
RunId = Annotated[str, Path(pattern=rf"^{SWEEP_NAME}\.r\.[0-9]{{1,9}}$", description="run id, my_sweep.r.0")]
Key = Annotated[
    str, Header(alias="Idempotency-Key", pattern=f"^{KEY}$", description="the same key gives the first answer again")
]
OptionalKey = Annotated[
    str | None, Header(alias="Idempotency-Key", pattern=f"^{KEY}$", description="without one each call is a new one")
]
After = Annotated[int, Query(ge=-1, le=2**31 - 1 - MAX_PAGE, description="`next` of the page before")]
Limit = Annotated[int, Query(ge=1, le=MAX_PAGE)]
ERRORS: dict[int | str, dict[str, Any]] = {
    code: {"model": ErrorBody} for code in (400, 401, 403, 404, 409, 413, 422, 429, 503)
}


def create_app(
    store: SqlRegistry,
    *,
    limits: Limits | None = None,
    is_public: bool = False,
    clock: Callable[[], float] = time.monotonic,
) -> FastAPI:
    """The service over this store.

    Args:
        store: the database; closed by the caller.
        limits: of each client.
        is_public: whether the service is bound to more than this machine; requests then always need a token.
        clock: seconds, for the rate limit.
    """
    limits = limits or Limits()
    access = Access(TokenStore(store.engine), RateLimiter(limits, clock), is_public)
    app = FastAPI(title="metta_sweep registry", version=SCHEMA_VERSION, default_response_class=AsciiJson)
    app.add_middleware(Gate, admit=access.admit, answer=answer, limits=limits)
    app.add_exception_handler(RegistryError, registry_error)
    app.add_exception_handler(HTTPException, http_error)
    app.add_exception_handler(RequestValidationError, validation_error)
    for reading in (_sweep_reading(store), _list_reading(store)):
        app.include_router(reading, dependencies=[Depends(needs(Role.READER))], responses=ERRORS)
    for writing in (_sweep_writing(store), _run_writing(store)):
        app.include_router(writing, dependencies=[Depends(needs(Role.WRITER))], responses=ERRORS)
    app.include_router(_administration(store), dependencies=[Depends(needs(Role.ADMIN))], responses=ERRORS)

    @app.get("/health", tags=["service"])
    def health() -> dict[str, str]:
        """Whether the database answers; needs no token."""
        store.list_sweeps()
        return {"status": "ok", "schema": SCHEMA_VERSION}

    return app


def _page(items: Sequence[T], limit: int, cursor: Callable[[T], int]) -> Page[T]:
    return Page(list(items), cursor(items[-1]) if len(items) == limit else None)


def _seconds(lease_seconds: float | None) -> float:
    return math.inf if lease_seconds is None else lease_seconds


def _sweep_reading(store: SqlRegistry) -> APIRouter:
    router = APIRouter(tags=["read"])

    @router.get("/sweeps")
    def list_sweeps(after: After = 0, limit: Limit = MAX_PAGE) -> Page[SweepRecord]:
        sweeps = store.list_sweeps()[max(after, 0) :][: limit + 1]
        return Page(sweeps[:limit], max(after, 0) + limit if len(sweeps) > limit else None)

    @router.get("/sweeps/{name}")
    def get_sweep(name: Name) -> SweepInfo:
        try:
            sweep = store.get_sweep(name)
        except UnknownSweep as error:
            return SweepInfo(False, "", message=str(error))
        return SweepInfo(True, sweep.wandb_sweep_id, sweep)

    @router.get("/sweeps/{name}/next_number")
    def next_number(name: Name) -> int:
        return store.next_number(name)

    @router.get("/sweeps/{name}/owners")
    def owners(name: Name) -> list[Owner]:
        """Who holds leases; a claimer tells which of them its host knows to be dead."""
        return sorted(store.owners(name), key=lambda owner: (owner.host, owner.pid, owner.started))

    @router.get("/runs/{run_id}")
    def get_run(run_id: RunId) -> RunRecord:
        return store.get_run(run_id)

    @router.get("/runs/{run_id}/curve")
    def curve(run_id: RunId) -> list[JsonObject]:
        return store.curve(run_id)

    return router


def _list_reading(store: SqlRegistry) -> APIRouter:
    router = APIRouter(prefix="/sweeps/{name}", tags=["read lists"])

    @router.get("/runs")
    def runs(
        name: Name,
        state: Annotated[list[RunState], Query()] = [],  # noqa: B006
        after: After = -1,
        limit: Limit = MAX_PAGE,
    ) -> Page[RunRecord]:
        return _page(store.runs_page(name, state, after, limit), limit, lambda run: run.number)

    @router.get("/attempts")
    def attempts(name: Name, after: After = -1, limit: Limit = MAX_PAGE) -> Page[AttemptRecord]:
        """`after` and `limit` count runs."""
        is_last = after + limit + 1 >= store.next_number(name)
        return Page(store.attempts_page(name, after, limit), None if is_last else after + limit)

    @router.get("/observations")
    def observations(name: Name, after: After = 0, limit: Limit = MAX_PAGE) -> Page[ObservationRecord]:
        return _page(
            store.observations(name, after=after, limit=limit), limit, lambda observation: observation.sequence
        )

    @router.get("/events")
    def events(name: Name, after: After = 0, limit: Limit = MAX_PAGE) -> Page[EventRecord]:
        return _page(store.events(name, after=after, limit=limit), limit, lambda event: event.sequence)

    return router


def _sweep_writing(store: SqlRegistry) -> APIRouter:
    router = APIRouter(tags=["write sweeps"])

    @router.post("/sweeps/{name}/create_sweep")
    def create_sweep(name: Name, body: SweepBody) -> SweepCreated:
        wandb = {"wandb_entity": body.entity, "wandb_project": body.project, "wandb_sweep_id": body.wandb_sweep_id}
        sweep, is_new = store.register_sweep(name, body.spec_yaml, wandb, update=body.update)
        return SweepCreated(is_new, sweep.name, sweep)

    @router.post("/sweeps/{name}/state")
    def set_sweep_state(name: Name, body: StateBody) -> SweepRecord:
        return store.set_sweep_state(name, body.state, by=body.by, reason=body.reason, age_seconds=body.age_seconds)

    @router.post("/sweeps/{name}/runs/next")
    def reserve(request: Request, name: Name, body: NextRunBody | None = None, key: OptionalKey = None) -> NextRun:
        """The next run id; with a body also its point, owner and lease. Without a key each call is another run."""
        body = body or NextRunBody()
        owner = body.owner or Owner(request.client.host if request.client else "", "", 0, 0.0)
        seconds = _seconds(body.lease_seconds)
        run = store.reserve(name, body.reservation, owner, lease_seconds=seconds, key=key or uuid.uuid4().hex)
        return NextRun(run.id, run)

    @router.post("/sweeps/{name}/claim")
    def claim(name: Name, body: ClaimBody, key: Key) -> list[RunRecord]:
        return store.claim_from(name, body.owner, body.dead, lease_seconds=_seconds(body.lease_seconds), key=key)

    @router.post("/sweeps/{name}/events")
    def add_event(name: Name, body: EventBody, key: OptionalKey = None) -> None:
        store.add_event(name, body.kind, run_id=body.run_id, by=body.by, detail=body.detail, key=key or "")

    @router.post("/heartbeat")
    def heartbeat(body: HeartbeatBody) -> list[str]:
        """Ids that the owner no longer holds."""
        return store.heartbeat(body.owner, body.run_ids, lease_seconds=_seconds(body.lease_seconds))

    return router


def _administration(store: SqlRegistry) -> APIRouter:
    router = APIRouter(tags=["administration"])

    @router.post("/sweeps/{name}/delete")
    def delete_sweep(name: Name, body: DeleteBody) -> None:
        """Remove a sweep for good; needs an admin's token."""
        store.delete_from(name, body.dead, force=body.force)

    return router


def _run_writing(store: SqlRegistry) -> APIRouter:
    router = APIRouter(prefix="/runs/{run_id}", tags=["write runs"])

    @router.post("/suggestion")
    def replace_suggestion(run_id: RunId, body: SuggestionBody, key: Key) -> RunRecord:
        return store.replace_suggestion(run_id, body.fence, body.reservation, key=key)

    @router.post("/start")
    def start(run_id: RunId, body: StartBody, key: Key) -> AttemptRecord:
        return store.start(run_id, body.fence, num_gpus=body.num_gpus, key=key)

    @router.post("/nodes")
    def record_nodes(run_id: RunId, body: NodesBody) -> None:
        store.record_nodes(run_id, body.fence, body.nodes)

    @router.post("/progress")
    def record_progress(run_id: RunId, body: ProgressBody) -> None:
        store.record_progress(run_id, body.fence, body.curve)

    @router.post("/interrupt")
    def interrupt(run_id: RunId, body: InterruptBody, key: Key) -> RunRecord:
        return store.interrupt(run_id, body.fence, reason=body.reason, costs=body.costs, key=key)

    @router.post("/requeue")
    def requeue(run_id: RunId, body: InterruptBody, key: Key) -> RunRecord:
        return store.requeue(run_id, body.fence, reason=body.reason, costs=body.costs, key=key)

    @router.post("/release")
    def release(run_id: RunId, body: ReleaseBody, key: Key) -> RunRecord:
        return store.release(run_id, body.fence, key=key)

    @router.post("/finish")
    def finish(run_id: RunId, body: FinishBody, key: Key) -> ObservationRecord | None:
        """null: the fence is old, the run goes on elsewhere and the result is kept as an event."""
        return store.finish(run_id, body.fence, body.observation, key=key)

    @router.post("/retry")
    def retry(run_id: RunId, body: RetryBody, key: Key) -> RunRecord:
        return store.retry(run_id, by=body.by, key=key)

    return router
