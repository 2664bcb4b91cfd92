"""Runs the service with uvicorn."""

from __future__ import annotations

import contextlib
import ipaddress
import logging
import socket
from collections.abc import Callable

import uvicorn

from metta_sweep.errors import RegistryError
from metta_sweep.registry.connections import guarded
from metta_sweep.registry.limits import ServiceLimits
from metta_sweep.registry.service import create_app
from metta_sweep.registry.store import SqlRegistry
from metta_sweep.registry.tokens import TokenStore

log = logging.getLogger(__name__)


class Server(uvicorn.Server):
    """A server that says where it listens, once it does."""

    def __init__(self, config: uvicorn.Config, on_ready: Callable[[str], None]) -> None:
        super().__init__(config)
        self._on_ready = on_ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            host, port = self.servers[0].sockets[0].getsockname()[:2]
            self._on_ready(f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}")


def serve(
    database_url: str,
    *,
    host: str = "127.0.0.1",
    port: int = 8800,
    limits: ServiceLimits | None = None,
    on_ready: Callable[[str], None] = log.info,
) -> None:
    """Serve the registry until a signal ends it; requests under way are answered first.

    Args:
        database_url: `sqlite:////absolute/file.db` or `postgresql+psycopg://user@host/database`.
        port: TCP port; 0 picks a free one.
        on_ready: gets the service's URL when it listens.

    Raises:
        RegistryError: others than this machine reach the address and there is no token, or the port is taken.
    """
    with contextlib.closing(SqlRegistry(database_url)) as store:
        server = make_server(store, host=host, port=port, limits=limits, on_ready=on_ready)
        try:
            server.run()
        except SystemExit as error:  # uvicorn's way to say that it could not bind
            raise RegistryError(f"cannot serve on {host}:{port}; is the port taken? --port chooses another") from error


def make_server(
    store: SqlRegistry,
    *,
    host: str = "127.0.0.1",
    port: int = 8800,
    limits: ServiceLimits | None = None,
    on_ready: Callable[[str], None] = log.info,
) -> Server:
    """The server, not yet running. Raises `RegistryError` for a public address without a token."""
    is_public = not is_loopback(host)
    if is_public and not TokenStore(store.engine).has_active():
        advice = "`token create NAME` on this database makes one"
        raise RegistryError(f"host={host}: reachable from other machines, and there is no token; {advice}")
    app = create_app(store, limits=limits, is_public=is_public)
    config = uvicorn.Config(
        app,
        host=host,
        port=port,
        http=guarded(limits or ServiceLimits()),
        ws="none",
        backlog=256,  # so many are accepted in one go, before any of them can be told to wait
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=10,
        limit_concurrency=1000,
    )
    return Server(config, on_ready)


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches the address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
