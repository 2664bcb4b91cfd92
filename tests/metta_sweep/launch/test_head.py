"""The registry on a head whose data directory is a network file system: kept elsewhere, taken back on the next head."""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing
from pathlib import Path

from metta_sweep.launch.head import back_up, kept_registry, local_registry


def write(database: Path, value: int) -> None:
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("CREATE TABLE IF NOT EXISTS t (x INTEGER)")
        connection.execute("INSERT INTO t VALUES (?)", [value])
        connection.commit()


def values(database: Path) -> list[int]:
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        return [row[0] for row in connection.execute("SELECT x FROM t ORDER BY x")]


def has_no_table(database: Path) -> bool:
    """Whether the copy is still to come, or was made before the table."""
    try:
        return not values(database)
    except sqlite3.OperationalError:
        return True


def test_the_registry_is_copied_while_it_is_in_use(tmp_path: Path) -> None:
    local, copy = tmp_path / "head" / "registry.db", tmp_path / "registry.db"
    with kept_registry(local, copy, every_seconds=0.05) as registry:
        write(registry, 1)
        deadline = time.monotonic() + 10
        while has_no_table(copy) and time.monotonic() < deadline:
            time.sleep(0.02)
        assert values(copy) == [1]
        write(registry, 2)
    assert values(copy) == [1, 2], "once more at the end"


def test_the_next_head_goes_on_where_the_last_one_stopped(tmp_path: Path) -> None:
    copy = tmp_path / "registry.db"
    with kept_registry(tmp_path / "a" / "registry.db", copy) as registry:
        write(registry, 1)
    with kept_registry(tmp_path / "b" / "registry.db", copy) as registry:
        assert values(registry) == [1]
        write(registry, 2)
    assert values(copy) == [1, 2]


def test_a_reader_never_sees_half_a_copy(tmp_path: Path) -> None:
    local, copy = tmp_path / "l" / "registry.db", tmp_path / "registry.db"
    local.parent.mkdir()
    write(local, 1)
    back_up(local, copy)
    before = copy.stat().st_ino
    with copy.open("rb") as reader:
        write(local, 2)
        back_up(local, copy)
        assert reader.read(16) == b"SQLite format 3\x00"
    assert copy.stat().st_ino != before, "replaced, not written over"


def test_each_data_directory_has_a_registry_of_its_own() -> None:
    assert local_registry(Path("/shared/a")) != local_registry(Path("/shared/b"))
