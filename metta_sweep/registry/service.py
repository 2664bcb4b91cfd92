"""The registry over HTTP: `create_app` makes a route of each method that `api.py` declares, and holds no rule itself.

By hand are the routes of old Cogweb clients, whose answers have a shape of their own, and two lists whose pages are not
cut by an attribute of their items.
"""

from __future__ import annotations

import math
import uuid
from collections.abc import Iterator, Sequence
from inspect import Parameter, Signature
from typing import Annotated, Any, get_args

from fastapi import APIRouter, Depends, FastAPI, Header, Path, Query, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, create_model
from starlette.exceptions import HTTPException

from metta_sweep.errors import RegistryError, UnknownSweep
from metta_sweep.registry import wire
from metta_sweep.registry.access import Access, AsciiJson, answer, http_error, needs, registry_error, validation_error
from metta_sweep.registry.api import Registry
from metta_sweep.registry.gate import Gate
from metta_sweep.registry.limits import ServiceLimits
from metta_sweep.registry.names import KEY, SWEEP_NAME
from metta_sweep.registry.operation import Operation, operations
from metta_sweep.registry.records import AttemptRecord, Owner, RunState, SweepRecord
from metta_sweep.registry.schema import SCHEMA_VERSION
from metta_sweep.registry.store import SqlRegistry
from metta_sweep.registry.tokens import Role, TokenStore
from metta_sweep.registry.wire import MAX_PAGE, NextRun, NextRunBody, Page, SweepBody, SweepCreated, SweepInfo

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
States = Annotated[list[RunState], Query(alias=wire.STATES)]
BY_HAND = ("get_sweep", "reserve", "list_sweeps", "attempts")
CODES = (400, 401, 403, 404, 409, 413, 422, 429, 503)
ERRORS: dict[int | str, dict[str, Any]] = {code: {"model": wire.ErrorBody} for code in CODES}


def create_app(store: SqlRegistry, *, limits: ServiceLimits | None = None, is_public: bool = False) -> FastAPI:
    """The service over this store, which the caller closes.

    `is_public`: whether it is bound to more than this machine; requests then always need a token.
    """
    access = Access(TokenStore(store.engine), is_public)
    app = FastAPI(title="metta_sweep registry", version=SCHEMA_VERSION, default_response_class=AsciiJson)
    app.add_middleware(Gate, admit=access.admit, answer=answer, limits=limits or ServiceLimits())
    app.add_exception_handler(RegistryError, registry_error)
    app.add_exception_handler(HTTPException, http_error)
    app.add_exception_handler(RequestValidationError, validation_error)
    app.include_router(_old_routes(store), responses=ERRORS)
    app.include_router(_lists(store), dependencies=[Depends(needs(Role.READER))], responses=ERRORS)
    for operation in operations(Registry):
        if operation.name not in BY_HAND:
            _add_route(app, store, operation)

    @app.get("/health", tags=["service"])
    def health() -> dict[str, str]:
        """Whether the database answers; needs no token."""
        store.list_sweeps()
        return {"status": "ok", "schema": SCHEMA_VERSION}

    return app


def _add_route(app: FastAPI, store: SqlRegistry, operation: Operation) -> None:
    """The route of one method: FastAPI reads what it takes and gives from the signature that is made here."""
    do = getattr(store, operation.method)

    def route(**given: Any) -> AsciiJson:
        subject = [given.pop(word) for word in ("name", "run_id") if word in given]
        sent = dict(given.pop("body", ()))
        answer = do(*subject, **sent, **{name: value for name, value in given.items() if value is not None})
        return AsciiJson(_page(operation, answer, given["limit"]) if operation.cursor else answer)

    result = Page[get_args(operation.result)[0]] if operation.cursor else operation.result  # type: ignore[misc]
    route.__signature__ = Signature(list(_taken(operation)), return_annotation=result)  # type: ignore[attr-defined]
    route.__name__, route.__doc__ = operation.name, operation.note
    role = Role.READER if operation.verb == "GET" else Role.ADMIN if operation.needs_admin else Role.WRITER
    app.add_api_route(
        operation.path,
        route,
        methods=[operation.verb],
        tags=[_tag(operation)],
        dependencies=[Depends(needs(role))],
        responses=ERRORS,
    )


def _taken(operation: Operation) -> Iterator[Parameter]:
    """What a request brings."""
    if operation.subject:
        yield _parameter("run_id", RunId) if "{run_id}" in operation.path else _parameter("name", Name)
    if operation.verb == "POST":
        yield _parameter("body", _body(operation))
    if "key" in operation.parameters:
        yield _parameter("key", OptionalKey, None) if operation.key_is_optional else _parameter("key", Key)
    if "states" in operation.parameters:
        yield _parameter("states", States, [])
    if operation.cursor:
        yield _parameter("after", After, operation.parameters["after"].default)
        yield _parameter("limit", Limit, MAX_PAGE)


def _parameter(name: str, kind: Any, default: Any = Parameter.empty) -> Parameter:
    return Parameter(name, Parameter.KEYWORD_ONLY, annotation=kind, default=default)


def _body(operation: Operation) -> type[BaseModel]:
    """A write's arguments but its subject and key, in JSON."""
    word = operation.path.rpartition("/")[2]
    fields: dict[str, Any] = {
        name: (one.annotation, ... if one.default is Parameter.empty else one.default)
        for name, one in operation.content.items()
    }
    return create_model("EventBody" if word == "events" else f"{word.title()}Body", **fields)


def _tag(operation: Operation) -> str:
    if operation.verb == "GET":
        return "read lists" if operation.cursor else "read"
    if operation.needs_admin:
        return "administration"
    return "write runs" if operation.path.startswith("/runs") else "write sweeps"


def _page(operation: Operation, items: Sequence[Any], limit: int) -> Page[Any]:
    return Page(list(items), getattr(items[-1], operation.cursor) if len(items) == limit else None)


def _lists(store: SqlRegistry) -> APIRouter:
    router = APIRouter()

    @router.get("/sweeps", tags=["read"])
    def list_sweeps(after: After = 0, limit: Limit = MAX_PAGE) -> Page[SweepRecord]:
        sweeps = store.list_sweeps(after=max(after, 0), limit=limit + 1)
        return Page(sweeps[:limit], max(after, 0) + limit if len(sweeps) > limit else None)

    @router.get("/sweeps/{name}/attempts", tags=["read lists"])
    def attempts(name: Name, after: After = -1, limit: Limit = MAX_PAGE) -> Page[AttemptRecord]:
        """`after` and `limit` count runs."""
        is_last = after + limit + 1 >= store.next_number(name)
        return Page(store.attempts(name, after=after, limit=limit), None if is_last else after + limit)

    return router


def _old_routes(store: SqlRegistry) -> APIRouter:
    router = APIRouter()

    @router.get("/sweeps/{name}", tags=["read"], dependencies=[Depends(needs(Role.READER))])
    def get_sweep(name: Name) -> SweepInfo:
        try:
            sweep = store.get_sweep(name)
        except UnknownSweep as error:
            return SweepInfo(False, "", message=str(error))
        return SweepInfo(True, sweep.wandb_sweep_id, sweep)

    writing: dict[str, Any] = {"tags": ["write sweeps"], "dependencies": [Depends(needs(Role.WRITER))]}

    @router.post("/sweeps/{name}/create_sweep", **writing)
    def create_sweep(name: Name, body: SweepBody) -> SweepCreated:
        wandb = {"wandb_entity": body.entity, "wandb_project": body.project, "wandb_sweep_id": body.wandb_sweep_id}
        sweep, is_new = store.register_sweep(name, body.spec_yaml, update=body.update, **wandb)
        return SweepCreated(is_new, sweep.name, sweep)

    @router.post("/sweeps/{name}/runs/next", response_model=NextRun, **writing)
    def reserve(request: Request, name: Name, body: NextRunBody | None = None, key: OptionalKey = None) -> AsciiJson:
        """The next run id; with a body also its point, owner and lease. Without a key each call is another run."""
        body = body or NextRunBody()
        owner = body.owner or Owner(request.client.host if request.client else "", "", 0, 0.0)
        seconds = math.inf if body.lease_seconds is None else body.lease_seconds
        run = store.reserve(name, body.reservation, owner, lease_seconds=seconds, key=key or uuid.uuid4().hex)
        return AsciiJson(NextRun(run.id, run))

    return router
