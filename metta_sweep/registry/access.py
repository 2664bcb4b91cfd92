"""Who may call the service: tokens and roles; and how its errors read."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated

from fastapi import Depends, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse

from metta_sweep import errors
from metta_sweep.errors import RegistryError
from metta_sweep.registry.codec import dumps
from metta_sweep.registry.tokens import Role, TokenRecord, TokenStore
from metta_sweep.registry.wire import ErrorBody

STATUS = {
    errors.AccessDenied: 401,
    errors.UnknownSweep: 404,
    errors.UnknownRun: 404,
    errors.SpecChanged: 409,
    errors.NumberTaken: 409,
    errors.Fenced: 409,
    errors.IllegalTransition: 409,
    errors.InvalidRequest: 422,
    errors.RegistryUnavailable: 503,
}
LOCAL_NAMES = ("127.0.0.1", "localhost", "[::1]", "::1")
bearer = HTTPBearer(auto_error=False, description="Token from `token create NAME`.")


class AsciiJson(JSONResponse):
    """JSON in pure ASCII: whatever Unicode a log brought, it can be sent."""

    def render(self, content: object) -> bytes:
        return dumps(content).encode()


class Access:
    """Decides over each request, before anything but its head is read.

    `is_public`: whether others than this machine reach the service; then a token is always needed.
    """

    def __init__(self, tokens: TokenStore, is_public: bool) -> None:
        self._tokens, self._is_public = tokens, is_public

    def admit(self, request: Request) -> None:
        """Let a request in and note whose it is; what it may do is asked by `needs`.

        Raises `AccessDenied`, `HTTPException`.
        """
        scheme, _, credentials = request.headers.get("authorization", "").partition(" ")
        # `x-auth-token` is the header of old clients.
        token = credentials.strip() if scheme.lower() == "bearer" else request.headers.get("x-auth-token", "")
        if not token and not self._is_public and self._tokens.is_empty():
            _refuse_browsers(request)
            request.state.token = None
        else:
            request.state.token = self._tokens.check(token)


def needs(role: Role) -> Callable[..., Awaitable[None]]:
    """A dependency of routes: the request's token has this role, or one that includes it."""

    async def check(request: Request, _: Annotated[HTTPAuthorizationCredentials | None, Depends(bearer)]) -> None:
        record: TokenRecord | None = request.state.token
        if record is not None and not record.role.may(role):
            raise HTTPException(403, f"token {record.id} ({record.name}) is {a(record.role)}'s, this needs {a(role)}'s")

    return check


def a(role: Role) -> str:
    return f"an {role}" if role is Role.ADMIN else f"a {role}"


def _refuse_browsers(request: Request) -> None:
    """Without tokens any web page could speak to this machine's service through its user's browser."""
    if "origin" in request.headers or request.url.hostname not in LOCAL_NAMES:
        advice = "`token create NAME` on its database makes one"
        raise HTTPException(403, f"web pages may not use a registry without tokens; {advice}")


def answer(request: Request, error: Exception) -> Response:
    """The answer to what keeps a request out."""
    return registry_error(request, error) if isinstance(error, RegistryError) else http_error(request, error)


def registry_error(_request: Request, error: Exception) -> Response:
    assert isinstance(error, RegistryError)
    status = next((code for kind, code in STATUS.items() if isinstance(error, kind)), 500)
    headers = {"WWW-Authenticate": "Bearer"} if status == 401 else {"Retry-After": "1"} if status == 503 else {}
    body = ErrorBody(type(error).__name__, str(error), getattr(error, "diff", ""))
    return AsciiJson(body, status_code=status, headers=headers)


def http_error(_request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    names = {401: "AccessDenied", 403: "AccessDenied", 429: "RegistryUnavailable", 503: "RegistryUnavailable"}
    body = ErrorBody(names.get(error.status_code, "InvalidRequest"), str(error.detail))
    return AsciiJson(body, status_code=error.status_code, headers=error.headers)


def validation_error(_request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    problems = "; ".join(f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}" for problem in error.errors())
    return AsciiJson(ErrorBody("InvalidRequest", problems[:2000]), status_code=422)
