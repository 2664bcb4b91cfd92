"""The registry's implementations, each behind the same fixture: what one promises, all keep."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from registry_backends import Backend, Clock

from metta_sweep.registry.api import Registry
from metta_sweep.registry.store import SqlRegistry


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=["sqlite"])
def backend(request: pytest.FixtureRequest, tmp_path: Path, clock: Clock) -> Iterator[Backend]:
    opened: list[Registry] = []

    def open_sqlite() -> Registry:
        opened.append(SqlRegistry(f"sqlite:///{tmp_path}/registry.db", clock))
        return opened[-1]

    yield Backend(open_sqlite, clock)
    for registry in opened:
        registry.close()


@pytest.fixture
def registry(backend: Backend) -> Registry:
    """A registry with the empty sweep `s`."""
    registry = backend.open()
    registry.create_sweep("s", "metric: reward")
    return registry
