"""A Ray of this process's own on this machine: nobody else can use it, and nothing of it outlives the driver."""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import shutil
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import metta_sweep
from metta_sweep.config.job import Machine
from metta_sweep.errors import ClusterError
from metta_sweep.ray_cluster.keeper import GRACE_SECONDS, LET_GO, KeeperRequest

PREFIX = "metta_sweep_ray_"  # by which what a killed keeper left is found
NEW_PREFIX = "metta_sweep_new_"  # until it is locked, so that nobody takes it for left over
NEW_SECONDS = 60.0  # a guess: locking takes a moment, on a machine that swaps somewhat longer


@dataclass(frozen=True, slots=True)
class PrivateRay:
    """A running one.

    Attributes:
        address: `host:port`.
        keeper: the process that it hangs on; ends by itself when Ray is broken.
        errors: what the keeper wrote to its standard error.
    """

    address: str
    directory: Path
    keeper: subprocess.Popen[bytes]
    errors: IO[bytes]

    @property
    def token_path(self) -> Path:
        return self.directory / "token"

    @property
    def is_broken(self) -> bool:
        """Whether a part died that it cannot do without."""
        return self.keeper.poll() is not None

    @property
    def why_broken(self) -> str:
        return f"Ray on this machine died ({last_line(self.errors) or 'its keeper was killed'})"


@contextmanager
def private_ray(environ: Mapping[str, str], machine: Machine) -> Iterator[PrivateRay]:
    """Start one for the length of the block.

    It listens on the loopback interface, and each process asks for a token that is drawn for this start. Its keeper is
    in a session of its own, so that what a terminal or a batch system sends to the driver's process group reaches no
    daemon before the runs have written their checkpoints.

    Raises:
        ClusterError: it does not start.
    """
    base = Path(environ.get("RAY_TMPDIR") or "/tmp")  # short: paths of sockets may have 107 characters
    remove_left_over(base)
    with tempfile.TemporaryFile() as errors:
        keeper, order = start_keeper(base, environ, machine, errors)
        try:
            yield PrivateRay(address_from(keeper, errors), Path(order.directory), keeper, errors)
        finally:
            let_go(keeper)


def start_keeper(
    base: Path, environ: Mapping[str, str], machine: Machine, errors: IO[bytes]
) -> tuple[subprocess.Popen[bytes], KeeperRequest]:
    """The keeper, on its way, and what it was told."""
    directory, lock = new_directory(base)
    try:
        order = KeeperRequest(
            directory=str(directory),
            token_path=str(write_token(directory / "token")),
            python_path=os.environ.get("PYTHONPATH"),
            num_cpus=machine.num_cpus,
            num_gpus=machine.num_gpus,
            has_dashboard=environ.get("METTA_SWEEP_RAY_DASHBOARD", "1") != "0",
        )
        source = str(Path(metta_sweep.__file__).parents[1])
        keeper = subprocess.Popen(
            [sys.executable, "-m", "metta_sweep.ray_cluster.keeper"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            start_new_session=True,
            pass_fds=(lock,),  # held as long as the keeper lives
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, (source, order.python_path)))},
        )
    finally:
        os.close(lock)
    assert keeper.stdin is not None
    keeper.stdin.write(order.to_json().encode() + b"\n")
    keeper.stdin.flush()
    return keeper, order


def address_from(keeper: subprocess.Popen[bytes], errors: IO[bytes]) -> str:
    """Waits until Ray is up. Raises `ClusterError` when it does not come up."""
    assert keeper.stdout is not None
    if line := keeper.stdout.readline():
        return str(json.loads(line)["address"])
    keeper.wait()
    raise ClusterError(f"cannot start Ray on this machine: {last_line(errors) or 'no reason given'}")


def last_line(errors: IO[bytes]) -> str:
    """That is not empty; "" when there is none."""
    errors.seek(0)
    return next((line for line in reversed(errors.read().decode(errors="replace").splitlines()) if line.strip()), "")


def let_go(keeper: subprocess.Popen[bytes]) -> None:
    """Waits until nothing of it is left."""
    assert keeper.stdin is not None
    try:
        with keeper.stdin:
            keeper.stdin.write(LET_GO)
    except BrokenPipeError:
        pass  # it ended by itself
    try:
        keeper.wait(GRACE_SECONDS + 15.0)
    except subprocess.TimeoutExpired:
        keeper.kill()
        keeper.wait()
    assert keeper.stdout is not None
    keeper.stdout.close()


def new_directory(base: Path) -> tuple[Path, int]:
    """A directory that its owner alone may enter, and a lock on it that tells others that it is in use."""
    fresh = Path(tempfile.mkdtemp(prefix=NEW_PREFIX, dir=base))
    lock = os.open(fresh, os.O_RDONLY)
    fcntl.flock(lock, fcntl.LOCK_EX)
    return fresh.rename(base / fresh.name.replace(NEW_PREFIX, PREFIX)), lock


def write_token(path: Path) -> Path:
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(secrets.token_hex(32))
    return path


def remove_left_over(base: Path) -> None:
    """Remove what a keeper left that was killed itself."""
    mine = os.getuid()
    for path in (*base.glob(f"{PREFIX}*"), *base.glob(f"{NEW_PREFIX}*")):
        try:
            status = path.lstat()
            is_young = path.name.startswith(NEW_PREFIX) and time.time() - status.st_mtime < NEW_SECONDS
            if stat.S_ISDIR(status.st_mode) and status.st_uid == mine and not is_young and is_unused(path):
                shutil.rmtree(path, ignore_errors=True)
        except FileNotFoundError:
            continue  # its keeper removed it


def is_unused(directory: Path) -> bool:
    """Whether no living keeper holds it."""
    lock = os.open(directory, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    except BlockingIOError:
        return False
    finally:
        os.close(lock)
