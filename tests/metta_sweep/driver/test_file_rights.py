"""For whom files are: nothing that a sweep, a run or a reader writes is anybody else's, whatever the umask of the shell
and of Ray's nodes.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from metta_sweep.cli.main import main
from metta_sweep.registry.open import open_registry
from tests.metta_sweep.driver.drive import Environ

pytestmark = pytest.mark.ray
SWEEP_FILE = """
metric: score
num_samples: 2
method: random
parameters: {x: {min: 0.0, max: 1.0}}
"""
PROGRAM = """
import os, sys
from metta_sweep import report
open(os.path.join(os.environ["METTA_SWEEP_DIRECTORY"], "output.txt"), "w").write("of the program")
report(score=1.0, step=1)
"""


@pytest.fixture(scope="module", autouse=True)
def careless_umask() -> Iterator[None]:
    """Before Ray starts: its workers have it, too."""
    before = os.umask(0o022)
    yield
    os.umask(before)


@pytest.fixture
def words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, environ: Environ) -> list[str]:
    """What `run` and `train` are told: a program that writes a file and reports."""
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.chdir(tmp_path)
    sweeps = tmp_path / "configs" / "sweep"
    sweeps.mkdir(parents=True)
    (sweeps / "program.yaml").write_text(SWEEP_FILE)
    (tmp_path / "program.py").write_text(PROGRAM)
    return ["trainable=command", f"trainable.command=python {tmp_path}/program.py"]


def rights_of(directory: Path) -> dict[Path, int]:
    return {
        path: stat.S_IMODE(path.lstat().st_mode) for path in (directory, *directory.rglob("*")) if not path.is_symlink()
    }


def test_what_is_written_is_for_its_user_alone(tmp_path: Path, words: list[str]) -> None:
    assert main(["run", "sweep_name=s", "sweep=program", "wandb=offline", *words]) == 0
    assert main(["train", "run=t", *words, "metric=score"]) == 0
    assert main(["best", "sweep_name=s", "--output-dir", "patches"]) == 0
    assert main(["report", "sweep_name=s"]) == 0
    assert main(["cluster", "up", "--provider", "aws", "--dry-run"]) == 0
    found = rights_of(tmp_path / "train_dir") | rights_of(tmp_path / "patches")
    names = {path.name for path in found}
    assert {
        "registry.db",
        "driver.log",
        "events.jsonl",
        "train.log",
        "output.txt",
        "wandb",
        "report.html",
        "s_best.yaml",
        "metta-sweep.yaml",
    } <= names
    assert {path: oct(mode) for path, mode in found.items() if mode & 0o077} == {}


def test_a_run_whose_directory_cannot_be_made_is_told(
    tmp_path: Path, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    assert main(["train", "run=t", f"data_dir={tmp_path}/file", "metric=score", *words]) == 1
    assert f"error: {tmp_path}/file/t: Not a directory; a file is in the way" in capsys.readouterr().err


@pytest.mark.parametrize(("share", "rights"), [("none", 0o700), ("group", 0o770)])
def test_what_was_there_gets_the_same_rights_and_that_is_said(
    share: str, rights: int, tmp_path: Path, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """A data directory of an earlier version that others read; one that its user had alone until `share_files` named
    the group.
    """
    old = tmp_path / "train_dir" / "sweep" / "s" / "runs" / "old"
    old.mkdir(parents=True)
    (old / "train.log").touch()
    open_registry(tmp_path / "train_dir", None).close()
    for path in rights_of(tmp_path / "train_dir"):
        path.chmod(0o755 if path.is_dir() else 0o644)
    assert main(["run", "sweep_name=s", "sweep=program", "wandb=off", f"share_files={share}", *words]) == 0
    assert "(share_files)" in capsys.readouterr().out
    found = rights_of(tmp_path / "train_dir")
    del found[tmp_path / "train_dir"]  # it may be anything, such as a home directory, and is left as it is
    assert len(found) > 20
    assert {path: oct(mode) for path, mode in found.items() if mode & 0o777 not in (rights, rights & ~0o110)} == {}


@pytest.mark.parametrize("value", ["grup", "0644", "all"])
def test_another_word_for_sharing_is_refused(
    value: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["run", "sweep_name=s", "sweep=quick", f"share_files={value}"]) == 2
    assert "share_files: need none or group" in capsys.readouterr().err
