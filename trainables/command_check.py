"""Runs a command once before a sweep does, to see whether it knows the arguments that it will get."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainables.command_words import Filling, plain
from trainables.errors import Problem
from trainables.fields import nearest
from trainables.programs import TrainableConfig
from trainables.report import PATH_VARIABLE

PATIENCE_SECONDS = 120.0  # a guess: to import a large library on a slow disk takes a minute
WIDE = {"COLUMNS": "200"}  # help texts that are cut to the terminal lose the ends of long flags
# In the text of a --help
FLAG = re.compile(r"--?[A-Za-z][\w.-]*")


@dataclass(frozen=True, slots=True)
class CommandAnswer:
    """What came of asking a command: what is wrong with its arguments, and why it could not be asked for its flags."""

    problems: tuple[Problem, ...] = ()
    note: str = ""


def check_command(config: TrainableConfig, parameters: Mapping[str, Any], seed: int, directory: Path) -> CommandAnswer:
    """Run `trainable.check`, which must end well; without one, ask a command with flags for its help.

    A program that does not answer here may well do so where the runs are: only its help can say that a flag is wrong.

    Args:
        parameters: of one run, by dotted key.
        directory: a place for what the command writes of its own accord.
    """
    is_flags = config.override.lstrip().startswith("-")
    if config.kind != "command" or not (config.check or (is_flags and "{overrides}" in config.command)):
        return CommandAnswer()
    words = {"run": "check", "directory": str(directory), "seed": str(seed), "attempt": "1", "rank": "0"}
    words |= {"world_size": "1", "config": str(directory / "parameters.yaml")}
    filling = Filling(config.override, parameters, words, config.booleans, config.lists)
    arguments = filling.words(config.check or config.command) + ([] if config.check else ["--help"])
    try:
        status, output = _run(arguments, config, filling)
        last = next((line.strip() for line in reversed(output.splitlines()) if line.strip()), "no output")
        trouble = f"ended with status {status}: {last}" if status else ""
    except OSError as error:
        trouble = f"{arguments[0]} cannot be started: {error.strerror or error}"
    except subprocess.TimeoutExpired:
        trouble = f"did not end within {PATIENCE_SECONDS:.0f} s"
    if config.check:
        return CommandAnswer((Problem("trainable.check", trouble),) if trouble else ())
    if trouble:
        return CommandAnswer(note=f"trainable.command with --help: {trouble}; its flags were not checked")
    return CommandAnswer(tuple(_unknown_flags(filling, output)))


def _run(arguments: list[str], config: TrainableConfig, filling: Filling) -> tuple[int, str]:
    """Status and output. Nobody listens to its reports; what takes too long goes with all that it started."""
    given = {name: filling.fill(plain(value)) for name, value in config.environment.items()}
    environment = {name: value for name, value in os.environ.items() if name != PATH_VARIABLE} | WIDE | given
    process = subprocess.Popen(
        arguments,
        cwd=config.workdir or None,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    with process:
        try:
            output, _ = process.communicate(timeout=PATIENCE_SECONDS)
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)  # not reaped yet, so that the number is still its own
            raise
    return process.returncode, output.decode(errors="replace")


def _unknown_flags(filling: Filling, help_text: str) -> list[Problem]:
    """Parameters whose flags do not stand in the program's help."""
    known = {flag.rstrip(".-") for flag in FLAG.findall(help_text)}
    problems = []
    for key in filling.parameters:
        flag = filling.form.split()[0].partition("=")[0].replace("{key}", key).replace("{flag}", key.replace("_", "-"))
        if flag not in known:
            dashed = "; {flag} in place of {key} writes it so" if flag.replace("_", "-") in known else ""
            problems.append(Problem(key, f"the program's --help knows no {flag}{nearest(flag, known)}{dashed}"))
    return problems
