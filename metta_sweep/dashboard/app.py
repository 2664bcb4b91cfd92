"""The Dash application, its security headers, and its server."""

from __future__ import annotations

import socket
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

import flask
from dash import Dash
from werkzeug.serving import WSGIRequestHandler, make_server

from metta_sweep.dashboard import shell
from metta_sweep.dashboard.actions import Actions
from metta_sweep.dashboard.callbacks import register
from metta_sweep.dashboard.door import Door
from metta_sweep.dashboard.queries import Queries
from metta_sweep.dashboard.remark_callbacks import register_writing
from metta_sweep.dashboard.shell_callbacks import THEME_COOKIE, register_actions

STYLESHEET = "/bootstrap.min.css"
# The theme of the link, else the remembered one, before anything is drawn: a dark page never starts white.
INDEX = f"""<!DOCTYPE html>
<html lang="en">
<head>
{{%metas%}}
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{%title%}}</title>
<link rel="icon" type="image/svg+xml" href="assets/icon.svg">
{{%css%}}
<script>
  (function () {{
    const told = new URLSearchParams(location.search).get("theme");
    const kept = (document.cookie.match(/(?:^|; ){THEME_COOKIE}=(light|dark)/) || [])[1];
    document.documentElement.dataset.bsTheme = ["light", "dark"].includes(told) ? told : kept || "light";
  }})();
</script>
</head>
<body>{{%app_entry%}}<footer>{{%config%}}{{%scripts%}}{{%renderer%}}</footer></body>
</html>
"""
# Everything comes from this server: the page works without a network, and a text that slipped through could load
# nothing.
CONTENT_POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self' data: blob:; worker-src 'self' blob:; "
    "frame-ancestors 'none'; base-uri 'self'; form-action 'self'"
)


def create_app(queries: Queries, *, door: Door | None = None, actions: Actions | None = None) -> Dash:
    """The application over these queries; `app.server` is its WSGI callable.

    Args:
        door: who may open it; None = who reaches a loopback address under a loopback name.
        actions: what may be done from the page; None = nothing, the callbacks do not even exist.
    """
    server = flask.Flask("metta_sweep.dashboard")
    app = Dash(
        __name__,
        server=server,
        title="metta_sweep",
        index_string=INDEX,
        update_title="",
        serve_locally=True,
        compress=False,
        external_stylesheets=[STYLESHEET],
        assets_folder=str(Path(__file__).parent / "assets"),
        suppress_callback_exceptions=True,
    )
    app.layout = shell.root()
    register(app, queries if actions is None else replace(queries, has_actions=True))
    if actions is not None:
        register_actions(app, queries, actions)
        register_writing(app, queries, actions)
    protect(server, door or Door("127.0.0.1"))
    server.add_url_rule(STYLESHEET, "bootstrap", bootstrap)
    return app


def bootstrap() -> flask.Response:
    """Bootstrap's style sheet as the installed package has it."""
    return flask.send_file(
        Path(str(files("flask_bootstrap"))) / "static/bootstrap5/css/bootstrap.min.css", max_age=86_400
    )


def protect(server: flask.Flask, door: Door) -> None:
    """Every request goes through the door, whatever its route; and the browser is made to load from here only."""

    @server.before_request
    def admit() -> flask.Response | None:
        return door.answer(flask.request)

    @server.after_request
    def add_headers(response: flask.Response) -> flask.Response:
        response.headers["Content-Security-Policy"] = CONTENT_POLICY
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers["Referrer-Policy"] = "no-referrer"
        return response


class SilentHandler(WSGIRequestHandler):
    """Logs no requests: an address may hold the token."""

    def log(self, type: str, message: str, *args: object) -> None:
        """Nothing; what fails inside the application is logged there."""


def serve(app: Dash, host: str, port: int) -> None:
    """Serve until interrupted.

    Raises:
        OSError: the address cannot be used, or the port is taken.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # Bound here because werkzeug ends the whole process when it cannot.
    with socket.create_server((host, port), family=family) as listener:
        server = make_server(host, port, app.server, threaded=True, request_handler=SilentHandler, fd=listener.fileno())
        server.serve_forever()
