"""The registry's implementations, each behind the same fixture: what one promises, all keep."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from metta_sweep.registry.api import Registry
from metta_sweep.registry.client import HttpRegistry
from metta_sweep.registry.store import SqlRegistry
from tests.metta_sweep.registry.registry_backends import Backend, Clock, ClosingAll, served, wipe
from tests.metta_sweep.registry.registry_postgres import Postgres, binary, running_postgres


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An SQLite file with the schema and nothing else; copying it is faster than making one."""
    path = tmp_path_factory.mktemp("empty") / "registry.db"
    SqlRegistry(f"sqlite:///{path}").close()
    return path


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    if binary("initdb") is None:
        pytest.skip("PostgreSQL is not installed: apt-get install postgresql")
    with running_postgres() as server:
        yield server


@pytest.fixture
def fresh_postgres(postgres: Postgres) -> Iterator[Postgres]:
    """The server with empty tables, for tests that stop it or keep much."""
    with closing(SqlRegistry(postgres.url)) as store:
        wipe(store)
    yield postgres
    if postgres.process is None:
        postgres.start()


@pytest.fixture(scope="session")
def service(empty_database: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[SqlRegistry, str, Clock]]:
    """One service for all tests: its store, URL and clock."""
    path = shutil.copy(empty_database, tmp_path_factory.mktemp("service") / "registry.db")
    clock = Clock()
    store = SqlRegistry(f"sqlite:///{path}", clock)
    with served(store) as url:
        yield store, url, clock
    store.close()


@contextmanager
def sqlite_backend(request: pytest.FixtureRequest) -> Iterator[Backend]:
    clock = Clock()
    path = shutil.copy(request.getfixturevalue("empty_database"), request.getfixturevalue("tmp_path") / "registry.db")
    with ClosingAll() as opened:
        yield Backend(lambda: opened(SqlRegistry(f"sqlite:///{path}", clock)), clock)


@contextmanager
def postgresql_backend(request: pytest.FixtureRequest) -> Iterator[Backend]:
    clock = Clock()
    url = request.getfixturevalue("postgres").url
    with ClosingAll() as opened:
        first = SqlRegistry(url, clock)
        wipe(first)
        opened(first)
        yield Backend(lambda: opened(SqlRegistry(url, clock)), clock)


@contextmanager
def http_backend(request: pytest.FixtureRequest) -> Iterator[Backend]:
    store, url, clock = request.getfixturevalue("service")
    wipe(store)
    clock.now = Clock().now
    with ClosingAll() as opened:
        yield Backend(lambda: opened(HttpRegistry(url)), clock)


BACKENDS = {"sqlite": sqlite_backend, "postgresql": postgresql_backend, "http": http_backend}


@pytest.fixture
def opened() -> Iterator[ClosingAll]:
    """Closes what the test opens through it."""
    with ClosingAll() as opened:
        yield opened


@pytest.fixture(params=list(BACKENDS))
def backend(request: pytest.FixtureRequest) -> Iterator[Backend]:
    with BACKENDS[request.param](request) as backend:
        yield backend


@pytest.fixture
def registry(backend: Backend) -> Registry:
    """A registry with the empty sweep `s`."""
    registry = backend.open()
    registry.create_sweep("s", "metric: reward")
    return registry


@pytest.fixture
def sqlite_registry(request: pytest.FixtureRequest) -> Iterator[Registry]:
    """As `registry`, where one implementation and the real time are enough."""
    path = shutil.copy(request.getfixturevalue("empty_database"), request.getfixturevalue("tmp_path") / "registry.db")
    with closing(SqlRegistry(f"sqlite:///{path}")) as registry:
        registry.create_sweep("s", "metric: reward")
        yield registry
