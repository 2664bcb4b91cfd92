"""A PostgreSQL server of the tests' own, on a free port, in a directory that goes away with it."""

from __future__ import annotations

import contextlib
import glob
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil


def binary(name: str) -> str | None:
    """Path of a PostgreSQL program; Debian keeps them off the PATH."""
    return shutil.which(name) or next(iter(sorted(glob.glob(f"/usr/lib/postgresql/*/bin/{name}"), reverse=True)), None)


def _identity() -> dict[str, Any]:
    """PostgreSQL refuses to run as root: who runs it then."""
    if os.getuid() != 0:
        return {}
    names = {entry.pw_name for entry in pwd.getpwall()}
    user = pwd.getpwnam("postgres" if "postgres" in names else "nobody")
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Postgres:
    """A cluster in `directory`; `start`, `stop` and `kill` may follow each other."""

    directory: Path
    port: int
    process: subprocess.Popen[bytes] | None = None
    identity: dict[str, Any] = field(default_factory=_identity)

    @property
    def url(self) -> str:
        return f"postgresql+psycopg://tester@127.0.0.1:{self.port}/postgres"

    def create(self) -> None:
        if self.identity:
            os.chown(self.directory, self.identity["user"], self.identity["group"])
        command = [
            binary("initdb"),
            "-D",
            str(self.directory / "cluster"),
            "-U",
            "tester",
            "-A",
            "trust",
            "-E",
            "UTF8",
            "--locale=C",
            "--no-sync",
        ]
        subprocess.run(command, check=True, capture_output=True, cwd=self.directory, **self.identity)

    def start(self) -> None:
        settings = [
            "-c",
            "listen_addresses=127.0.0.1",
            "-c",
            f"unix_socket_directories={self.directory}",
            "-c",
            "max_connections=150",
        ]
        command = [binary("postgres"), "-D", str(self.directory / "cluster"), "-p", str(self.port), *settings]
        with (self.directory / "log").open("ab") as log:
            self.process = subprocess.Popen(  # type: ignore[assignment]
                command, stdout=log, stderr=log, cwd=self.directory, start_new_session=True, **self.identity
            )
        self._wait()

    def _wait(self) -> None:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            ready = subprocess.run([binary("pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(self.port)])  # type: ignore[list-item]
            if ready.returncode == 0:
                return
            time.sleep(0.05)
        raise TimeoutError((self.directory / "log").read_text()[-2000:])

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """SIGINT: fast shutdown; SIGQUIT: as after a crash, recovers on the next start; SIGKILL: that of every process
        of it.
        """
        if self.process is not None:
            children = psutil.Process(self.process.pid).children() if how == signal.SIGKILL else []
            self.process.send_signal(how)
            for child in children:
                with contextlib.suppress(psutil.NoSuchProcess):
                    child.kill()
            self.process.wait(60)
            self.process = None


@contextmanager
def running_postgres() -> Iterator[Postgres]:
    with tempfile.TemporaryDirectory(prefix="registry-postgres-", ignore_cleanup_errors=True) as directory:
        server = Postgres(Path(directory), free_port())
        server.create()
        server.start()
        try:
            yield server
        finally:
            server.stop(signal.SIGQUIT)
