"""The programs around a sweep, each a process as a user starts it: PostgreSQL, the registry's service, drivers, the
dashboard.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from tests.metta_sweep.driver.drive import ROOT
from tests.metta_sweep.registry.registry_postgres import free_port, running_postgres

START_SECONDS = 120.0


def wait_for(condition: Callable[[], Any], what: str, seconds: float = START_SECONDS) -> Any:
    """The condition's first value that is true."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, f"{what}: not within {seconds:.0f} s"
        time.sleep(0.25)
    return value


@dataclass
class Stage:
    """One directory that a user works in, and what runs there.

    Attributes:
        directory: where commands are typed; `data_dir` and the patches lie below it.
        environ: of all programs, beside this process's own.
    """

    directory: Path
    environ: dict[str, str] = field(default_factory=dict)

    @property
    def patches(self) -> Path:
        """Where `train +trainer/patch=NAME` looks for patches."""
        return self.directory / "configs" / "trainer" / "patch"

    def start(self, name: str, words: Sequence[str], **environ: str) -> subprocess.Popen[bytes]:
        """A command in the background; what it prints goes to NAME.out."""
        with (self.directory / f"{name}.out").open("ab") as out:
            return subprocess.Popen(
                self._command(words),
                cwd=self.directory,
                env=self._environ(environ),
                stdout=out,
                stderr=out,
                start_new_session=True,
            )

    def call(self, *words: str) -> str:
        """What a command printed; it must succeed."""
        done = subprocess.run(
            self._command(words), cwd=self.directory, env=self._environ({}), capture_output=True, text=True
        )
        assert done.returncode == 0, (
            f"{' '.join(words)}: exit {done.returncode}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
        )
        return done.stdout

    def ask(self, *words: str) -> Any:
        """What a command answered as JSON."""
        return json.loads(self.call(*words, "--json"))

    def _command(self, words: Sequence[str]) -> list[str]:
        return [sys.executable, "-m", "metta_sweep", *words]

    def _environ(self, more: dict[str, str]) -> dict[str, str]:
        return {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "METTA_SWEEP_RAY_DASHBOARD": "0",
            "OMP_NUM_THREADS": "1",
            **self.environ,
            **more,
        }


class Service:
    """The registry's service on PostgreSQL; may be killed and started again at the same address."""

    def __init__(self, stage: Stage, database_url: str) -> None:
        self._stage = stage
        self._words = ["serve", "--database-url", database_url, "--port", str(free_port())]
        self.url = f"http://127.0.0.1:{self._words[-1]}"
        self._process: subprocess.Popen[bytes] | None = None
        stage.environ["METTA_SWEEP_TOKEN"] = stage.call(
            "token", "create", "proof", "--database-url", database_url, "--role", "writer"
        ).strip()

    def start(self) -> None:
        self._process = self._stage.start("service", self._words)
        wait_for(lambda: answers(f"{self.url}/docs"), "registry service")

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()


def answers(url: str) -> bool:
    """Whether somebody answers there."""
    try:
        return httpx.get(url, timeout=5.0).status_code < 500
    except httpx.TransportError:
        return False


@contextmanager
def on_postgres(stage: Stage) -> Iterator[Service]:
    """The service, up, over a PostgreSQL of its own."""
    with ExitStack() as stack:
        service = Service(stage, stack.enter_context(running_postgres()).url)
        stack.callback(service.kill)
        service.start()
        yield service
