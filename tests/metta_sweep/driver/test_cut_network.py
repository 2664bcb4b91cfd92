"""Two nodes in network namespaces of their own train one run together; the cable between them is pulled."""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

import psutil
import pytest

from metta_sweep.registry.open import open_registry
from metta_sweep.registry.records import RunState
from tests.metta_sweep.driver.drive import ROOT, SWEEP, wait_for, write_known_baseline
from tests.metta_sweep.driver.test_kills_on_ray import SMALL, steps_of
from trainables.run_files import RunFiles

PORT = 26380


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True)


def can_make_namespaces() -> bool:
    return (
        os.geteuid() == 0
        and shutil.which("ip") is not None
        and subprocess.run(["unshare", "-n", "true"], check=False).returncode == 0
    )


class TwoNodes:
    """Namespaces `head` and `worker` with a cable between them."""

    def __init__(self, temp_dir: Path) -> None:
        self.temp_dir = temp_dir
        self.token = secrets.token_hex(32)
        self.names = [f"ms{os.getpid()}{letter}" for letter in "hw"]
        self.addresses = ["10.213.0.1", "10.213.0.2"]
        self.processes: list[subprocess.Popen[bytes]] = []
        for name in self.names:
            ip("netns", "add", name)
            ip("-n", name, "link", "set", "lo", "up")
        head, worker = self.names
        ip("-n", head, "link", "add", "cable", "type", "veth", "peer", "name", "cable", "netns", worker)
        for name, address in zip(self.names, self.addresses, strict=True):
            ip("-n", name, "address", "add", f"{address}/24", "dev", "cable")
            ip("-n", name, "link", "set", "cable", "up")

    def run(self, node: int, command: Sequence[str], **environ: str) -> subprocess.Popen[bytes]:
        """A process on one of the nodes."""
        environment = {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": self.token,
            "OMP_NUM_THREADS": "1",
            **environ,
        }
        process = subprocess.Popen(
            ["ip", "netns", "exec", self.names[node], *command], env=environment, start_new_session=True
        )
        self.processes.append(process)
        return process

    def ray(self, node: int) -> subprocess.Popen[bytes]:
        """A raylet with one CPU; on node 0 the head, with the health checks of our cluster files."""
        role = (
            ["--head", f"--port={PORT}", "--include-dashboard=false"]
            if node == 0
            else [f"--address={self.addresses[0]}:{PORT}"]
        )
        common = [
            "--num-cpus=1",
            f"--node-ip-address={self.addresses[node]}",
            f"--temp-dir={self.temp_dir}",
            "--disable-usage-stats",
            "--block",
        ]
        settings = {"RAY_raylet_start_wait_time_s": "120", "RAY_health_check_failure_threshold": "3"}
        return self.run(node, [sys.executable, "-m", "ray.scripts.scripts", "start", *role, *common], **settings)

    def cable(self, state: str) -> None:
        ip("-n", self.names[0], "link", "set", "cable", state)

    def end(self, process: subprocess.Popen[bytes]) -> None:
        """A process with all that it started."""
        for member in (
            [*psutil.Process(process.pid).children(recursive=True), process] if process.poll() is None else []
        ):
            try:
                member.kill()  # type: ignore[attr-defined]
            except psutil.NoSuchProcess:
                continue
        process.wait()

    def close(self) -> None:
        for process in reversed(self.processes):
            self.end(process)
        for name in self.names:
            ip("netns", "delete", name)
        shutil.rmtree(self.temp_dir, ignore_errors=True)


@pytest.fixture
def nodes() -> Iterator[TwoNodes]:
    nodes = TwoNodes(Path(f"/tmp/ms{os.getpid()}"))
    try:
        yield nodes
    finally:
        nodes.close()


@pytest.mark.ray
@pytest.mark.long
@pytest.mark.timeout(900)
@pytest.mark.skipif(not can_make_namespaces(), reason="needs root and network namespaces")
def test_a_run_over_two_nodes_fails_within_a_minute_of_a_cut_and_goes_on_when_the_node_is_back(
    nodes: TwoNodes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_known_baseline(tmp_path / "sweep" / SWEEP / "random_policy.yaml")
    nodes.ray(0)
    worker = nodes.ray(1)
    words = [
        "sweep.num_samples=1",
        "resources.world_size=2",
        "resources.strategy=STRICT_SPREAD",
        "resources.max_restarts=0",
    ]
    words += ["trainer.total_timesteps=200000", "settings.infrastructure_retry_delay=1"]
    command = [
        sys.executable,
        "-m",
        "metta_sweep",
        "run",
        f"sweep_name={SWEEP}",
        f"data_dir={tmp_path}",
        *SMALL,
        *words,
    ]
    wait_for(lambda: (nodes.temp_dir / "ray_current_cluster").exists(), seconds=120)
    time.sleep(15.0)  # the second node joins; a run that started before would be refused
    driver = nodes.run(0, command, RAY_ADDRESS=f"{nodes.addresses[0]}:{PORT}")
    files = RunFiles(tmp_path / "sweep" / SWEEP / "runs" / f"{SWEEP}.r.0")
    with closing(open_registry(tmp_path, None)) as registry:

        def interruptions() -> list[str]:
            return [event.detail["reason"] for event in registry.events(SWEEP) if event.kind == "interrupted"]

        wait_for(lambda: any(files.checkpoints.glob("*")), seconds=240)
        nodes.cable("down")
        cut = time.monotonic()
        wait_for(lambda: bool(interruptions()), seconds=60)
        seen_seconds = time.monotonic() - cut
        nodes.end(worker)
        nodes.cable("up")
        nodes.ray(1)
        assert driver.wait(timeout=600) == 0
        (run,) = registry.runs(SWEEP)
        assert run.state is RunState.COMPLETED
        assert run.attempts >= 2
        with capsys.disabled():
            print(f"\ncut seen after {seen_seconds:.1f} s: {interruptions()}; {run.attempts} attempts")
    steps = steps_of(files.directory)
    assert steps.count(min(steps)) == 1, "it went on from its checkpoint"
