"""Disks and databases that cannot keep a promise are refused, full ones are survived, old ones are upgraded."""

from __future__ import annotations

import json
import shutil
import sqlite3
import subprocess
import sys
from collections import namedtuple
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy.exc import OperationalError

from metta_sweep.errors import RegistryError, RegistryUnavailable
from metta_sweep.registry.client import HttpRegistry
from metta_sweep.registry.database import _file_system, open_engine, parse_url, refuse_network_file_system
from metta_sweep.registry.migrate import _upgrade
from metta_sweep.registry.open import open_registry
from metta_sweep.registry.reader import open_reader
from metta_sweep.registry.records import Reservation
from metta_sweep.registry.schema import SCHEMA_VERSION, metadata
from metta_sweep.registry.store import SqlRegistry
from tests.metta_sweep.registry.registry_backends import HERE, ClosingAll
from tests.metta_sweep.registry.registry_postgres import Postgres
from trainables import faults

Partition = namedtuple("Partition", "mountpoint fstype")
SCHEMAS = Path(__file__).parent / "schemas"


def test_the_registry_of_a_directory_is_a_file_in_it(tmp_path: Path) -> None:
    open_registry(tmp_path / "new", None).create_sweep("s", "")
    assert (tmp_path / "new" / "registry.db").is_file()


def test_connections_that_died_while_they_rested_are_replaced(
    fresh_postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("metta_sweep.registry.database.REST_SECONDS", 0.0)
    store = SqlRegistry(fresh_postgres.url)
    store.create_sweep("s", "")
    fresh_postgres.stop()
    fresh_postgres.start()
    assert store.next_number("s") == 0
    fresh_postgres.stop()
    fresh_postgres.start()
    assert store.reserve("s", Reservation(None, {}), HERE, lease_seconds=300, key="k").id == "s.r.0"
    store.close()


def test_a_uri_is_the_service_and_anything_else_is_refused(tmp_path: Path) -> None:
    assert isinstance(open_registry(tmp_path, "http://127.0.0.1:8800"), HttpRegistry)
    with pytest.raises(RegistryError, match="need http"):
        open_registry(tmp_path, "ftp://x")


@pytest.mark.parametrize("url", ["mysql://localhost/x", "duckdb:///x"])
def test_other_databases_are_refused(url: str) -> None:
    with pytest.raises(RegistryError, match="need sqlite:///"):
        SqlRegistry(url)


def test_a_database_that_cannot_be_reached_is_told() -> None:
    with pytest.raises(RegistryUnavailable, match="connection"):
        SqlRegistry("postgresql+psycopg://nobody@127.0.0.1:1/none?connect_timeout=2")


def test_writes_survive_power_loss(tmp_path: Path, opened: ClosingAll) -> None:
    """WAL with synchronous=FULL: a commit is on the disk when it returns."""
    registry = opened(SqlRegistry(f"sqlite:///{tmp_path}/registry.db"))
    with registry.engine.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2
        assert connection.exec_driver_sql("PRAGMA foreign_keys").scalar() == 1


# Network file systems

PARTITIONS = [
    Partition("/", "ext4"),
    Partition("/mnt", "ext4"),
    Partition("/mnt/shared", "nfs4"),
    Partition("/data", "ext4"),
    Partition("/data", "fuse.sshfs"),
]


@pytest.mark.parametrize(
    ("path", "kind"),
    [("/home/me", "ext4"), ("/mnt/shared/sweeps", "nfs4"), ("/mnt/shared2", "ext4"), ("/data/x", "fuse.sshfs")],
)
def test_the_innermost_and_last_mount_holds_a_path(path: str, kind: str) -> None:
    assert _file_system(Path(path), PARTITIONS) == kind


def test_network_file_systems_are_refused_with_the_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("psutil.disk_partitions", lambda all: PARTITIONS)  # a real NFS mount needs a server
    with pytest.raises(RegistryError, match=r"nfs4.*settings.sweep_server_uri"):
        refuse_network_file_system(Path("/mnt/shared/train_dir"))
    with pytest.raises(RegistryError, match="sshfs"):
        refuse_network_file_system(Path("/data/train_dir"))
    refuse_network_file_system(Path("/home/me/train_dir"))


# Full disks

FILL = """
import os, subprocess, sys
from pathlib import Path
disk = Path(sys.argv[1])
subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(disk)], check=True)
from metta_sweep.errors import RegistryUnavailable
from metta_sweep.registry.outbox import Outbox
from metta_sweep.registry.records import Owner, Reservation
from metta_sweep.registry.store import SqlRegistry
owner = Owner("a", "m.1.p", 1, 1.0)
registry = SqlRegistry(f"sqlite:///{disk}/registry.db")
registry.create_sweep("s", "")
outbox = Outbox(disk / "outbox")
(disk / "ballast").write_bytes(bytes(os.statvfs(disk).f_bavail * os.statvfs(disk).f_bsize - 600_000))
told, kept, error = [], 0, ""
for number in range(10_000):
    try:
        point, key = Reservation(None, {"x": "y" * 2000}), f"k{number}"
        told.append(registry.reserve("s", point, owner, lease_seconds=300, key=key).number)
        detail = {"number": number}
        outbox.put("add_event", {"sweep": "s", "kind": "note", "run_id": None, "by": "me", "detail": detail})
        kept += 1
    except (RegistryUnavailable, OSError) as problem:
        error = str(problem)
        break
(disk / "ballast").unlink()
assert [run.number for run in registry.runs("s")][: len(told)] == told == list(range(len(told)))
registry.reserve("s", Reservation(None, {}), owner, lease_seconds=300, key="after")
delivered = outbox.deliver(registry)
assert len(delivered) == kept and all(delivery.refusal is None for delivery in delivered)
with registry.engine.connect() as connection:
    assert connection.exec_driver_sql("PRAGMA integrity_check").scalar() == "ok"
print(len(told), "|", error)
"""


def test_a_full_disk_is_told_damages_nothing_and_goes_on_when_there_is_space(tmp_path: Path) -> None:
    if subprocess.run(["unshare", "-rm", "true"], capture_output=True).returncode != 0:
        pytest.skip("this kernel lets nobody mount a small disk of their own")
    result = subprocess.run(
        ["unshare", "-rm", sys.executable, "-c", FILL, str(tmp_path)], capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr
    told, error = result.stdout.strip().split(" | ")
    assert int(told) > 3
    assert "full" in error or "No space" in error


def test_a_commit_without_space_leaves_no_trace(tmp_path: Path, opened: ClosingAll) -> None:
    registry = opened(SqlRegistry(f"sqlite:///{tmp_path}/registry.db"))
    registry.create_sweep("s", "")
    faults.activate("registry.commit:disk_full@1")
    try:
        with pytest.raises(RegistryUnavailable, match="No space left"):
            registry.reserve("s", Reservation(0, {}), HERE, lease_seconds=300, key="k")
        assert registry.next_number("s") == 0
        assert registry.reserve("s", Reservation(0, {}), HERE, lease_seconds=300, key="k").number == 0
    finally:
        faults.activate("")


# Schemas


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_the_migrations_make_what_the_tables_say(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path, opened: ClosingAll
) -> None:
    url = request.getfixturevalue("postgres").url if kind == "postgresql" else f"sqlite:///{tmp_path}/registry.db"
    registry = opened(SqlRegistry(url))
    with registry.engine.connect() as connection:
        assert (
            compare_metadata(
                MigrationContext.configure(connection, opts={"compare_type": kind == "postgresql"}), metadata
            )
            == []
        )


def test_a_newer_schema_is_refused(tmp_path: Path) -> None:
    SqlRegistry(f"sqlite:///{tmp_path}/registry.db").close()
    with sqlite3.connect(tmp_path / "registry.db") as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(RegistryError, match="has schema 9999"):
        SqlRegistry(f"sqlite:///{tmp_path}/registry.db")


def test_an_upgrade_that_fails_half_way_leaves_the_old_database(tmp_path: Path) -> None:
    """A table that is in the way of the third step: the first two are rolled back."""
    with sqlite3.connect(tmp_path / "registry.db") as connection:
        connection.execute("CREATE TABLE attempts (x)")
    with pytest.raises(OperationalError, match="attempts"):
        _upgrade(open_engine(parse_url(f"sqlite:///{tmp_path}/registry.db")))
    with sqlite3.connect(tmp_path / "registry.db") as connection:
        assert connection.execute("SELECT name FROM sqlite_master").fetchall() == [("attempts",)]


@pytest.mark.parametrize("version", [path.stem for path in sorted(SCHEMAS.glob("*.db"))])
def test_the_database_of_every_released_schema_opens_as_it_was(
    version: str, tmp_path: Path, opened: ClosingAll
) -> None:
    shutil.copy(SCHEMAS / f"{version}.db", tmp_path / "registry.db")
    expected = json.loads((SCHEMAS / f"{version}.json").read_text())
    registry = opened(SqlRegistry(f"sqlite:///{tmp_path}/registry.db"))
    assert [[run.id, run.state, run.params, run.attempts] for run in registry.runs("s")] == expected["runs"]
    assert [[seen.sequence, seen.run_id, seen.observation.score] for seen in registry.observations("s")] == expected[
        "observations"
    ]
    assert registry.curve("s.r.0") == expected["curve"]
    assert [event.kind for event in registry.events("s")] == expected["events"]
    assert registry.next_number("s") == len(expected["runs"])
    registry.reserve("s", Reservation(len(expected["runs"]), {}), HERE, lease_seconds=300, key="new")
    registry.remark("s", run_id="s.r.0", note="of before", tags=["old"], by="me")
    assert [one.note for one in registry.remarks("s")] == ["of before"]


@pytest.mark.parametrize("version", [path.stem for path in sorted(SCHEMAS.glob("*.db"))])
def test_a_reader_reads_every_released_schema_and_the_sweep_keeps_its_id(
    version: str, tmp_path: Path, opened: ClosingAll
) -> None:
    shutil.copy(SCHEMAS / f"{version}.db", tmp_path / "registry.db")
    reader = open_reader(tmp_path, None)
    before = reader.get_sweep("s")
    assert reader.remarks("s") == []
    assert reader.list_sweeps() == [before]
    assert len(before.id) == 32
    assert opened(SqlRegistry(f"sqlite:///{tmp_path}/registry.db")).get_sweep("s") == before


def test_todays_schema_has_its_file() -> None:
    assert (SCHEMAS / f"{SCHEMA_VERSION}.db").exists(), (
        "run tests/metta_sweep/registry/make_schema_file.py before a release"
    )
