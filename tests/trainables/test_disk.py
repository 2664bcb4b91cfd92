"""Files that are whole or not there, and their rights."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from trainables.disk import PRIVATE, SHARED, allot, replacing, write_whole


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_writer_that_fails_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "best.yaml"
    write_whole(path, "old")
    with pytest.raises(OSError, match="full") as caught, replacing(path) as file:  # noqa: PT012  # the failure is in the block
        file.write(b"ne")
        raise OSError(28, "full")
    assert caught.value.filename == str(path), "the file that a person knows, not its temporary name"
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_process_that_is_killed_half_way_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "best.yaml"
    write_whole(path, "old")
    code = (
        "import os, sys; from pathlib import Path; from trainables.disk import replacing\n"
        "with replacing(Path(sys.argv[1])) as file: file.write(b'n'); os._exit(9)"
    )
    assert subprocess.run([sys.executable, "-c", code, str(path)], check=False).returncode == 9
    assert path.read_text() == "old"


def test_a_link_stays_a_link_and_its_file_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "link.yaml").symlink_to(tmp_path / "elsewhere" / "file.yaml")
    write_whole(tmp_path / "link.yaml", "new")
    assert (tmp_path / "link.yaml").is_symlink()
    assert (tmp_path / "elsewhere" / "file.yaml").read_text() == "new"


def test_what_is_no_file_is_written_into() -> None:
    read, write = os.pipe()
    write_whole(Path(f"/dev/fd/{write}"), "through")
    assert os.read(read, 100) == b"through"
    os.close(read)
    os.close(write)


@pytest.mark.parametrize("name", ["x" * 250 + ".html", "\N{ROCKET}" * 60])
def test_any_name_that_a_disk_takes_can_be_written(name: str, tmp_path: Path) -> None:
    write_whole(tmp_path / name, "content")
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_rights_are_given_to_all_below_and_links_are_not_followed(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.touch(0o644)
    outside.chmod(0o644)
    tree = tmp_path / "tree"
    (tree / "inner").mkdir(parents=True)
    (tree / "link").symlink_to(outside)
    (tree / "inner" / "program").touch()
    (tree / "inner" / "program").chmod(0o755)
    tree.chmod(0o2755)
    assert allot(tree, PRIVATE)
    assert [mode_of(tree), mode_of(tree / "inner"), mode_of(tree / "inner" / "program"), mode_of(outside)] == [
        0o2700,
        0o700,
        0o700,
        0o644,
    ]
    assert not allot(tree, PRIVATE)
    assert allot(tree, SHARED)
    assert [mode_of(tree), mode_of(tree / "inner" / "program")] == [0o2770, 0o770]


def test_rights_of_what_is_not_there_are_nobodys(tmp_path: Path) -> None:
    assert not allot(tmp_path / "missing", PRIVATE)
