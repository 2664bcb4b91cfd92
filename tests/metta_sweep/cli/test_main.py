"""The command line itself: help, unknown commands, what it imports."""

from __future__ import annotations

import subprocess
import sys

import pytest

from metta_sweep.cli.commands import COMMANDS
from metta_sweep.cli.main import main


def test_help_imports_none_of_the_heavy_packages() -> None:
    code = (
        "import sys, metta_sweep.cli.main as cli; cli.main(['--help']);"
        "heavy = {'ray', 'torch', 'hydra', 'wandb', 'omegaconf', 'numpy', 'pydantic'} & set(sys.modules); "
        "sys.exit(repr(heavy) if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "run" in done.stdout


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_every_command_explains_itself(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([command, "--help"])
    assert ended.value.code == 0
    assert command in capsys.readouterr().out


def test_an_unknown_command_names_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["stauts"])
    assert ended.value.code == 2
    assert "did you mean 'status'" in capsys.readouterr().err
