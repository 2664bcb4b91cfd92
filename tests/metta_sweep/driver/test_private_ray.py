"""The Ray that a sweep starts for itself: closed to others, out of reach of signals, and gone when its driver is."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import pytest
import ray
from ray._private.ray_constants import DEFAULT_DASHBOARD_PORT

from metta_sweep.config.job import Machine
from metta_sweep.driver.sweep import EXIT_INTERRUPTED
from metta_sweep.errors import ClusterError
from metta_sweep.ray_cluster.cluster import RayCluster, connected
from metta_sweep.registry.api import Registry
from metta_sweep.registry.records import RunState
from tests.instant import CUT_OFF
from tests.metta_sweep.driver import intruder
from tests.metta_sweep.driver.drive import (
    ROOT,
    SWEEP,
    Environ,
    Instant,
    family,
    is_alive,
    kill_everything,
    start_driver,
    wait_for,
)

pytestmark = pytest.mark.ray


@pytest.fixture(scope="module")
def cluster() -> Iterator[RayCluster]:
    """One with a dashboard, which has a door of its own; another sweep's dashboard has the usual one."""
    with socket.socket() as other:
        with suppress(OSError):  # some Ray has it already
            other.bind(("127.0.0.1", DEFAULT_DASHBOARD_PORT))
            other.listen()
        with connected({}, Machine(num_cpus=1)) as cluster:
            yield cluster


def listeners() -> list[tuple[str, int]]:
    """Addresses at which this process and those below it listen."""
    family = [psutil.Process(), *psutil.Process().children(recursive=True)]
    sockets = [
        connection
        for member in family
        for connection in member.net_connections(kind="inet")
        if connection.status == psutil.CONN_LISTEN
    ]
    return [(one.laddr.ip, one.laddr.port) for one in sockets]


def test_it_listens_on_the_loopback_interface_alone(cluster: RayCluster) -> None:
    assert {address.removeprefix("::ffff:") for address, _ in listeners()} == {"127.0.0.1"}


def test_a_second_sweep_on_a_machine_finds_another_port_for_its_dashboard(cluster: RayCluster) -> None:
    port = urlsplit(cluster.dashboard_url).port
    assert port != DEFAULT_DASHBOARD_PORT
    assert ("127.0.0.1", port) in listeners()


def intrude(*words: object) -> str:
    """What another user gets, who knows nothing."""
    known = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    command = [sys.executable, intruder.__file__, *map(str, words)]
    return subprocess.run(
        command, env={**known, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False
    ).stdout


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to become another user")
def test_another_user_can_run_nothing_in_it(cluster: RayCluster, tmp_path: Path) -> None:
    mark, answers = tmp_path / "mark", []

    def attack() -> bool:
        answers.extend(found := json.loads(intrude("jobs", mark, *(port for _, port in listeners()))))
        return bool(found.count("401") >= 2)  # the dashboard and its agent, once they are up

    wait_for(lambda: attack() or "200" in answers)
    assert "200" not in answers
    time.sleep(1.0)
    assert not mark.exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to become another user")
def test_another_user_can_read_nothing_of_it(cluster: RayCluster) -> None:
    port = ray.get_runtime_context().gcs_address.rpartition(":")[2]
    assert not intrude("keys", port).strip().isdecimal()


def test_the_token_is_in_a_file_that_only_its_owner_can_reach_and_in_no_command_line(cluster: RayCluster) -> None:
    assert cluster.own is not None
    token = cluster.own.token_path.read_text()
    assert len(token) == 64
    assert cluster.own.directory.stat().st_mode & 0o777 == 0o700
    assert cluster.own.token_path.stat().st_mode & 0o777 == 0o600
    assert not [each.pid for each in psutil.process_iter(["cmdline"]) if token in " ".join(each.info["cmdline"] or ())]
    found = subprocess.run(
        ["grep", "-rlIs", token, str(cluster.own.directory)], capture_output=True, text=True, check=False
    ).stdout.split()
    assert found == [str(cluster.own.token_path)]


@pytest.fixture
def temp_dir() -> Iterator[Path]:
    """Where private Rays of the test put their files; a path short enough for their sockets."""
    directory = Path(tempfile.mkdtemp(prefix="ms", dir="/tmp"))
    yield directory
    shutil.rmtree(directory)


@pytest.fixture
def private(temp_dir: Path, monkeypatch: pytest.MonkeyPatch) -> Environ:
    """Environment of a driver with a Ray of its own."""
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    return {"RAY_TMPDIR": str(temp_dir), "NUM_CPUS": "1"}


def at_work(data_dir: Path, run: int, attempt: int = 1) -> bool:
    return (data_dir / "sweep" / SWEEP / "runs" / f"{SWEEP}.r.{run}" / f"pid_{attempt}").exists()


def test_a_signal_to_the_process_group_is_an_orderly_stop(
    tmp_path: Path, registry: Registry, instant: Instant, private: Environ, temp_dir: Path
) -> None:
    instant(sleep_seconds=8.0)  # a checkpoint waits for the end of a step, which is half of it
    for attempt, number in enumerate((signal.SIGTERM, signal.SIGINT), start=1):
        driver = start_driver(tmp_path, "sweep.num_samples=1", environ=private)
        wait_for(lambda attempt=attempt: at_work(tmp_path, 0, attempt))  # type: ignore[misc]
        driver.send_signal(number)
        os.killpg(driver.pid, number)  # to both, as timeout(1) does
        assert driver.wait(timeout=90) == EXIT_INTERRUPTED
        assert [run.state for run in registry.runs(SWEEP)][:1] == [RunState.INTERRUPTED]
        assert registry.attempts(SWEEP)[-1].costs == asdict(CUT_OFF), "what it had cost at its checkpoint"
        assert list(temp_dir.iterdir()) == []


def test_nothing_outlives_a_driver_that_is_killed_alone(
    tmp_path: Path, registry: Registry, instant: Instant, private: Environ, temp_dir: Path
) -> None:
    instant(sleep_seconds=120.0)
    (temp_dir / "metta_sweep_ray_of_a_keeper_that_was_killed").mkdir()
    driver = start_driver(tmp_path, "sweep.num_samples=1", environ={**private, "WANDB_MODE": "offline"})
    wait_for(lambda: at_work(tmp_path, 0))
    everybody = family(driver)
    assert any("mirror_process" in " ".join(member.cmdline()) for member in everybody)
    assert len(list(temp_dir.iterdir())) == 1, "what an earlier one left behind was removed at the start"
    driver.kill()
    driver.wait()
    wait_for(lambda: not any(is_alive(member) for member in everybody), seconds=10)
    wait_for(lambda: list(temp_dir.iterdir()) == [], seconds=1)


def test_a_ray_that_dies_is_started_again_once_and_then_ends_the_sweep(
    tmp_path: Path, registry: Registry, instant: Instant, private: Environ, capfd: pytest.CaptureFixture[str]
) -> None:
    instant(sleep_seconds=120.0)
    driver = start_driver(tmp_path, "sweep.num_samples=2", environ=private)
    try:
        for attempt, daemon in enumerate(("raylet", "gcs_server"), start=1):
            wait_for(lambda attempt=attempt: at_work(tmp_path, 0, attempt))  # type: ignore[misc]
            next(member for member in family(driver) if member.name() == daemon).kill()
        assert driver.wait(timeout=60) == ClusterError.exit_code
    finally:
        if driver.poll() is None:
            kill_everything(driver)
    assert [run.state for run in registry.runs(SWEEP)][:1] == [RunState.INTERRUPTED]
    shown = capfd.readouterr().out
    assert "Ray on this machine died (its raylet died); starting it again" in shown
    assert "error: Ray on this machine died (its gcs_server died); results are safe" in shown
