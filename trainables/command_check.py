"""Runs a command once before a sweep does, to see whether it knows the arguments that it will get."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trainables.command_words import Filling, plain
from trainables.errors import Problem
from trainables.fields import nearest
from trainables.programs import TrainableConfig
from trainables.report import PATH_VARIABLE

PATIENCE_SECONDS = 120.0  # a guess: to import a large library on a slow disk takes a minute
# In the text of a --help
FLAG = re.compile(r"--?[A-Za-z][\w.-]*")


def check_command(config: TrainableConfig, parameters: Mapping[str, Any], seed: int, directory: Path) -> list[Problem]:
    """What is wrong with the arguments: the command says so, or its help does not know them.

    Nothing is run for a command without flags and without `trainable.check`.

    Args:
        parameters: of one run, by dotted key.
        directory: a place for what the command writes of its own accord.
    """
    is_flags = config.override.lstrip().startswith("-")
    if config.kind != "command" or not (config.check or (is_flags and "{overrides}" in config.command)):
        return []
    words = {"run": "check", "directory": str(directory), "seed": str(seed), "attempt": "1", "rank": "0"}
    words |= {"world_size": "1", "config": str(directory / "parameters.yaml")}
    filling = Filling(config.override, parameters, words, config.booleans, config.lists)
    arguments = filling.words(config.check or config.command) + ([] if config.check else ["--help"])
    try:
        status, output = _run(arguments, config, filling)
    except OSError as error:
        return [Problem("trainable.command", f"{arguments[0]} cannot be started: {error.strerror or error}")]
    except subprocess.TimeoutExpired:
        advice = "set trainable.check to a command that ends soon"
        return [Problem("trainable.command", f"did not answer within {PATIENCE_SECONDS:.0f} s; {advice}")]
    last = next((line.strip() for line in reversed(output.splitlines()) if line.strip()), "no output")
    if status:
        return [
            Problem("trainable.check" if config.check else "trainable.command", f"ended with status {status}: {last}")
        ]
    return [] if config.check else _unknown_flags(filling, output)


def _run(arguments: list[str], config: TrainableConfig, filling: Filling) -> tuple[int, str]:
    """Status and output. Nobody listens to its reports."""
    given = {name: filling.fill(plain(value)) for name, value in config.environment.items()}
    environment = {name: value for name, value in os.environ.items() if name != PATH_VARIABLE} | given
    done = subprocess.run(
        arguments,
        cwd=config.workdir or None,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=PATIENCE_SECONDS,
        check=False,
    )
    return done.returncode, done.stdout.decode(errors="replace")


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
