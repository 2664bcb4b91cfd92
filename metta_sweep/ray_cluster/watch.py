"""When the private Ray under a process dies: its calls may never return, and Ray would end the process in a minute."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NoReturn

from metta_sweep.errors import ClusterError
from metta_sweep.ray_cluster.private_ray import PrivateRay

LOOK_SECONDS = 0.5  # as often as the keeper looks after its daemons
NOTICE_SECONDS = 3.0  # within which the keeper sees that a daemon died
RESTARTED = "METTA_SWEEP_RESTARTED"  # in the environment, for it must outlive `exec`


@contextmanager
def watched(own: PrivateRay | None, on_death: Callable[[str], None]) -> Iterator[None]:
    """Call `on_death` with the reason when Ray dies during the block, from another thread, for the block may hang.

    It ends the process. A process on somebody else's cluster is left to Ray.
    """
    if own is None:
        yield
        return
    left = threading.Event()

    def watch() -> None:
        while not left.wait(LOOK_SECONDS):
            if own.is_broken:
                on_death(own.why_broken)
                return

    watcher = threading.Thread(target=watch, name="ray-watch", daemon=True)
    watcher.start()
    try:
        yield
    except Exception:
        watcher.join(NOTICE_SECONDS)  # what Ray raises because it just died is no news: `on_death` says it better
        if own.is_broken:
            watcher.join()
        raise
    finally:
        left.set()


def end_process(reason: str, say: Callable[[str], object], *, may_restart: bool) -> NoReturn:
    """Begin the same command afresh in this process, once, or end it: exit code 5."""
    if may_restart and RESTARTED not in os.environ:
        say(f"{reason}; starting it again, and runs go on from their last checkpoints")
        sys.stdout.flush()
        os.environ[RESTARTED] = "1"
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])
    say(f"error: {reason}; results are safe: run the same command again to go on from the last checkpoints")
    sys.stdout.flush()
    os._exit(ClusterError.exit_code)
