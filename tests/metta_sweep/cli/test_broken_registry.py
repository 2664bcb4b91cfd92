"""Whatever lies where the registry should be: every command says what and where in one line, what to do, and exit code
5.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from metta_sweep.cli.main import main
from metta_sweep.config import load_sweep_job
from metta_sweep.registry import database, reader
from metta_sweep.registry.open import open_registry

ROOT = Path(__file__).parents[3]
READERS = ("status", "best", "report", "plan", "sync", "dashboard")
WRITERS = ("run", "stop", "retry", "import-wandb")
NOBODY = 65534


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory with the registry of one sweep; made once, for that takes longer than most of the tests."""
    return make_registry(tmp_path_factory.mktemp("whole") / "train_dir")


@pytest.fixture
def data_dir(whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it, where commands look."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NUM_CPUS", "2")
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr(database, "BUSY_TIMEOUT_SECONDS", 0.2)
    monkeypatch.setattr(reader, "BUSY_SECONDS", 0.2)
    return shutil.copytree(whole, tmp_path / "train_dir")


def make_registry(directory: Path) -> Path:
    registry = open_registry(directory, None)
    words = ["sweep_name=s", "sweep=quick", f"data_dir={directory}"]
    registry.create_sweep("s", load_sweep_job(words, {"NUM_CPUS": "2"}).spec_yaml)
    registry.close()
    (directory / "sweep" / "s").mkdir(parents=True)
    (directory / "sweep" / "s" / "config.yaml").write_text("{}\n")
    return directory


def no_database(file: Path) -> None:
    file.write_text("notes of mine\n" * 100)


def cut_off(file: Path) -> None:
    os.truncate(file, file.stat().st_size // 2)


def directory_in_its_place(file: Path) -> None:
    file.unlink()
    file.mkdir()


def another_programs(file: Path) -> None:
    file.unlink()
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("CREATE TABLE alembic_version (version_num TEXT)")
        connection.execute("INSERT INTO alembic_version VALUES ('f5e1c2d3a4b6')")
        connection.execute("CREATE TABLE experiments (id INTEGER)")
        connection.commit()


def newer(file: Path) -> None:
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
        connection.commit()


def emptied(file: Path) -> None:
    os.truncate(file, 0)


def overwritten_inside(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[1000 : len(content) - 1000] = os.urandom(len(content) - 2000)
    file.write_bytes(content)


BROKEN: dict[Callable[[Path], None], str] = {
    no_database: "is not a database; bring back a copy",
    cut_off: "is damaged; bring back a copy",
    overwritten_inside: "is damaged; bring back a copy",
    directory_in_its_place: "is a directory; move it away",
    another_programs: "belongs to another program (it has the tables alembic_version, experiments); choose another "
    "data_dir=",
    newer: "has schema 9999",
}


def words_of(command: str) -> list[str]:
    extra = {
        "run": ["sweep=quick"],
        "plan": ["sweep=quick"],
        "import-wandb": ["--entity", "e"],
        "dashboard": ["--port", "1"],
    }
    return [command, "sweep_name=s", *extra.get(command, [])]


def said(capsys: pytest.CaptureFixture[str]) -> str:
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line]
    return line


@pytest.mark.parametrize("command", [*READERS, *WRITERS])
@pytest.mark.parametrize("damage", BROKEN)
def test_a_registry_that_cannot_be_used_is_one_line(
    command: str, damage: Callable[[Path], None], data_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    damage(data_dir / "registry.db")
    assert main(words_of(command)) == 5
    line = said(capsys)
    assert line.startswith(f"error: registry {data_dir}/registry.db: ")
    assert BROKEN[damage] in line


@pytest.mark.parametrize("command", ["serve", "token"])
@pytest.mark.parametrize("damage", BROKEN)
def test_so_is_one_that_the_service_should_keep(
    command: str, damage: Callable[[Path], None], data_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    damage(data_dir / "registry.db")
    extra = ["list"] if command == "token" else ["--port", "0"]
    assert main([command, *extra, "--database-url", f"sqlite:///{data_dir}/registry.db"]) == 5
    assert BROKEN[damage] in said(capsys)


def test_what_belongs_to_another_program_stays_as_it_is(data_dir: Path) -> None:
    file = data_dir / "registry.db"
    another_programs(file)
    file.chmod(0o644)
    before = file.read_bytes()
    assert main(words_of("run")) == 5
    assert file.read_bytes() == before
    assert file.stat().st_mode & 0o777 == 0o644
    assert not (data_dir / "registry.db-wal").exists()


@pytest.mark.parametrize("command", WRITERS)
def test_a_registry_that_was_emptied_is_not_taken_for_a_new_one(
    command: str, data_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    emptied(data_dir / "registry.db")
    assert main(words_of(command)) == 5
    assert "registry.db: is empty, though sweeps lie beside it; bring back a copy of it, or delete it" in said(capsys)


def test_a_reader_says_that_it_is_empty(data_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    emptied(data_dir / "registry.db")
    assert main(words_of("status")) == 2
    assert "registry.db is empty; bring back a copy" in said(capsys)


@pytest.mark.parametrize("command", ["status", "best", "stop", "run"])
def test_a_lock_that_does_not_end_is_told(command: str, data_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with closing(sqlite3.connect(data_dir / "registry.db", isolation_level=None)) as other:
        other.execute("PRAGMA locking_mode = EXCLUSIVE")
        other.execute("BEGIN EXCLUSIVE")
        assert main(words_of(command)) == 5
    assert "registry.db: locked by another process; wait, or end that process" in said(capsys)


def test_whoever_prepares_the_schema_and_hangs_does_not_hang_all(
    tmp_path: Path, data_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import fcntl

    other = tmp_path / "other"
    other.mkdir()
    with (other / "registry.db.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert main(["run", "sweep_name=s", "sweep=quick", f"data_dir={other}"]) == 5
    assert "another process prepares it and does not end" in said(capsys)


def test_half_a_log_costs_its_last_writes_and_nothing_else(tmp_path: Path, data_dir: Path) -> None:
    """A machine that lost its power: the log ends in the middle of a commit."""
    registry = open_registry(data_dir, None)
    registry.create_sweep("kept", "")
    kept = (data_dir / "registry.db-wal").stat().st_size
    registry.create_sweep("torn", "")
    other = tmp_path / "copy"
    other.mkdir()
    for end in ("", "-wal"):
        shutil.copy(data_dir / f"registry.db{end}", other / f"registry.db{end}")
    registry.close()
    os.truncate(other / "registry.db-wal", kept + 1000)
    copy = open_registry(other, None)
    assert [sweep.name for sweep in copy.list_sweeps()] == ["s", "kept"]
    copy.close()


def test_a_data_directory_that_is_a_file_is_told(
    tmp_path: Path, data_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    assert main(["run", "sweep_name=s", "sweep=quick", f"data_dir={tmp_path}/file"]) == 5
    assert f"registry {tmp_path}/file: File exists; it is in the way" in said(capsys)


def test_any_name_of_a_data_directory_will_do(tmp_path: Path, data_dir: Path) -> None:
    odd = make_registry(tmp_path / "a?b %20d")
    assert main(["status", "sweep_name=s", f'data_dir="{odd}"']) == 0


# Another user's files, and disks that are read-only: what only a process of its own can try


def as_another_user(directory: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """A command on files that are somebody else's, by a user whom modes hold back.

    Root, who runs many a test, gives up that power for it.
    """
    command = [sys.executable, "-m", "metta_sweep", *words]
    if os.geteuid() == 0:
        for path in (directory, *directory.rglob("*")):
            os.chown(path, NOBODY, NOBODY)
        command = ["setpriv", "--bounding-set=-dac_override,-dac_read_search,-fowner,-chown", *command]
    environ = {**os.environ, "PYTHONPATH": str(ROOT), "NUM_CPUS": "2"}
    return subprocess.run(
        command, cwd=directory.parent, env=environ, capture_output=True, text=True, check=False, timeout=120
    )


@pytest.mark.parametrize(
    ("mode", "directory_mode", "words", "text"),
    [
        (0o000, 0o755, ["status"], "this user may not read it; ask its owner"),
        (0o000, 0o755, ["run", "sweep=quick"], "this user may not read it; ask its owner"),
        (0o444, 0o755, ["stop"], "may not be written; make it writable"),
        (0o444, 0o000, ["status"], "Permission denied; choose another place, or ask its owner"),
        (0o444, 0o000, ["run", "sweep=quick"], "Permission denied; choose another place, or ask its owner"),
    ],
)
def test_a_registry_of_another_user_is_told(
    mode: int, directory_mode: int, words: list[str], text: str, data_dir: Path
) -> None:
    (data_dir / "registry.db").chmod(mode)
    data_dir.chmod(directory_mode)
    try:
        done = as_another_user(data_dir, words[0], "sweep_name=s", f"data_dir={data_dir}", *words[1:])
    finally:
        data_dir.chmod(0o755)
    assert done.returncode == 5, done.stderr
    assert text in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_a_registry_that_may_be_read_is_read_by_another_user(data_dir: Path) -> None:
    """Nobody writes it, and SQLite may not make the index of its log: it needs none."""
    (data_dir / "registry.db").chmod(0o444)
    data_dir.chmod(0o555)
    done = as_another_user(data_dir, "status", "sweep_name=s", f"data_dir={data_dir}")
    assert (done.returncode, done.stderr) == (0, "")
