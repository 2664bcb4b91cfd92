"""Who this process is, and whether the process that holds a lease is certainly dead."""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path

import psutil

from metta_sweep.registry.records import Owner


def current_owner() -> Owner:
    """This process.

    `boot_id` is `{machine id}.{boot}.{pid namespace}`: containers on one kernel never judge each other's pids.
    """
    started = _started(os.getpid())
    assert started is not None, "a running process can read its own start time"
    return Owner(host=socket.gethostname(), boot_id=_boot_id(), pid=os.getpid(), started=started)


def is_dead(owner: Owner) -> bool:
    """True only for certain: the owner ran here, and its pid is gone or used anew, or this machine was booted since.

    False means alive or unknown: the lease decides then.
    """
    here = current_owner()
    if owner.host != here.host:
        return False
    if owner.boot_id != here.boot_id:
        return _was_rebooted(owner.boot_id, here.boot_id)
    started = _started(owner.pid)
    if started is None:
        return _is_gone(owner.pid)
    return started != owner.started


def _was_rebooted(before: str, now: str) -> bool:
    """Same machine id, another boot. Without a machine id (bare containers) equal host names prove nothing."""
    old, new = before.split("."), now.split(".")
    return len(old) == 3 and old[0] != "" and old[0] == new[0] and old[1] != new[1]


def _boot_id() -> str:
    if sys.platform == "linux":
        machine, boot = _read("/etc/machine-id"), _read("/proc/sys/kernel/random/boot_id")
        return f"{machine}.{boot}.{os.readlink('/proc/self/ns/pid')}"
    return f".{psutil.boot_time():.0f}."


def _read(path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return ""


def _started(pid: int) -> float | None:
    """Start of the process, None when it is gone, a zombie, or not ours to see.

    Linux counts in clock ticks since the boot: `psutil.create_time` is wall-clock time there and moves when somebody
    sets the clock.
    """
    if sys.platform == "linux":
        fields = _read(f"/proc/{pid}/stat").rpartition(")")[2].split()  # the name may hold spaces and brackets
        return None if not fields or fields[0] in "ZX" else int(fields[19]) / os.sysconf("SC_CLK_TCK")
    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else float(process.create_time())
    except psutil.Error:
        return None


def _is_gone(pid: int) -> bool:
    """Whether no living process has this pid, told apart from one that another user hides (`hidepid`)."""
    if _read(f"/proc/{pid}/stat"):
        return True  # its start could not be told because it is a zombie
    try:
        os.kill(pid, 0)
    except OSError as error:
        return isinstance(error, ProcessLookupError)
    return False
