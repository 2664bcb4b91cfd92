"""Completion in a real bash: what is typed, and what the shell offers."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from metta_sweep.cli.commands import COMMANDS
from metta_sweep.cli.main import main
from metta_sweep.registry.open import open_registry

BIN = Path(sys.executable).parent
CASES = {
    "metta-sweep st": ["status", "stop"],
    "metta-sweep best --by ": ["posterior", "score"],
    "metta-sweep best --top": ["--top-n "],
    "metta-sweep run sweep=protein_": ["protein_complex", "protein_simple"],
    "metta-sweep run --update sweep_name=new +hardware=mac_": ["mac_parallel", "mac_serial"],
    "metta-sweep run env=mettagrid/nav": ["mettagrid/navigation "],
    "metta-sweep run hard": ["hardware="],
    "metta-sweep run --config-dir mine sweep=own": ["own_sweep "],
    "metta-sweep train +trainer/pa": ["+trainer/patch="],
    "metta-sweep status sweep_name=": ["first.sweep", "second_sweep"],
    "metta-sweep best --sweep-name se": ["second_sweep "],
    "metta-sweep status data_dir=elsewhere sweep_name=": ["third "],
    "metta-sweep cluster la": ["launch "],
}


def bash(directory: Path, script: str) -> str:
    environ = {**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}", "HOME": str(directory)}
    done = subprocess.run(
        ["bash", "-ic", script], cwd=directory, env=environ, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def offers(directory: Path, lines: list[str]) -> dict[str, list[str]]:
    """What bash would offer at the end of each line, through the function that it has registered for the command."""
    script = """
        eval "$(metta-sweep completion bash)"
        ask() {
          COMP_LINE="$1" COMP_POINT=${#1} COMP_TYPE=9 COMP_WORDS=($1) COMPREPLY=()
          $(complete -p metta-sweep | sed 's/.*-F \\([^ ]*\\).*/\\1/') metta-sweep
          local IFS='|'; echo "$1>${COMPREPLY[*]}"
        }
    """
    said = bash(directory, script + "\n".join(f"ask '{line}'" for line in lines))
    return {line: found.split("|") for line, _, found in (row.partition(">") for row in said.splitlines())}


def test_bash_offers_commands_flags_groups_options_and_sweeps(tmp_path: Path) -> None:
    (tmp_path / "mine" / "sweep").mkdir(parents=True)
    (tmp_path / "mine" / "sweep" / "own_sweep.yaml").write_text("metric: reward\n")
    for directory, names in (("train_dir", ["first.sweep", "second_sweep"]), ("elsewhere", ["third"])):
        (tmp_path / directory).mkdir()
        registry = open_registry(tmp_path / directory, None)
        for name in names:
            registry.create_sweep(name, "")
        registry.close()
    assert offers(tmp_path, list(CASES)) == CASES


def test_completing_makes_no_registry(tmp_path: Path) -> None:
    assert offers(tmp_path, ["metta-sweep status sweep_name="]) == {"metta-sweep status sweep_name=": [""]}
    assert not list(tmp_path.iterdir())


def test_every_command_is_offered(tmp_path: Path) -> None:
    found = offers(tmp_path, ["metta-sweep "])["metta-sweep "]
    assert set(COMMANDS) <= set(found)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_gets_its_script(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", shell]) == 0
    assert "metta-sweep" in capsys.readouterr().out
