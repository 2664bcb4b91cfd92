"""Several processes on one database, some of them killed in the middle of a write."""

from __future__ import annotations

import random
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from metta_sweep.registry.store import SqlRegistry
from tests.metta_sweep.registry.registry_backends import ClosingAll

RESERVE = """
import sys
from metta_sweep.registry.owner import current_owner
from metta_sweep.registry.records import Reservation
from metta_sweep.registry.store import SqlRegistry
registry, owner = SqlRegistry(sys.argv[1]), current_owner()
print("ready", flush=True); sys.stdin.readline()
for n in range(int(sys.argv[3])):
    key = f"{sys.argv[2]}-{n}"
    print(registry.reserve("s", Reservation(None, {"x": n}), owner, lease_seconds=300, key=key).id, flush=True)
"""


@contextmanager
def child(code: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """A process that has opened its registry and waits for a line on its input."""
    with subprocess.Popen(
        [sys.executable, "-c", code, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            yield process
        finally:
            process.kill()


def go(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


def lines(process: subprocess.Popen[str]) -> list[str]:
    """Whole lines until the process ends."""
    assert process.stdout is not None
    return [line.strip() for line in process.stdout.read().splitlines(keepends=True) if line.endswith("\n")]


def test_processes_that_reserve_at_once_get_numbers_without_gap_or_double(tmp_path: Path, opened: ClosingAll) -> None:
    url = f"sqlite:///{tmp_path}/registry.db"
    registry = opened(SqlRegistry(url))
    registry.create_sweep("s", "")
    with child(RESERVE, url, "a", "40") as a, child(RESERVE, url, "b", "40") as b, child(RESERVE, url, "c", "40") as c:
        for process in (a, b, c):
            go(process)
        ids = [run_id for process in (a, b, c) for run_id in lines(process)]
    assert sorted(ids) == sorted(f"s.r.{number}" for number in range(120))
    assert [run.number for run in registry.runs("s")] == list(range(120))


def test_processes_that_create_the_database_at_once_agree_on_it(tmp_path: Path, opened: ClosingAll) -> None:
    url = f"sqlite:///{tmp_path}/registry.db"
    with child(RESERVE, url, "a", "0"), child(RESERVE, url, "b", "0"):
        opened(SqlRegistry(url)).create_sweep("s", "")
    assert [sweep.name for sweep in opened(SqlRegistry(url)).list_sweeps()] == ["s"]


def test_a_writer_killed_at_any_moment_loses_nothing_it_was_told(tmp_path: Path, opened: ClosingAll) -> None:
    url = f"sqlite:///{tmp_path}/registry.db"
    registry = opened(SqlRegistry(url))
    registry.create_sweep("s", "")
    told: list[str] = []
    rng = random.Random(7)
    for attempt in range(4):
        with child(RESERVE, url, f"writer-{attempt}", "100000") as process:
            go(process)
            time.sleep(rng.uniform(0.02, 0.2))
            process.kill()
            told += lines(process)
    numbers = [run.number for run in registry.runs("s")]
    assert numbers == list(range(len(numbers)))
    assert len(told) == len(set(told))
    assert set(told) <= {run.id for run in registry.runs("s")}
    assert len(numbers) - len(told) <= 4, "each kill may hide at most the one answer on its way"
    assert sqlite3.connect(tmp_path / "registry.db").execute("PRAGMA integrity_check").fetchall() == [("ok",)]
