"""Clients and services of this version and of the one before understand each other: `conversation.json` holds what
they say.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from metta_sweep.registry.client import HttpRegistry
from metta_sweep.registry.service import create_app
from metta_sweep.registry.store import SqlRegistry
from tests.metta_sweep.registry.registry_backends import Clock
from tests.metta_sweep.registry.registry_conversation import Player, described, hold, known, steady


@pytest.fixture
def store(empty_database: Path, tmp_path: Path) -> Iterator[SqlRegistry]:
    path = shutil.copy(empty_database, tmp_path / "registry.db")
    with closing(SqlRegistry(f"sqlite:///{path}", Clock())) as store:
        yield store


def test_the_description_of_the_routes_is_as_it_was(store: SqlRegistry) -> None:
    assert described(store) == known()["description"]


def test_the_client_says_what_a_service_of_before_knows_and_reads_its_answers() -> None:
    told = known()
    player = Player(told["said"])
    results = hold(HttpRegistry("http://127.0.0.1:8800", transport=player))
    expected = [{key: said[key] for key in ("verb", "path", "key", "body")} for said in told["said"]]
    assert player.asked == expected
    assert results == told["results"]


def test_the_service_answers_a_client_of_before_as_it_did(store: SqlRegistry) -> None:
    web = TestClient(create_app(store), base_url="http://127.0.0.1:8800")
    for said in known()["said"]:
        headers = {"Idempotency-Key": said["key"]} if said["key"] else {}
        answer = web.request(said["verb"], said["path"], json=said["body"], headers=headers)
        assert (answer.status_code, steady(answer.json())) == (said["status"], said["answer"]), said


def test_the_embedded_registry_answers_as_the_service_does(store: SqlRegistry) -> None:
    assert hold(store) == known()["results"]
