"""Runs one command and leaves nothing of it behind, whatever happens to whoever started it.

`python supervisor.py GRACE_SECONDS COMMAND...` with a pipe as standard input. When the pipe closes, because its other
end asked for it or died, or on SIGTERM, the whole process tree gets SIGTERM, and SIGKILL after the grace. Ends with the
exit status of the command; 128 + n for a signal n.
"""

from __future__ import annotations

import ctypes
import os
import select
import signal
import subprocess
import sys
import time

import psutil

_PR_SET_CHILD_SUBREAPER = 36  # of prctl(2); Python does not name it
_POLL_SECONDS = 0.05  # processes that end are seen that soon; not tuned


def main(arguments: list[str]) -> int:
    """Runs the command; see the module."""
    grace = float(arguments[0])
    if keeper := os.fork():
        return _stand_in(keeper)
    os.setsid()
    adopt_orphans()
    # The terminal's Ctrl-C is for the sweep, which decides what becomes of its runs; the pipe tells us.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        child = subprocess.Popen(arguments[1:], stdin=subprocess.DEVNULL, start_new_session=True)
    except OSError as error:
        sys.stderr.write(f"{arguments[1]}: {error.strerror}\n")  # into the run's log, as a shell would say it
        return 127
    asked: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, frame: asked.append(number))  # who ends us means the program
    while child.poll() is None and not asked and not _input_closed():
        pass
    child.poll()  # buries it when it is dead
    end_descendants(grace)
    if asked:  # ending the tree may have taken the child's own status
        return 128 + signal.SIGTERM
    status = child.wait()
    return 128 - status if status < 0 else status


def _stand_in(keeper: int) -> int:
    """Waits for the process that keeps the command, and ends as it does.

    A Ray worker that exits kills its children outright (its grandchildren it leaves alone): it finds this process,
    while the keeper sees the pipe close and cleans up.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda number, frame: os.kill(keeper, signal.SIGTERM))
    status = os.waitstatus_to_exitcode(os.waitpid(keeper, 0)[1])
    return 128 - status if status < 0 else status


def _input_closed() -> bool:
    """Waits a moment for the pipe to close."""
    readable, _, _ = select.select([0], [], [], _POLL_SECONDS)
    return bool(readable) and not os.read(0, 1024)


def end_descendants(grace: float) -> None:
    """Ends every process below this one: SIGTERM, and SIGKILL after the grace (in seconds)."""
    deadline = time.monotonic() + grace
    number = signal.SIGTERM
    while alive := [process for process in psutil.Process().children(recursive=True) if _is_alive(process)]:
        for process in alive:
            try:
                process.send_signal(number)
            except psutil.NoSuchProcess:
                continue
        _, alive = psutil.wait_procs(
            alive, timeout=max(0.0, deadline - time.monotonic()) if number == signal.SIGTERM else 1.0
        )
        number = signal.SIGKILL


def _is_alive(process: psutil.Process) -> bool:
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def adopt_orphans() -> None:
    """Makes descendants whose parent died our children (Linux), so that daemons of the command are found."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
