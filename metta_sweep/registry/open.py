"""Which registry a sweep uses."""

from __future__ import annotations

import os
from pathlib import Path

from sqlalchemy import URL

from metta_sweep.errors import RegistryError
from metta_sweep.registry.api import Registry
from metta_sweep.registry.store import SqlRegistry
from metta_sweep.registry.trouble import without_password


def open_registry(
    data_dir: Path, sweep_server_uri: str | None, token: str | None = None, patience_seconds: float | None = None
) -> Registry:
    """The service at `sweep_server_uri`, or `{data_dir}/registry.db` when that is None.

    Args:
        data_dir: on a local disk; made when missing.
        token: of the service; METTA_SWEEP_TOKEN when None.
        patience_seconds: how long one call to a service may try; None = as long as suits a driver.

    Raises:
        RegistryError: another kind of address, or a network file system.
        RegistryUnavailable: cannot be reached now.
    """
    if sweep_server_uri is not None and sweep_server_uri.startswith(("http://", "https://")):
        # Its HTTP library is slow to import, and few have a service.
        from metta_sweep.registry.client import PATIENCE_SECONDS, HttpRegistry

        known = token or os.environ.get("METTA_SWEEP_TOKEN")
        return HttpRegistry(sweep_server_uri, known, patience_seconds=patience_seconds or PATIENCE_SECONDS)
    if sweep_server_uri is None or sweep_server_uri.startswith("sqlite:"):  # see `cli/head.py`
        return SqlRegistry(sweep_server_uri or sqlite_url(data_dir))
    setting = f"settings.sweep_server_uri={without_password(sweep_server_uri)}"
    raise RegistryError(f"{setting}: need http://... or https://..., or null for {data_dir}/registry.db")


def sqlite_url(data_dir: Path) -> URL:
    """Address of the embedded registry of this directory, whose name may hold anything."""
    return URL.create("sqlite", database=str(data_dir.resolve() / "registry.db"))
