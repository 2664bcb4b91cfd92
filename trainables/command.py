"""Trains by running a program of the user's own, which is told its parameters and reports its progress.

The program runs under `trainables.supervisor`, which holds on to a pipe of ours: if this process goes, in whatever way,
so does the program with everything that it started.
"""

from __future__ import annotations

import logging
import os
import re
import resource
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from trainables.command_words import Filling, Unspeakable, plain
from trainables.command_words import spell as spell
from trainables.errors import CodeFailure, HyperparameterFailure, InfrastructureFailure, RunError
from trainables.failures import OUT_OF_MEMORY
from trainables.pattern import PatternReader
from trainables.programs import Reports, Tail, TrainableConfig, read_json_line
from trainables.report import PATH_VARIABLE
from trainables.result import Costs, Progress, Span
from trainables.run_files import RunFiles, write_yaml

logger = logging.getLogger(__name__)

POLL_SECONDS = 0.2  # a program that ends or reports is seen that soon; not tuned
# How the last line of a traceback begins
_ERROR_LINE = re.compile(r"^[\w.]*(?:Error|Exception|Interrupt|Exit|Failure)\b")
_NOT_FINITE = re.compile(r"\b(nan|inf|infinity|not finite|non-finite)\b")  # words of programs whose training diverged
_FRAME = re.compile(r'^\s*File "(.+)", line (\d+)')  # a line of a traceback


@dataclass(frozen=True, slots=True)
class CommandRun:
    """One run of a command on one rank.

    Attributes:
        config: settings of the command.
        parameters: what the program is told, by dotted key.
        words: values of the placeholders that are no parameters: run, directory, seed, attempt, rank, world_size.
        files: of the run.
        variables: environment variables that say which of several ranks this is, and where they meet.
    """

    config: TrainableConfig
    parameters: Mapping[str, Any]
    words: Mapping[str, str]
    files: RunFiles
    variables: Mapping[str, str]

    @property
    def rank(self) -> int:
        return int(self.words["rank"])

    @property
    def report_path(self) -> Path:
        """Where `metta_sweep.report` writes, apart for each attempt: a torn line of the one before does no harm."""
        return self.files.directory / f"report_{self.words['attempt']}.rank{self.rank}.jsonl"

    @property
    def config_path(self) -> Path:
        return self.files.directory / "parameters.yaml"

    @property
    def workdir(self) -> Path:
        return Path(self.config.workdir) if self.config.workdir else Path.cwd()

    def arguments(self) -> list[str]:
        """The command, split as a shell would, with its placeholders filled in.

        Raises:
            Unspeakable: a value has no place where it stands.
        """
        return self.filling.words(self.config.command)

    @property
    def filling(self) -> Filling:
        """What fills the placeholders of the command and of other settings."""
        words = {**self.words, "config": str(self.config_path)}
        return Filling(self.config.override, self.parameters, words, self.config.booleans, self.config.lists)


class CommandProcess:
    """A running program, followed until it ends.

    Args:
        run: what to run.
        reports: collects what it says.
        on_progress: hears of every report.
    """

    def __init__(self, run: CommandRun, reports: Reports, on_progress: Callable[[Progress], None]) -> None:
        self._run, self._reports, self._on_progress = run, reports, on_progress
        self._log = Tail(run.files.log(run.rank), skip_old=True)
        self._report = Tail(run.report_path)
        results = run.workdir / run.filling.fill(run.config.results)
        self._results = Tail(results, skip_old=True) if run.config.results else None
        self._pattern = PatternReader(run.config.pattern) if run.config.pattern else None
        self._last_lines: list[str] = []
        self._began = time.perf_counter()
        self._children_before = _children_cpu_seconds()

    def follow(self, should_stop: Callable[[], bool]) -> bool:
        """Runs the program to its end. Returns False when it was asked to stop before.

        Raises:
            HyperparameterFailure: it ran out of memory, or its score is not finite.
            InfrastructureFailure: it was killed from outside.
            CodeFailure: it failed otherwise.
        """
        process = self._start()
        stopped = False
        try:
            while process.poll() is None:
                if should_stop() and not stopped:
                    stopped = True
                    self._close(process)
                self._read(process)
                time.sleep(POLL_SECONDS)
            self._read(process)
            self._read_rest(process)
        finally:
            self._close(process)
            process.wait()
        if stopped:
            return False
        if process.returncode:
            raise self._failure(process.returncode)
        return True

    def _start(self) -> subprocess.Popen[bytes]:
        run = self._run
        if run.rank == 0:
            write_yaml(run.config_path, nest(run.parameters))
        given = {name: run.filling.fill(plain(value)) for name, value in run.config.environment.items()}
        about = {"METTA_SWEEP_RUN": run.words["run"], "METTA_SWEEP_DIRECTORY": str(run.files.directory)}
        about[PATH_VARIABLE] = str(run.report_path)
        try:
            arguments = run.arguments()
        except Unspeakable as error:
            raise CodeFailure(f"trainable.command: {error}", "trainable.command") from error
        logger.info("starting %s in %s", shlex.join(arguments), run.workdir)
        self._log = Tail(run.files.log(run.rank), skip_old=True)  # that line is not the program's
        supervisor = [
            sys.executable,
            "-P",
            str(Path(__file__).with_name("supervisor.py")),
            str(run.config.stop_seconds),
        ]
        environment = {**os.environ, "PYTHONUNBUFFERED": "1", **about, **run.variables, **given}
        place: dict[str, Any] = {"cwd": run.workdir, "env": environment, "start_new_session": True}
        try:
            return subprocess.Popen([*supervisor, *arguments], stdin=subprocess.PIPE, **place)
        except OSError as error:
            raise CodeFailure(f"trainable.workdir: {run.workdir} cannot be used: {error.strerror}") from error

    @staticmethod
    def _close(process: subprocess.Popen[bytes]) -> None:
        """Lets go of the pipe: the supervisor ends the program."""
        if process.stdin is not None and not process.stdin.closed:
            process.stdin.close()

    def _read(self, process: subprocess.Popen[bytes]) -> None:
        """Takes what is new in the files that are followed."""
        costs = self.costs(process)
        for line in self._log.lines():
            self._last_lines = [*self._last_lines[-200:], line]
            for values in self._pattern.read(line) if self._pattern else ():
                self._add(values, costs)
        for tail in (self._report, self._results):
            for line in tail.lines() if tail else ():
                self._add(read_json_line(line), costs)

    def _read_rest(self, process: subprocess.Popen[bytes]) -> None:
        """What was found, and waited for more that never came."""
        for values in self._pattern.rest() if self._pattern else ():
            self._add(values, self.costs(process))

    def _add(self, values: Mapping[str, Any], costs: Costs) -> None:
        if values and (progress := self._reports.add(values, costs)) is not None:
            self._on_progress(progress)

    def costs(self, process: subprocess.Popen[bytes] | None = None) -> Costs:
        """What the program cost so far: CPU seconds of all its processes, as far as they have ended or still run."""
        cpu = _children_cpu_seconds() - self._children_before
        if process is not None and process.poll() is None:
            cpu += _tree_cpu_seconds(process.pid)
        return Costs(train=Span(time.perf_counter() - self._began, cpu))

    def _failure(self, status: int) -> RunError:
        """Why a program ended with this status, read from the last lines of its output."""
        lines = self._last_lines
        error = next((number for number in range(len(lines) - 1, -1, -1) if _ERROR_LINE.match(lines[number])), None)
        last = next((line.strip() for line in reversed(lines) if line.strip()), "no output")
        message = lines[error].strip() if error is not None else f"the program ended with {_name(status)}: {last}"
        if any(phrase in "\n".join(lines).lower() for phrase in OUT_OF_MEMORY):
            return HyperparameterFailure(f"the program ran out of memory: {message}")
        if error is not None and _NOT_FINITE.search("\n".join(lines[error:]).lower()):
            return HyperparameterFailure(f"the program met a number that is not finite: {message}")
        if error is None and status in (128 + 9, 128 + 15):
            return InfrastructureFailure(f"the program was killed from outside (signal {status - 128})")
        return CodeFailure(message, self._signature(message, status))

    def _signature(self, message: str, status: int) -> str:
        """Type and place of the last exception in the output; the status of a program that shows none."""
        frame = next((match for line in reversed(self._last_lines) if (match := _FRAME.match(line))), None)
        if frame is None:
            return _name(status)
        return f"{message.partition(':')[0]} at {Path(frame[1]).name}:{frame[2]}"


def _name(status: int) -> str:
    """What a shell's status means: 128 + n is signal n."""
    try:
        return f"status {status} ({signal.Signals(status - 128).name})"
    except ValueError:
        return f"status {status}"


def _children_cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _tree_cpu_seconds(pid: int) -> float:
    """CPU time of a living process tree, those of its children that ended included."""
    total = 0.0
    try:
        root = psutil.Process(pid)
        for process in [root, *root.children(recursive=True)]:
            times = process.cpu_times()
            total += times.user + times.system + times.children_user + times.children_system
    except psutil.NoSuchProcess:
        return total
    return total


def nest(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Dotted keys as nested mappings."""
    tree: dict[str, Any] = {}
    for key, value in parameters.items():
        *path, name = key.split(".")
        branch = tree
        for part in path:
            branch = branch.setdefault(part, {})
        branch[name] = value
    return tree
