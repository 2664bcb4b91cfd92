"""Processes that step environments for a learner, kept from run to run.

One socket a worker carries what is to be done and that it is done, a few bytes each; everything else lies in memory
that both map. Whoever finds the other end closed knows that it is gone.
"""

from __future__ import annotations

import json
import mmap
import os
import pickle
import select
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np
import psutil

from trainables.environments.catalog import Family
from trainables.environments.interface import BlockOptions
from trainables.environments.memory import BufferLayout, open_memory
from trainables.errors import InfrastructureFailure, WorkerEnded
from trainables.failures import FailedElsewhere, Failure
from trainables.result import FailureKind

ORDER = struct.Struct("<cI")  # what is to be done, and with which block
SIZE = struct.Struct("<I")  # of a message that follows
OPEN, RESET, STEP, CLOSE = b"o", b"r", b"s", b"c"  # orders
DONE, DONE_WITH_STATS, FAILED, CLOSED, FAILED_TO_CLOSE = b"k", b"t", b"e", b"x", b"f"  # answers
_PATIENCE = 1.0  # seconds of silence after which a worker is named by `waiting_for`; far below any stall
_LAST_WORDS_SECONDS = 0.5  # for a process whose socket closed to be dead; not tuned


@dataclass(frozen=True, slots=True)
class OpenBlock:
    """What a worker is told to open.

    Attributes:
        family: the environments.
        options: which of them.
        layout: of the memory that comes along.
        plugins: modules to import first.
    """

    family: Family
    options: BlockOptions
    layout: BufferLayout
    plugins: tuple[str, ...]


class RemoteTraceback(Exception):
    """Shows where an exception was raised in a worker."""

    def __str__(self) -> str:
        return f"\n{self.args[0]}"


class EnvironmentWorkers:
    """So many processes for the vectors of one rank, started when they are first needed.

    Attributes:
        count: how many there are, or would be.
        waiting_for: the worker that has not answered for a while, in words; "" while all do.
    """

    def __init__(self, count: int = 0, plugins: Sequence[str] = ()) -> None:
        self.count = count
        self.plugins = tuple(plugins)
        self.waiting_for = ""
        self._workers: dict[int, _Worker] = {}
        self._gone_seconds = 0.0

    def resize(self, count: int, plugins: Sequence[str]) -> None:
        """From now on so many, which import these modules first; no vector may be open."""
        if (count, tuple(plugins)) != (self.count, self.plugins):
            self.close()
            self.count, self.plugins = count, tuple(plugins)

    def open(
        self, number: int, family: Family, options: BlockOptions, layout: BufferLayout, descriptor: int
    ) -> RemoteHost:
        """Tells a worker to open a block in this memory; it is open after the first `RemoteHost.wait`."""
        worker = self._workers.get(number) or self._workers.setdefault(number, _Worker(number))
        return RemoteHost(self, worker, OpenBlock(family, options, layout, self.plugins), descriptor)

    def cpu_seconds(self) -> float:
        """CPU time of all processes that there are and were."""
        return self._gone_seconds + sum(worker.cpu_seconds() for worker in self._workers.values())

    def memory_bytes(self) -> int:
        """Resident memory of all processes."""
        return sum(worker.memory_bytes() for worker in list(self._workers.values()))  # another thread may start some

    def close(self) -> None:
        """Ends all processes."""
        self._gone_seconds = self.cpu_seconds()
        workers, self._workers = self._workers, {}
        for worker in workers.values():
            worker.end(patience=0.0)


class _Worker:
    """One process, and the learner's end of its socket."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.next_block = 0
        self.connection, theirs = socket.socketpair()
        clock = open_memory(mmap.PAGESIZE)
        its_life, self._life = os.pipe()  # nothing is ever written: it ends when this process does
        try:
            self._clock = np.frombuffer(mmap.mmap(clock, mmap.PAGESIZE), dtype=np.float64, count=1)
            descriptors = (theirs.fileno(), clock, its_life)
            self.process = subprocess.Popen(
                [sys.executable, "-P", "-m", "trainables.environments.worker", *map(str, descriptors)],
                stdin=subprocess.DEVNULL,
                pass_fds=descriptors,
                env=os.environ | {"PYTHONPATH": _python_path(), "OMP_NUM_THREADS": "1"},  # workers are the parallelism
            )
        finally:
            os.close(clock)
            os.close(its_life)
            theirs.close()
        self._poll = select.poll()
        self._poll.register(self.connection, select.POLLIN)

    def cpu_seconds(self) -> float:
        return float(self._clock[0])

    def memory_bytes(self) -> int:
        try:
            return int(psutil.Process(self.process.pid).memory_info().rss)
        except psutil.Error:
            return 0

    def has_answered(self, seconds: float) -> bool:
        return bool(self._poll.poll(seconds * 1000.0))

    def ended(self, envs: str) -> InfrastructureFailure:
        """The failure of a process that is gone."""
        status = self.end(_LAST_WORDS_SECONDS)
        who = f"environment worker {self.number} ({envs})"
        if status in (-signal.SIGKILL, -signal.SIGTERM):  # from outside
            return InfrastructureFailure(f"{who} was killed by {signal.Signals(-status).name}")
        how = signal.Signals(-status).name if status < 0 else f"exit code {status}"
        return WorkerEnded(f"{who} ended with {how}", how)

    def end(self, patience: float) -> int:
        """Makes sure that the process is gone after so many seconds; returns its exit status."""
        try:
            return self.process.wait(patience)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()
        finally:
            self.connection.close()
            if self._life >= 0:
                os.close(self._life)
                self._life = -1


class RemoteHost:
    """Steps a block in a worker; see `BlockHost`."""

    def __init__(self, workers: EnvironmentWorkers, worker: _Worker, block: OpenBlock, descriptor: int) -> None:
        self._workers, self._worker, self._number = workers, worker, worker.next_block
        worker.next_block += 1
        first, last = block.options.first_env, block.options.first_env + block.options.num_envs - 1
        self._envs = f"environment {first}" if first == last else f"environments {first} to {last}"
        # Its output belongs where the output of this process goes now: into the log of the run.
        message = pickle.dumps(block)
        self._order(OPEN)
        self._send(SIZE.pack(len(message)), [descriptor, 1, 2])
        self._send(message)

    def reset(self) -> None:
        self._order(RESET)

    def step(self) -> None:
        self._order(STEP)

    def wait(self) -> Mapping[int, Mapping[str, float]]:
        """Raises the failure of an environment, or of the worker."""
        try:
            answer, told = self._answer()
        except InfrastructureFailure:
            self._workers.close()
            raise
        if answer == FAILED:
            self._fail(told)
        return {int(env): stats for env, stats in (told or {}).items()}

    def close(self) -> None:
        """Raises the failure of an environment that cannot be closed."""
        try:
            self._order(CLOSE)
            answer, told = self._answer()
            while answer not in (CLOSED, FAILED_TO_CLOSE):
                answer, told = self._answer()  # that was of a step that nobody waited for
        except InfrastructureFailure:
            return  # gone, and its block with it
        if answer == FAILED_TO_CLOSE:
            self._fail(told)

    def _fail(self, told: Mapping[str, str]) -> NoReturn:
        self._workers.close()  # others may still be at work on what nobody wants any more
        failure = Failure(FailureKind(told["kind"]), told["signature"], told["message"])
        raise FailedElsewhere(failure) from RemoteTraceback(told["traceback"])

    def _answer(self) -> tuple[bytes, Any]:
        self._wait_for_answer()
        answer = self._receive(1)
        if answer in (DONE, CLOSED):
            return answer, None
        return answer, json.loads(self._receive(SIZE.unpack(self._receive(SIZE.size))[0]))

    def _order(self, order: bytes) -> None:
        self._send(ORDER.pack(order, self._number))

    def _send(self, data: bytes, descriptors: Sequence[int] = ()) -> None:
        try:
            if descriptors:
                socket.send_fds(self._worker.connection, [data], descriptors)
            else:
                self._worker.connection.sendall(data)
        except OSError as error:
            raise self._worker.ended(self._envs) from error

    def _receive(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            try:
                part = self._worker.connection.recv(size - len(data))
            except OSError as error:
                raise self._worker.ended(self._envs) from error
            if not part:
                raise self._worker.ended(self._envs)
            data += part
        return data

    def _wait_for_answer(self) -> None:
        began = time.monotonic()
        while not self._worker.has_answered(_PATIENCE):
            if self._worker.process.poll() is not None:  # a process that it forked keeps its socket open
                raise self._worker.ended(self._envs)
            self._workers.waiting_for = (
                f"environment worker {self._worker.number} ({self._envs}) has not answered for "
                f"{time.monotonic() - began:.0f} s"
            )
        self._workers.waiting_for = ""


def _python_path() -> str:
    """Where this process finds modules, whatever it added by itself."""
    return os.pathsep.join(entry or os.getcwd() for entry in sys.path)
