"""Disks that are full or read-only: one line with the file and what to do, and what was there stays as it was."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from metta_sweep.cli.main import main
from metta_sweep.driver.files import copy_events
from metta_sweep.driver.single import read_score
from metta_sweep.registry.open import open_registry
from metta_sweep.tracking.cursor import Cursor, CursorFile
from tests.metta_sweep.dashboard.simulated import Plan, simulate
from trainables.programs import load_points

ROOT = Path(__file__).parents[3]
# One process that has imported what the commands need; each of them runs in a child of it.
ON_SMALL_DISKS = """
import contextlib, io, json, os, subprocess, sys
from pathlib import Path
import metta_sweep.analysis.recommend, metta_sweep.dashboard.report, metta_sweep.driver.plan, metta_sweep.launch.render
from metta_sweep.cli.main import main

def try_there(disk, state, words):
    before = {path.name: path.read_bytes() for path in disk.iterdir()}
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(disk)], check=True)
    for name, content in before.items():
        (disk / name).write_bytes(content)
    if state == "full":
        with (disk / "ballast").open("wb", buffering=0) as file:
            try:
                while file.write(bytes(4096)) == 4096:
                    pass
            except OSError:
                pass
    else:
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    os.chdir(disk.parent)
    said = io.StringIO()
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
        code = main(words)
    ours = ("ballast", "registry.db-shm", "registry.db-wal", "registry.db.lock")
    after = {path.name: path.read_bytes() for path in disk.iterdir() if path.is_file() and path.name not in ours}
    after = {name: content for name, content in after.items() if content or name in before}  # names go on a full disk
    return {"code": code, "said": said.getvalue(), "is_same": after == before}

for line in sys.stdin:
    child = os.fork()
    if child == 0:
        disk, *case = json.loads(line)
        try:
            answer = try_there(Path(disk), *case)
        except BaseException as error:
            answer = {"code": -1, "said": repr(error), "is_same": False}
        print(json.dumps(answer), flush=True)
        os._exit(0)
    os.waitpid(child, 0)
"""
SAYS = {
    "full": "No space left on device; free some space",
    "read-only": "Read-only file system; choose a place that may be written",
}


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Data directory with a finished sweep `s`."""
    directory = tmp_path_factory.mktemp("data")
    simulate(directory, Plan(name="s", num_runs=12))
    return directory


OnADisk = Callable[..., tuple[int, str]]


@pytest.fixture(scope="module")
def on_a_small_disk() -> Iterator[OnADisk]:
    """Exit code and what a command said, on a disk of 4 MB with what is in the directory `disk`."""
    if subprocess.run(["unshare", "-rm", "true"], capture_output=True).returncode != 0:
        pytest.skip("this kernel lets nobody mount a small disk of their own")
    command = ["unshare", "-rm", sys.executable, "-c", ON_SMALL_DISKS]
    environ = {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"}
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        pipes = process.stdin, process.stdout

        def ask(disk: Path, state: str, *words: str) -> tuple[int, str]:
            pipes[0].write(json.dumps([str(disk), state, words]) + "\n")
            pipes[0].flush()
            answer = json.loads(pipes[1].readline())
            assert answer["is_same"], answer["said"]
            return answer["code"], answer["said"]

        yield ask


@pytest.mark.parametrize("state", SAYS)
@pytest.mark.parametrize(
    ("words", "file"),
    [
        (["best", "sweep_name=s", "data_dir={data}", "--output-dir", "{disk}", "--force"], "s_best.yaml"),
        (["best", "sweep_name=s", "data_dir={data}", "--output-dir", "{disk}/patches"], "patches"),
        (["report", "sweep_name=s", "data_dir={data}", "--output", "{disk}/report.html"], "report.html"),
        (["cluster", "up", "--provider", "aws", "--dry-run", "--data-dir", "{disk}"], "cluster"),
    ],
)
def test_a_file_that_cannot_be_written_is_one_line_and_exit_code_1(
    words: list[str], file: str, state: str, sweep: Path, tmp_path: Path, on_a_small_disk: OnADisk
) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    (disk / "s_best.yaml").write_text("# an older patch\n")
    (disk / "report.html").write_text("<!doctype html>")
    code, said = on_a_small_disk(disk, state, *(word.format(data=sweep, disk=disk) for word in words))
    assert code == 1, said
    (line,) = said.splitlines()
    assert line.startswith(f"error: {disk}/{file}")
    assert SAYS[state] in line


@pytest.mark.parametrize("state", SAYS)
@pytest.mark.parametrize("words", [["run", "sweep_name=new", "sweep=quick"], ["stop", "sweep_name=s"]])
def test_a_registry_on_such_a_disk_is_told(
    words: list[str], state: str, sweep: Path, tmp_path: Path, on_a_small_disk: OnADisk
) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    if words[0] == "stop":
        (disk / "registry.db").write_bytes((sweep / "registry.db").read_bytes())
    code, said = on_a_small_disk(disk, state, *words, f"data_dir={disk}")
    assert code == 5, said
    (line,) = said.splitlines()
    assert line.startswith(f"error: registry {disk}")
    assert "; " in line


@pytest.mark.parametrize("state", SAYS)
def test_a_sweep_on_such_a_disk_is_read(state: str, sweep: Path, tmp_path: Path, on_a_small_disk: OnADisk) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    (disk / "registry.db").write_bytes((sweep / "registry.db").read_bytes())
    assert on_a_small_disk(disk, state, "best", "sweep_name=s", f"data_dir={disk}") == (0, "")


# Files that a full disk, a kill or somebody's editor left behind


@pytest.mark.parametrize("content", [b"trainer: [", b"\xff\xfe", b"", b"- a\n"])
def test_a_damaged_configuration_of_the_best_run_is_told(
    content: bytes, sweep: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["best", "sweep_name=s", f"data_dir={sweep}", "--json"]) == 0
    winner = json.loads(capsys.readouterr().out)["best"][0]["id"]
    file = sweep / "sweep" / "s" / "runs" / winner / "train_config_overrides.yaml"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
    try:
        assert main(["best", "sweep_name=s", f"data_dir={sweep}", "--output-dir", str(tmp_path)]) == 2
    finally:
        file.unlink()
    assert f"error: {file}: is damaged; move it away" in capsys.readouterr().err


@pytest.mark.parametrize("tail", [b'{"seq', b"\x00" * 50, b'{"sequence": "x"}\n', b"[]\n"])
def test_the_log_of_events_goes_on_behind_its_last_whole_line(tail: bytes, tmp_path: Path) -> None:
    registry = open_registry(tmp_path, None)
    registry.create_sweep("s", "")
    path = tmp_path / "events.jsonl"
    copy_events(registry, "s", path)
    with path.open("ab") as file:
        file.write(tail)
    registry.add_event("s", "note", run_id=None, by="me", detail={})
    copy_events(registry, "s", path)
    assert [json.loads(line)["kind"] for line in path.read_text().splitlines()] == ["created", "note"]
    registry.close()


@pytest.mark.parametrize("content", ["", "{", "[]", '{"offline": {"sequence": 1}}', '{"offline": 3}'])
def test_a_damaged_cursor_of_the_mirror_confirms_nothing(content: str, tmp_path: Path) -> None:
    file = CursorFile(tmp_path)
    file.path.write_text(content)
    assert file.load("offline") == Cursor()
    file.save("offline", Cursor(sequence=4))
    assert file.load("offline").sequence == 4


@pytest.mark.parametrize("content", ["", "{score: ", "score: high", "[]"])
def test_a_damaged_score_of_the_random_policy_is_measured_again(content: str, tmp_path: Path) -> None:
    (tmp_path / "random_policy.yaml").write_text(content)
    assert read_score(tmp_path / "random_policy.yaml", "hash") is None


def test_a_torn_line_of_a_programs_curve_is_left_out(tmp_path: Path) -> None:
    whole = {"env_steps": 1, "train": {"wall_seconds": 1.0, "cpu_seconds": 1.0, "gpu_seconds": 0.0}, "score": 2.0}
    (tmp_path / "curve.jsonl").write_text(json.dumps(whole) + '\n{"env_st\n')
    assert [point.score for point in load_points(tmp_path / "curve.jsonl")] == [2.0]
