"""A process that steps environments for a learner: `python -m trainables.environments.worker SOCKET CLOCK LIFE`, three
descriptors that it inherits.

It lives as long as the learner, and imports no torch, which would cost each two hundred megabytes and two seconds.
"""

from __future__ import annotations

import faulthandler
import fcntl
import io
import json
import mmap
import os
import pickle
import signal
import socket
import sys
import threading
import time
import traceback
from dataclasses import asdict
from typing import Any

import numpy as np

from trainables.environments.interface import EnvironmentBlock
from trainables.environments.workers import (
    CLOSE,
    CLOSED,
    DONE,
    DONE_WITH_STATS,
    FAILED,
    FAILED_TO_CLOSE,
    OPEN,
    ORDER,
    RESET,
    SIZE,
    OpenBlock,
)
from trainables.failures import classify
from trainables.last_words import note_exits
from trainables.plugins import import_plugins


def main(arguments: list[str]) -> None:
    """Serves until the learner is gone."""
    connection, clock, life = map(int, arguments)
    end_with(life)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the sweep, which decides what becomes of its runs
    faulthandler.enable()
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True)  # what was printed is in the log even if this process is killed
    note_exits()
    server = BlockServer(socket.socket(fileno=connection), mmap.mmap(clock, mmap.PAGESIZE))
    while server.serve():
        pass


def end_with(pipe: int) -> None:
    """Makes this process end when the other end of the pipe closes, even in the midst of a step that never ends."""
    if sys.platform == "linux":  # the kernel does it, whatever holds the interpreter
        fcntl.fcntl(pipe, fcntl.F_SETOWN, os.getpid())
        fcntl.fcntl(pipe, fcntl.F_SETSIG, signal.SIGKILL)
        fcntl.fcntl(pipe, fcntl.F_SETFL, fcntl.fcntl(pipe, fcntl.F_GETFL) | os.O_ASYNC)
    else:
        threading.Thread(target=lambda: os.read(pipe, 1) or os.kill(os.getpid(), signal.SIGKILL), daemon=True).start()


class BlockServer:
    """Steps the blocks that a learner opens.

    Args:
        connection: to the learner.
        clock: memory that it reads this process's CPU time from.
    """

    def __init__(self, connection: socket.socket, clock: mmap.mmap) -> None:
        self._connection = connection
        self._clock = np.frombuffer(clock, dtype=np.float64, count=1)
        self._blocks: dict[int, EnvironmentBlock] = {}

    def serve(self) -> bool:
        """Does one thing; False when the learner is gone."""
        order = self._connection.recv(ORDER.size, socket.MSG_WAITALL)
        if len(order) < ORDER.size:
            return False
        what, number = ORDER.unpack(order)
        try:
            answer = self._do(what, number)
        except (Exception, SystemExit, KeyboardInterrupt) as error:  # noqa: BLE001  # of an environment
            kind = FAILED_TO_CLOSE if what == CLOSE else FAILED
            answer = _message(kind, {**asdict(classify(error)), "traceback": traceback.format_exc()})
        self._clock[0] = time.process_time()
        self._connection.sendall(answer)
        return True

    def _do(self, what: bytes, number: int) -> bytes:
        if what == OPEN:
            self._blocks[number] = self._open()
            return DONE
        if what == CLOSE:
            if block := self._blocks.pop(number, None):
                block.close()
            sys.stdout.flush()  # before the next run's log takes its place
            return CLOSED
        block = self._blocks[number]
        if what == RESET:
            block.reset()
            return DONE
        block.step()
        stats = block.take_stats()
        return _message(DONE_WITH_STATS, stats) if stats else DONE

    def _open(self) -> EnvironmentBlock:
        header, (memory, stdout, stderr), _, _ = socket.recv_fds(self._connection, SIZE.size, 3)
        (size,) = SIZE.unpack(header)
        content = self._connection.recv(size, socket.MSG_WAITALL)
        # Its output belongs where the learner's goes now: into the log of the run.
        for theirs, ours in ((stdout, 1), (stderr, 2)):
            os.dup2(theirs, ours)
            os.close(theirs)
        try:
            ask: OpenBlock = pickle.loads(content)
            if problems := import_plugins(ask.plugins):
                raise ImportError("; ".join(problems))
            buffers = ask.layout.map(mmap.mmap(memory, ask.layout.num_bytes))
        finally:
            os.close(memory)
        first = ask.options.first_env
        return ask.family.block(ask.options, ask.layout.part(buffers, slice(first, first + ask.options.num_envs)))


def _message(kind: bytes, content: Any) -> bytes:
    data = json.dumps(content).encode()
    return kind + SIZE.pack(len(data)) + data


if __name__ == "__main__":
    main(sys.argv[1:])
