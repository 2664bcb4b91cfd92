"""What `run` says when the sweep of this name is another one."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from metta_sweep.cli.main import main
from metta_sweep.config import load_sweep_job
from metta_sweep.registry.open import open_registry


def test_a_changed_sweep_is_shown_as_a_difference_and_needs_the_flag(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["sweep_name=s", "sweep=quick", f"data_dir={tmp_path}"]
    with closing(open_registry(tmp_path, None)) as registry:
        registry.create_sweep("s", load_sweep_job(words, environ={}).spec_yaml)
    assert main(["run", *words, "sweep.goal=minimize"]) == 2
    told = capsys.readouterr().err.splitlines()
    assert told[0].startswith(
        "error: sweep_name=s: registered with another specification; use another name, or --update to change it"
    )
    assert [line.strip() for line in told if "goal:" in line] == ["-goal: maximize", "+goal: minimize"]
