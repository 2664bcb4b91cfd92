"""Whatever the OpenAPI description allows, and much that it does not, gets an answer that is no server error."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode

from metta_sweep.registry.records import NewObservation, Reservation
from metta_sweep.registry.service import create_app
from metta_sweep.registry.store import SqlRegistry
from metta_sweep.registry.tokens import Role, TokenStore
from tests.metta_sweep.registry.registry_backends import HERE, wipe

FEW = settings(max_examples=3, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
MANY = settings(max_examples=50, deadline=None, suppress_health_check=list(HealthCheck))


@pytest.fixture(params=["sqlite", "postgresql"])
def store(request: pytest.FixtureRequest) -> SqlRegistry:
    """A sweep with runs in several states, so that random requests get somewhere."""
    store = (
        request.getfixturevalue("sqlite_registry")
        if request.param == "sqlite"
        else SqlRegistry(request.getfixturevalue("postgres").url)
    )
    wipe(store)
    store.create_sweep("0", "")
    for number in range(3):
        store.reserve("0", Reservation(None, {"x": 1}), HERE, lease_seconds=300, key=f"r{number}")
    store.start("0.r.0", 1, num_gpus=0, key="s0")
    store.start("0.r.1", 1, num_gpus=0, key="s1")
    store.finish("0.r.1", 1, NewObservation("completed", 1.0, 1.0, 1.0), key="f1")
    return store


def ask(store: SqlRegistry, how_many: settings) -> None:
    """Requests of every operation, drawn from its description, right and wrong ones."""
    headers = {"Authorization": f"Bearer {TokenStore(store.engine).create('tester', Role.WRITER)}"}
    answered: Counter[int] = Counter()
    description = schemathesis.openapi.from_asgi("/openapi.json", create_app(store))
    for operation in (result.ok() for result in description.get_all_operations()):  # type: ignore[union-attr]
        for mode in (
            (GenerationMode.POSITIVE, GenerationMode.NEGATIVE) if operation.path != "/health" else ()
        ):  # which takes nothing

            @how_many
            @given(case=operation.as_strategy(generation_mode=mode))
            def answer(case: Any) -> None:
                response = case.call(headers=headers)
                answered[response.status_code] += 1
                assert response.status_code < 500, (case.as_curl_command(), response.text)

            answer()
    assert min(answered[200], answered[404], answered[422]) > 0, "the requests got past the door"


@pytest.mark.parametrize("store", ["sqlite"], indirect=True)
def test_no_request_is_a_server_error(store: SqlRegistry) -> None:
    ask(store, FEW)


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_no_request_of_many_is_a_server_error(store: SqlRegistry) -> None:
    ask(store, MANY)
