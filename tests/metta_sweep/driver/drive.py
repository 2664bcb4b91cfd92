"""Runs a sweep of instant runs in this process: `python -m tests.metta_sweep.driver.drive DATA_DIR [override ...]`."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import psutil
from rich.console import Console

from metta_sweep.config import load_sweep_job
from metta_sweep.driver.files import claim_sweep_directory
from metta_sweep.driver.summary import SweepOutcome
from metta_sweep.driver.sweep import EXIT_INTERRUPTED, RunCommand, run_sweep
from metta_sweep.registry.open import open_registry
from tests.instant import InstantTrainable

SWEEP = "instant"
INSTANT = RunCommand(InstantTrainable)
ROOT = Path(__file__).parents[3]
Environ = dict[str, str]
Instant = Callable[..., None]  # sets what instant runs of a test do


def drive(
    data_dir: Path,
    *overrides: str,
    environ: dict[str, str] | None = None,
    config_dirs: Sequence[Path] = (),
    command: RunCommand = INSTANT,
) -> SweepOutcome:
    """One `run` command, with instant runs in place of training unless another command is given."""
    quiet = {"METTA_SWEEP_RAY_DASHBOARD": "0", "WANDB_MODE": "disabled", **(environ or {})}
    job = load_sweep_job(
        [f"sweep_name={SWEEP}", "sweep=quick", f"data_dir={data_dir}", *overrides],
        environ=quiet,
        config_dirs=config_dirs,
    )
    registry = open_registry(job.data_dir, job.settings.sweep_server_uri)
    try:
        registry.create_sweep(job.sweep_name, job.spec_yaml)
        claim_sweep_directory(job, registry, print)
        write_known_baseline(job.directory / "random_policy.yaml")
        return run_sweep(job, registry, quiet, Console(file=sys.stdout, width=200), command)
    finally:
        registry.close()


def write_known_baseline(path: Path) -> None:
    """A random policy's score as if measured before: measuring takes seconds, and these tests are about other
    things.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("{score: -9.0, standard_error: 0.1}")


def start_driver(data_dir: Path, *overrides: str, environ: Environ | None = None) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "tests.metta_sweep.driver.drive", str(data_dir), *overrides]
    return subprocess.Popen(
        command, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT), **(environ or {})}, start_new_session=True
    )


def family(process: subprocess.Popen[bytes]) -> list[psutil.Process]:
    """All that it started and that still lives, itself last."""
    return [*psutil.Process(process.pid).children(recursive=True), psutil.Process(process.pid)]


def is_alive(process: psutil.Process) -> bool:
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def kill_everything(process: subprocess.Popen[bytes]) -> None:
    """SIGKILL to the driver and all that it started."""
    kill(family(process))
    process.wait()


def end_drivers_of(data_dir: Path) -> None:
    """Kills what a test left at work in its directory: on a Ray that tests share, the next ones would wait for its
    slots.
    """
    for child in psutil.Process().children():
        if is_alive(child) and child.cmdline()[1:4] == ["-m", "tests.metta_sweep.driver.drive", str(data_dir)]:
            kill([*child.children(recursive=True), child])
            child.wait()


def kill(members: Sequence[psutil.Process]) -> None:
    for member in members:
        try:
            member.send_signal(signal.SIGKILL)
        except psutil.NoSuchProcess:
            continue  # it went with its parent


# 200 s: beside other programs on two cores a Ray worker took a minute to start, twice in a row
def wait_for(condition: Callable[[], bool], seconds: float = 200.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "timed out"
        time.sleep(0.1)


if __name__ == "__main__":
    try:
        sys.exit(
            drive(
                Path(sys.argv[1]), *sys.argv[2:], environ=dict(os.environ), command=replace(INSTANT, may_restart=True)
            ).exit_code
        )
    except KeyboardInterrupt:  # as the command line does
        sys.exit(EXIT_INTERRUPTED)
