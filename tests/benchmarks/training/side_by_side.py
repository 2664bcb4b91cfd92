"""Training programs in turn on one machine, block by block, so that other load hits all of them alike.

A program trains until it is told a number of seconds, trains for so long, answers how far it came, and waits again.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

import psutil

ROOT = Path(__file__).parents[3]
WARM_UP = 4  # updates before the first answer; what compiles has compiled by then
SETTLE_SECONDS = 0.7  # PufferLib's workers spin for 0.5 s after the last step of a block
CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@dataclass(frozen=True, slots=True)
class Setting:
    """What every program trains on the basic arena; sizes as in `TrainerConfig`.

    Attributes:
        model: mlp or lstm, behind two layers, all `hidden_size` wide.
        num_workers: processes that step environments; 0 = the learner's own.
        bptt_horizon: steps of a segment of an lstm.
        device: cpu or cuda.
    """

    model: str
    hidden_size: int
    num_envs: int
    batch_size: int
    minibatch_size: int
    num_workers: int = 0
    bptt_horizon: int = 16
    update_epochs: int = 2
    device: str = "cpu"


@dataclass(frozen=True, slots=True)
class Rate:
    """Agent steps per second of a block: of wall time, and of CPU time of the program and its processes."""

    wall: float
    cpu: float

    def by(self, clock: str) -> float:
        """By its name."""
        return self.wall if clock == "wall" else self.cpu


class Blocks:
    """The program's side: call `update_ended` after every update.

    Prints go to the log from here on; only answers go to standard output.
    """

    def __init__(self) -> None:
        self._answers = os.fdopen(os.dup(1), "w")
        os.dup2(2, 1)
        self._updates, self._steps, self._end = 0, 0, 0.0

    def update_ended(self, steps: int, parameters: int) -> bool:
        """Returns whether to go on, after waiting for the next block where one is over.

        Args:
            steps: agent steps of the update.
            parameters: of the network, to see that all programs train the same.
        """
        self._updates += 1
        self._steps += steps
        if self._updates < WARM_UP or time.perf_counter() < self._end:
            return True
        print(json.dumps({"steps": self._steps, "parameters": parameters}), file=self._answers, flush=True)
        seconds = sys.stdin.readline()
        self._steps, self._end = 0, time.perf_counter() + float(seconds or 0.0)
        return bool(seconds)


class Program:
    """The other side: a program in a process of its own, which waits but for its blocks.

    Args:
        module: what to run, with the setting as JSON and then `words` as its arguments.
        python: the interpreter; it needs what this project needs.
        log: file of what the program prints.
    """

    def __init__(self, module: str, setting: Setting, log: Path, python: str = sys.executable, *words: str) -> None:
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        self._log = log
        with log.open("w") as file:
            self._process = subprocess.Popen(
                [python, "-m", module, json.dumps(asdict(setting)), *words],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=file, text=True, cwd=ROOT, env=environment,
                start_new_session=True,
            )  # fmt: skip
        self.parameters = 0

    def warm_up(self) -> None:
        self.parameters = int(self._answer()["parameters"])

    def block(self, seconds: float) -> Rate:
        """Trains for about so long, whole updates."""
        assert self._process.stdin is not None
        before, began = self._cpu_seconds(), time.perf_counter()
        print(seconds, file=self._process.stdin, flush=True)
        steps = self._answer()["steps"]
        return Rate(steps / (time.perf_counter() - began), steps / (self._cpu_seconds() - before))

    def close(self) -> None:
        """Lets the program end, and whatever it left behind."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.stdin = None
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=20)
        with contextlib.suppress(ProcessLookupError):  # nothing is left
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.communicate()  # closes what it wrote to

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the program ended: {self._log.read_text()[-4000:]}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _cpu_seconds(self) -> float:
        own = psutil.Process(self._process.pid)
        times = [process.cpu_times() for process in (own, *own.children(recursive=True))]
        return sum(spent.user + spent.system for spent in times)


def alternate(programs: Mapping[str, Program], rounds: int, seconds: float) -> dict[str, list[Rate]]:
    """Blocks of all programs in turn; by name, one rate per round."""
    try:
        for program in programs.values():
            program.warm_up()
        rates: dict[str, list[Rate]] = {name: [] for name in programs}
        for _ in range(rounds):
            for name, program in programs.items():
                time.sleep(SETTLE_SECONDS)
                rates[name].append(program.block(seconds))
        return rates
    finally:
        for program in programs.values():
            program.close()


def ratio(ours: Sequence[Rate], theirs: Sequence[Rate], clock: str) -> float:
    """Median over rounds of our rate over theirs; `clock` is wall or cpu."""
    return median(a.by(clock) / b.by(clock) for a, b in zip(ours, theirs, strict=True))


def typical(rates: Sequence[Rate], clock: str) -> float:
    """Median over rounds."""
    return median(rate.by(clock) for rate in rates)
