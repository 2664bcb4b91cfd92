"""Who may open the dashboard: under which host names, and with a token where other machines reach it."""

from __future__ import annotations

import ipaddress
import re
import secrets
import socket
from collections.abc import Sequence
from html import escape
from urllib.parse import quote, urlencode

import flask

from metta_sweep.errors import ConfigError
from metta_sweep.registry.serve import is_loopback

HOST = re.compile(r"(?P<name>\[[0-9a-fA-F:.]+\]|[^\s:@/\[\]]+)(?::\d+)?")
FORM_BYTES = 4096
FORM = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>metta_sweep</title>
<style>body{{font:16px sans-serif;max-width:30em;margin:15vh auto}}input,button{{font:inherit}}</style></head>
<body><h1>metta_sweep</h1><form method="post" action="{action}">
<p><label for="token">Token, as shown where the dashboard was started</label></p>
<p><input id="token" name="token" type="password" autocomplete="current-password" autofocus required>
<button>Open</button></p><p role="alert">{problem}</p></form></body></html>
"""


class Door:
    """Lets requests in, or answers them itself. Every route of the server is behind it.

    A request shows the token as `Authorization: Bearer TOKEN`, or once, in the form or as `?token=TOKEN`; for that it
    gets a cookie that is worth nothing after the server has ended.

    Args:
        host: address that the server is bound to.
        token: that must be shown; "" = none, which only a loopback address may have.
        names: further names of the server, for example a proxy's. Other names are refused: a foreign web site could
            reach it through a name of its own that resolves to this machine.

    Raises:
        ConfigError: others than this machine reach the address, and there is no token.
    """

    def __init__(self, host: str, token: str = "", names: Sequence[str] = ()) -> None:
        self._is_public = not is_loopback(host)
        if self._is_public and not token:
            raise ConfigError(f"--host {host}: reachable from other machines, and there is no token")
        own = (host, socket.gethostname()) if self._is_public else (host,)
        self._names = frozenset(name.lower() for name in (*own, *names))
        self._token = token
        self._cookie = f"metta_sweep_{secrets.token_hex(4)}"  # browsers share cookies between the ports of a host
        self._session = secrets.token_urlsafe(32)

    def answer(self, request: flask.Request) -> flask.Response | None:
        """What a request gets that does not come in; None for one that does."""
        if not self._knows(request.host):
            return flask.Response("unknown host", status=403)
        if not self._token or self._has_shown(request):
            return None
        shown = _shown_once(request)
        if shown and _equal(shown, self._token):
            return self._let_in(request)
        return self._ask(request, "This is not the token." if shown else "")

    def _knows(self, host: str) -> bool:
        """Whether a request may name this host; an address of digits cannot be made to resolve to another machine."""
        match = HOST.fullmatch(host)
        name = match["name"].strip("[]").rstrip(".").lower() if match else ""
        return is_loopback(name) or (bool(name) and name in self._names) or (self._is_public and _is_address(name))

    def _has_shown(self, request: flask.Request) -> bool:
        scheme, _, bearer = request.headers.get("Authorization", "").partition(" ")
        is_bearer = scheme.lower() == "bearer" and _equal(bearer.strip(), self._token)
        return is_bearer or _equal(request.cookies.get(self._cookie, ""), self._session)

    def _let_in(self, request: flask.Request) -> flask.Response:
        """To the same page again, without the token in its address."""
        response = flask.redirect(_address(request), code=303)
        response.set_cookie(self._cookie, self._session, httponly=True, samesite="Strict", secure=request.is_secure)
        response.headers["Cache-Control"] = "no-store"
        return response  # type: ignore[return-value]  # flask's redirect is typed as werkzeug's response

    def _ask(self, request: flask.Request, problem: str) -> flask.Response:
        """A form for people; programs read the status."""
        page = FORM.format(action=escape(_address(request)), problem=problem)
        response = flask.Response(page, status=401, mimetype="text/html")
        response.headers["WWW-Authenticate"] = "Bearer"
        response.headers["Cache-Control"] = "no-store"
        return response


def _shown_once(request: flask.Request) -> str:
    """The token of a form or an address; a body is read only when it can be that form."""
    is_form = request.method == "POST" and request.mimetype == "application/x-www-form-urlencoded"
    if is_form and (request.content_length or 0) <= FORM_BYTES:
        return request.form.get("token", "")
    return request.args.get("token", "") if request.method == "GET" else ""


def _address(request: flask.Request) -> str:
    """The page that was requested, on this server, without a token; never `//another.host`."""
    rest = urlencode([(key, value) for key, value in request.args.items(multi=True) if key != "token"])
    return "/" + quote(request.path.lstrip("/\\")) + (f"?{rest}" if rest else "")


def _equal(shown: str, secret: str) -> bool:
    """In a time that does not tell how much of it was right."""
    return secrets.compare_digest(shown.encode("utf-8", "replace"), secret.encode("utf-8", "replace"))


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
