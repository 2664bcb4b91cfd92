"""Reading a registry that somebody else writes, or that is not there yet."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from metta_sweep.errors import RegistryError, UnknownSweep
from metta_sweep.registry.api import Registry
from metta_sweep.registry.reader import SqliteReader, open_reader
from metta_sweep.registry.store import SqlRegistry
from tests.metta_sweep.registry.registry_backends import reserve, served
from tests.metta_sweep.registry.registry_examples import DONE, running


def test_a_directory_without_a_registry_reads_as_one_without_sweeps_and_stays_empty(tmp_path: Path) -> None:
    with closing(open_reader(tmp_path, None)) as reader:
        assert reader.list_sweeps() == []
        with pytest.raises(UnknownSweep, match=r"sweep_name='s': no such sweep; .*registry\.db holds none"):
            reader.get_sweep("s")
    assert list(tmp_path.iterdir()) == []


def test_a_file_without_tables_reads_as_one_without_sweeps(tmp_path: Path) -> None:
    sqlite3.connect(tmp_path / "registry.db").execute("PRAGMA user_version = 1").connection.close()
    with closing(open_reader(tmp_path, None)) as reader:
        assert reader.list_sweeps() == []


def test_a_reader_sees_what_the_writer_wrote(sqlite_registry: Registry, tmp_path: Path) -> None:
    run_id, fence = running(sqlite_registry)
    sqlite_registry.finish(run_id, fence, DONE, key="f")
    reserve(sqlite_registry)
    with closing(open_reader(tmp_path, None)) as reader:
        assert isinstance(reader, SqliteReader)
        assert reader.list_sweeps() == sqlite_registry.list_sweeps()
        assert reader.get_sweep("s") == sqlite_registry.get_sweep("s")
        assert reader.runs("s") == sqlite_registry.runs("s")
        assert reader.get_run(run_id) == sqlite_registry.get_run(run_id)
        assert reader.attempts("s") == sqlite_registry.attempts("s")
        assert reader.observations("s") == sqlite_registry.observations("s")
        assert reader.curve(run_id) == list(DONE.curve)
        assert reader.events("s") == sqlite_registry.events("s")


def test_a_reader_cannot_write(sqlite_registry: Registry, tmp_path: Path) -> None:
    with (
        closing(SqliteReader(tmp_path / "registry.db")) as reader,
        closing(reader._connect()) as connection,
        pytest.raises(sqlite3.OperationalError, match="readonly"),
    ):
        connection.execute("DELETE FROM sweeps")
    assert [sweep.name for sweep in sqlite_registry.list_sweeps()] == ["s"]


def test_a_file_of_something_else_is_told(tmp_path: Path) -> None:
    (tmp_path / "registry.db").write_bytes(b"no database, but long enough to be taken for one" * 20)
    with closing(open_reader(tmp_path, None)) as reader, pytest.raises(RegistryError, match="not a database"):
        reader.list_sweeps()


def test_with_an_address_the_service_is_read(sqlite_registry: SqlRegistry, tmp_path: Path) -> None:
    with served(sqlite_registry) as url, closing(open_reader(tmp_path / "elsewhere", url)) as reader:
        assert [sweep.name for sweep in reader.list_sweeps()] == ["s"]
