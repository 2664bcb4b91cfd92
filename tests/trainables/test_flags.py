"""Programs with flags: every parser gets each value in its own way, and is asked beforehand whether it knows it."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest

from metta_sweep.cli.main import main
from tests.trainables.test_programs import log, run
from trainables import command_check
from trainables.command_check import check_command
from trainables.command_words import Filling, negated, override_words
from trainables.errors import SpecError
from trainables.programs import TrainableConfig
from trainables.spec import RunSpec

ROOT = Path(__file__).parents[2]
SCRIPT = f"{sys.executable} {Path(__file__).with_name('programs')}/flags_train.py --seed {{seed}} {{overrides}}"
PATTERN = r"global_step=(?P<step>\d+), episodic_return=\[?(?P<score>[-\d.]+)"
FLAGS: dict[str, Any] = {
    "kind": "command",
    "command": SCRIPT,
    "override": "--{key} {value}",
    "booleans": "no",
    "lists": "words",
    "pattern": PATTERN,
    "parameters": {"hidden": [32, 16]},
}


@pytest.mark.parametrize(
    ("booleans", "value", "words"),
    [
        ("value", True, ["--anneal", "true"]),
        ("value", False, ["--anneal", "false"]),
        ("present", True, ["--anneal"]),
        ("present", False, []),
        ("no", True, ["--anneal"]),
        ("no", False, ["--no-anneal"]),
    ],
)
def test_truth_values_are_said_as_the_parser_wants_them(booleans: str, value: bool, words: list[str]) -> None:
    assert override_words("--{key} {value}", {"anneal": value}, booleans) == words


@pytest.mark.parametrize(
    ("form", "lists", "words"),
    [
        ("--{key} {value}", "json", ["--x", "[1, 2]"]),
        ("--{key} {value}", "words", ["--x", "1", "2"]),
        ("--{key} {value}", "repeat", ["--x", "1", "--x", "2"]),
        ("--{key}={value}", "repeat", ["--x=1", "--x=2"]),
        ("--{key}={value}", "json", ["--x=[1, 2]"]),
    ],
)
def test_lists_are_said_as_the_parser_wants_them(form: str, lists: str, words: list[str]) -> None:
    assert override_words(form, {"x": [1, 2]}, lists=lists) == words


def test_a_flag_has_dashes_and_a_nested_one_is_negated_at_its_end() -> None:
    assert override_words("--{flag} {value}", {"learning_rate": 0.1}) == ["--learning-rate", "0.1"]
    assert override_words("--{flag}={value}", {"anneal_lr": False}, "no") == ["--no-anneal-lr"]
    assert negated("--optim.use_nesterov") == "--optim.no-use_nesterov"


def test_argparse_reads_back_what_was_searched() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--lr", type=float)
    parser.add_argument("--anneal", action=argparse.BooleanOptionalAction)
    parser.add_argument("--norm", action="store_true")
    parser.add_argument("--sizes", type=int, nargs="+")
    given = {"lr": 1e-05, "anneal": False, "sizes": [64, 32]}
    words = Filling("--{key} {value}", given, {}, "no", "words").words("{overrides}")
    assert vars(parser.parse_args(words)) == {**given, "norm": False}
    present = Filling("--{key}={value}", {"lr": -1e-05, "norm": True}, {}, "present").words("{overrides}")
    assert parser.parse_args(present).lr == -1e-05
    assert parser.parse_args(present).norm is True


def test_a_script_with_flags_is_trained_and_its_output_is_the_curve(tmp_path: Path) -> None:
    trained, _ = run(FLAGS, tmp_path, suggestion={"learning_rate": 0.01, "anneal_lr": False})
    assert "anneal_lr=False, hidden=[32, 16]" in log(tmp_path)
    assert [(point.env_steps, point.score) for point in trained.curve] == [(0, 2.0), (250, 4.5), (500, 7.0), (750, 9.5)]


@pytest.mark.parametrize("setting", [{"booleans": "no"}, {"lists": "words"}])
def test_hydras_form_has_its_own_way_with_truth_values_and_lists(setting: dict[str, str]) -> None:
    with pytest.raises(SpecError, match="has no effect on Hydra's form"):
        RunSpec.from_mapping({"trainable": {"kind": "command", "command": "x {overrides}", **setting}})


def checked(tmp_path: Path, parameters: dict[str, Any], **settings: Any) -> list[str]:
    config = TrainableConfig(**{**FLAGS, "parameters": {}, **settings})
    answer = check_command(config, parameters, 1, tmp_path)
    return [*map(str, answer.problems), *([answer.note] if answer.note else [])]


def test_the_programs_help_has_to_know_every_flag(tmp_path: Path) -> None:
    assert checked(tmp_path, {"learning_rate": 0.1, "anneal_lr": True, "hidden": [1]}) == []
    (problem,) = checked(tmp_path, {"learning_rte": 0.1, "anneal_lr": True})
    assert problem.startswith(
        "learning_rte: the program's --help knows no --learning_rte; did you mean --learning_rate"
    )


def test_dashes_are_told_where_a_parser_takes_no_underscores(tmp_path: Path) -> None:
    script = f"{sys.executable} -c \"print('--weight-decay FLOAT')\" {{overrides}}"
    assert checked(tmp_path, {"weight_decay": 0.1}, command=script, override="--{flag} {value}") == []
    (problem,) = checked(tmp_path, {"weight_decay": 0.1}, command=script)
    assert problem.endswith("did you mean --weight-decay?; {flag} in place of {key} writes it so")


def test_a_dry_form_has_to_end_well(tmp_path: Path) -> None:
    assert checked(tmp_path, {"learning_rate": 0.1}, check=f"{SCRIPT} --total-timesteps 4") == []
    (problem,) = checked(tmp_path, {"learning_rte": 0.1}, check=SCRIPT)
    assert problem.startswith("trainable.check: ended with status 2: ")
    assert problem.endswith("unrecognized arguments: --learning_rte 0.1")


def test_a_check_that_takes_too_long_leaves_no_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command_check, "PATIENCE_SECONDS", 1.0)  # for a shell to start on a busy machine
    (problem,) = checked(tmp_path, {}, check=f"sh -c 'sleep 300 & echo $! > {tmp_path}/child; wait'")
    assert "did not end within" in problem
    child = int((tmp_path / "child").read_text())
    left = [psutil.Process(child)] if psutil.pid_exists(child) else []
    _, alive = psutil.wait_procs(left, timeout=1.0)
    assert not [process for process in alive if process.status() != psutil.STATUS_ZOMBIE]


@pytest.mark.parametrize("command", ["no-such-program {overrides}", "no/such/program {overrides}"])
def test_a_program_that_is_not_there_is_told(tmp_path: Path, command: str) -> None:
    (note,) = checked(tmp_path, {"x": 1}, command=command)
    assert note.endswith("cannot be started: No such file or directory; its flags were not checked")
    (problem,) = checked(tmp_path, {"x": 1}, check=command)
    assert problem.startswith("trainable.check: ")
    assert problem.endswith("cannot be started: No such file or directory")


def test_a_command_that_takes_no_flags_is_not_run(tmp_path: Path) -> None:
    assert checked(tmp_path, {"x": 1}, command="no-such-program {overrides}", override="++{key}={value}") == []


SWEEP = """\
num_samples: 4
parameters:
  {name}: {{distribution: log_normal, min: 1.0e-4, max: 1.0e-2}}
  anneal_lr: {{choices: [true, false]}}
sweep_job_overrides:
  trainable:
    kind: command
    command: {command}
    override: '--{{key}} {{value}}'
    booleans: 'no'
    pattern: '{pattern}'
"""


def test_validate_finds_an_unknown_flag_before_any_run_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "flags.yaml"
    file.write_text(SWEEP.format(name="learning_rate", command=SCRIPT, pattern=PATTERN))
    assert main(["validate", "flags.yaml"]) == 0
    file.write_text(SWEEP.format(name="learning_rte", command=SCRIPT, pattern=PATTERN))
    assert main(["validate", "flags.yaml"]) == 2
    assert "learning_rte: the program's --help knows no --learning_rte" in capsys.readouterr().err
