"""What stands in several files of the project says the same."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import yaml

ROOT = Path(__file__).parent.parent


def test_the_version_is_the_same_everywhere() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert yaml.safe_load((ROOT / "CITATION.cff").read_text())["version"] == version
    newest = re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.M)
    assert newest is not None
    assert newest[1] == version


def test_a_commit_is_checked_as_make_lint_checks() -> None:
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"][0]["hooks"]
    checked = {hook["entry"].removesuffix(" --force-exclude") for hook in hooks}
    lint = (ROOT / "Makefile").read_text().partition("\nlint:")[2].partition("\n\n")[0]
    assert checked == {line.replace("$(BIN)", ".venv/bin").removesuffix(" .") for line in re.findall(r"\t(.*)", lint)}


def test_each_file_that_the_contributors_page_names_is_there() -> None:
    names = re.findall(r"`([\w/]+(?:\.py|/))`", (ROOT / "CONTRIBUTING.md").read_text())
    beside = {"objectives.py": "searchers", "config.py": "searchers", "panels.py": "metta_sweep/dashboard"}
    beside["commands.py"] = "metta_sweep/cli"
    assert len(names) > 8
    assert [name for name in names if not (ROOT / beside.get(name, "") / name).exists()] == []
