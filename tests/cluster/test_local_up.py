"""`cluster up`, `submit`, `status`, `down` for real: two nodes on this machine over ssh, a sweep of three runs."""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from metta_sweep.registry.open import open_registry
from metta_sweep.registry.records import RunState

pytestmark = [
    pytest.mark.long,
    pytest.mark.ray,
    pytest.mark.timeout(900),
    pytest.mark.skipif(
        shutil.which("sshd", path="/usr/sbin") is None or shutil.which("rsync") is None or os.geteuid() != 0,
        reason="needs root and Debian's openssh-server and rsync: Ray's launcher logs in on port 22",
    ),
]
ROOT = Path(__file__).parents[2]
HEAD, WORKER = "127.0.0.2", "127.0.0.3"  # 127.0.0.1 would be replaced by the machine's outward address
SECRET = secrets.token_hex(16)  # not written here: this file travels with the job


@pytest.fixture
def ssh_key(tmp_path: Path) -> Iterator[Path]:
    """A private key that an ssh server of the test's own lets in, into a home directory of its own: nothing of this
    machine changes.
    """
    (home := tmp_path / "machine").mkdir()
    for name in ("key", "host_key"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / name)], check=True)
    config = tmp_path / "sshd_config"
    config.write_text(
        f"Port 22\nListenAddress {HEAD}\nListenAddress {WORKER}\nHostKey {tmp_path / 'host_key'}\nPidFile none\n"
        f"AuthorizedKeysFile {tmp_path / 'key.pub'}\nPermitRootLogin yes\nPasswordAuthentication no\nStrictModes "
        "no\nUsePAM no\n"
        f"SetEnv HOME={home}\n"
    )
    Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # which Debian's service makes as it starts, and sshd insists on
    subprocess.run(["/usr/sbin/sshd", "-t", "-f", str(config)], check=True)
    server = subprocess.Popen(["/usr/sbin/sshd", "-D", "-f", str(config)], stderr=subprocess.DEVNULL)
    yield tmp_path / "key"
    server.terminate()
    server.wait()


def test_up_submit_three_runs_status_down(tmp_path: Path, ssh_key: Path) -> None:
    laptop, data_dir, session = tmp_path / "laptop", tmp_path / "shared", Path(f"/tmp/ms{os.getpid()}")
    laptop.mkdir()
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("RAY_", "WANDB_"))}
    environment |= {"HOME": str(laptop), "METTA_SWEEP_TOKEN": SECRET, "WANDB_MODE": "disabled"}

    def command(*words: str) -> str:
        words = ("cluster", *words, "--data-dir", str(laptop))
        done = subprocess.run(
            [sys.executable, "-m", "metta_sweep", *words],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        return done.stdout

    try:
        machines = f"--head {HEAD} --workers {WORKER} --ssh-user root --ssh-key {ssh_key}"
        places = f"--virtual-environment {sys.prefix} --temp-dir {session} --port 26379 --dashboard-port 28265"
        command("up", *f"--provider local --name here {machines} {places}".split())
        output = command(
            "submit", "--follow", "sweep_name=three", "sweep=quick", "sweep.num_samples=3", f"data_dir={data_dir}"
        )
        assert "three ended after" in output
        status = command("status")
        assert "three-1: succeeded" in status
        registry = open_registry(data_dir, None)
        assert [run.state for run in registry.runs("three")] == [RunState.COMPLETED] * 3
        registry.close()
        assert not files_that_hold(SECRET, [session, laptop, data_dir]), "keys are written to no disk"
        command("down", "--yes")
        assert not list((laptop / "cluster").glob("*.yaml"))
    finally:
        subprocess.run(["bash", str(ROOT / "cluster" / "stop.sh"), str(session)], check=True)
        leftover = processes_of(session)
        shutil.rmtree(session, ignore_errors=True)
    assert leftover == []


def files_that_hold(text: str, directories: list[Path]) -> list[str]:
    found = subprocess.run(["grep", "-rlIs", text, *map(str, directories)], capture_output=True, text=True, check=False)
    return found.stdout.split()


def processes_of(session: Path) -> list[str]:
    listing = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    return [line for line in listing.splitlines() if f"{session}/" in line]
