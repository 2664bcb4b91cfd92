"""`make audit` never says that all is well when nobody could be asked."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / ".ci" / "audit.py"
WELL = {"name": "a", "version": "1", "vulns": []}
HOLE = {"name": "b", "version": "2", "vulns": [{"id": "PYSEC-1", "fix_versions": ["3"]}]}
UNKNOWN = {"name": "c", "skip_reason": "Dependency not found"}


def audit(directory: Path, answer: str, error: str = "") -> subprocess.CompletedProcess[str]:
    """The script, with the answer of a database that stands in for the one on the network."""
    (directory / "pip_audit.py").write_text(f"import sys; print({answer!r}); sys.exit({error!r} or 0)\n")
    environ = {**os.environ, "PYTHONPATH": str(directory)}
    return subprocess.run(
        [sys.executable, str(SCRIPT), "pins.txt"], env=environ, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize(
    ("packages", "code", "text"),
    [
        ([WELL], 0, "pins.txt: 1 packages, 0 known vulnerabilities"),
        ([WELL, HOLE], 1, "pins.txt: b 2: PYSEC-1, mended in 3"),
        (
            [WELL, UNKNOWN],
            2,
            "NOT AUDITED, the database of vulnerabilities cannot be asked: c: 1 of 2 packages are unknown to it",
        ),
    ],
)
def test_each_answer_has_its_exit_code(packages: list[object], code: int, text: str, tmp_path: Path) -> None:
    done = audit(tmp_path, json.dumps({"dependencies": packages}))
    assert done.returncode == code
    assert text in done.stdout + done.stderr


def test_a_database_out_of_reach_is_told(tmp_path: Path) -> None:
    done = audit(tmp_path, "", "ConnectionError: Failed to resolve its name")
    assert done.returncode == 2
    assert "pins.txt: NOT AUDITED" in done.stderr
    assert "Failed to resolve" in done.stderr
