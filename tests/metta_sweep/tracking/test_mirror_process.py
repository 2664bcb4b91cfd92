"""The mirror's own process: live, bounded, and without a trace on the sweep when WandB is away."""

from __future__ import annotations

import os
import pickle
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from metta_sweep.tracking import mirror_process
from metta_sweep.tracking.mirror_process import MirrorBusy, MirrorProcess, SyncReport, sweep_lock, sync
from tests.metta_sweep.tracking.mirrored_sweep import SweepOnDisk, completed
from tests.metta_sweep.tracking.wandb_files import read_offline_runs
from tests.metta_sweep.tracking.wandb_server import KEY, WandbServer, serving

CLOSED_PORT_URL = "http://127.0.0.1:9"


@pytest.fixture
def sweep(tmp_path: Path) -> SweepOnDisk:
    return SweepOnDisk(tmp_path)


@pytest.fixture
def online(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Point WandB at a server of our own, with short waits."""

    def use(url: str) -> None:
        monkeypatch.setenv("WANDB_BASE_URL", url)
        monkeypatch.setenv("WANDB_API_KEY", KEY)
        monkeypatch.setenv("WANDB_INIT_TIMEOUT", "2")

    return use


def wait_until(is_true: Callable[[], bool], seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not is_true():
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.05)


def test_a_live_mirror_sends_what_happened_until_its_stop(
    sweep: SweepOnDisk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setenv("TMPDIR", str(scratch))
    with MirrorProcess(sweep.job(poll_seconds=0.1)) as mirror:
        run = sweep.start(0)
        sweep.train(run, 100, 200)
        wait_until(lambda: any(sweep.directory(run).glob("wandb/offline-run-*")))
        sweep.train(run, 300)
        sweep.finish(run, completed(curve=()))
        assert mirror.stop()
    (copy,) = read_offline_runs(sweep.directory(run))
    assert [row["env_steps"] for row in copy.history] == [100, 200, 300]
    assert copy.summary["score"] == 1.5
    wait_until(lambda: not list(scratch.iterdir()))  # the program that WandB starts takes a moment


def test_a_killed_mirror_is_started_again_and_leaves_no_double_rows(
    sweep: SweepOnDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mirror_process, "FIRST_PAUSE_SECONDS", 0.05)
    run = sweep.start(0)
    sweep.train(run, 100, 200)
    with MirrorProcess(sweep.job(poll_seconds=0.1)) as mirror:
        first = mirror.pid
        assert first is not None
        wait_until(lambda: any(sweep.directory(run).glob("wandb/offline-run-*/*.wandb")))
        os.killpg(first, signal.SIGKILL)
        wait_until(lambda: mirror.pid != first)
        sweep.train(run, 300)
        sweep.finish(run, completed(curve=()))
        wait_until(lambda: (sweep.directory(run) / "wandb" / "mirror.json").exists())
    (copy,) = read_offline_runs(sweep.directory(run))
    assert [row["env_steps"] for row in copy.history] == [100, 200, 300]


def test_the_mirror_ends_when_its_driver_is_killed_though_wandb_does_not_answer(
    sweep: SweepOnDisk, online: Callable[[str], None]
) -> None:
    silent = socket.create_server(("127.0.0.1", 0))
    online(f"http://127.0.0.1:{silent.getsockname()[1]}")
    sweep.complete(0)
    job = sweep.job(mode="online", poll_seconds=0.1, shutdown_seconds=600.0)
    code = (
        "import sys; from metta_sweep.tracking.job import MirrorJob; from metta_sweep.tracking.mirror_process import "
        "MirrorProcess;"
        "m = MirrorProcess(MirrorJob.from_json(sys.argv[1])); m.start(); print(m.pid, flush=True); sys.stdin.read()"
    )
    driver = subprocess.Popen(
        [sys.executable, "-c", code, job.to_json()], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert driver.stdout is not None
    pid = int(driver.stdout.readline())
    driver.kill()
    driver.communicate()
    wait_until(lambda: not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
    silent.close()


def test_without_a_server_the_stop_is_bounded_and_a_later_sync_catches_up(
    sweep: SweepOnDisk, online: Callable[[str], None]
) -> None:
    online(CLOSED_PORT_URL)
    run = sweep.complete(0)
    job = sweep.job(mode="online", poll_seconds=0.1)
    mirror = MirrorProcess(job)
    mirror.start()
    wait_until(lambda: "WandB failed" in job.log_path.read_text())
    started = time.monotonic()
    mirror.stop(timeout_seconds=3.0)
    assert time.monotonic() - started < 10.0
    assert "connection refused" in sync(job).failed["demo.r.0"]
    server = WandbServer()
    with serving(server) as url:
        online(url)
        assert sync(job).mirrored == ("demo.r.0",)
    assert [row["env_steps"] for row in server.runs["demo.r.0"].history if "env_steps" in row] == [100, 200, 300]
    assert server.runs["demo.r.0"].summary["score"] == 1.5
    assert len(read_offline_runs(sweep.directory(run))) == 0


def test_a_server_that_goes_away_during_a_run_misses_nothing(sweep: SweepOnDisk, online: Callable[[str], None]) -> None:
    server = WandbServer()
    run = sweep.start(0)
    sweep.train(run, 100, 200)
    job = sweep.job(mode="online", poll_seconds=0.1, finish_seconds=1.0)
    with serving(server) as url:
        online(url)
        mirror = MirrorProcess(job)
        mirror.start()
        wait_until(lambda: "demo.r.0" in server.runs)
    sweep.train(run, 300)
    sweep.finish(run, completed(curve=()))
    wait_until(lambda: "WandB failed" in job.log_path.read_text())
    assert not mirror.stop(timeout_seconds=3.0)
    assert server.runs["demo.r.0"].state == "running"
    with serving(server) as url:
        online(url)
        assert sync(replace(job, finish_seconds=20.0)).mirrored == ("demo.r.0",)
    assert [row["_step"] for row in server.runs["demo.r.0"].history] == [100, 200, 300]


def test_a_run_counts_as_sent_only_when_the_server_shows_it_and_is_shown_once(
    sweep: SweepOnDisk, online: Callable[[str], None]
) -> None:
    server = WandbServer()
    sweep.complete(0)
    job = sweep.job(mode="online", finish_seconds=1.0)
    with serving(server) as url:
        online(url)
        server.refuses_rows = True
        assert "was its project deleted?" in sync(job).failed["demo.r.0"]
        server.refuses_rows, server.hides_summaries = False, True
        assert "demo.r.0" in sync(job).failed
        assert len(server.runs["demo.r.0"].history) == 5
        server.hides_summaries = False
        assert sync(replace(job, finish_seconds=20.0)).mirrored == ("demo.r.0",)
    assert server.num_repeated_rows == 0
    assert [row["_step"] for row in server.runs["demo.r.0"].history] == [100, 150, 200, 300, 301]


def test_a_sweep_mirrored_offline_is_sent_whole_once_there_is_a_key_and_the_terminal_stays_quiet(
    sweep: SweepOnDisk, online: Callable[[str], None], capfd: pytest.CaptureFixture[str]
) -> None:
    sweep.complete(0)
    assert sync(sweep.job()) == SyncReport("offline", mirrored=("demo.r.0",))
    server = WandbServer()
    with serving(server) as url:
        online(url)
        report = sync(sweep.job(mode="online"))
    assert report == SyncReport("online", mirrored=("demo.r.0",))
    stored = server.runs["demo.r.0"]
    assert (stored.group, stored.config["trainer.ppo.gamma"], stored.state) == ("demo", 0.99, "finished")
    assert "sweep_name:demo" in stored.tags
    assert [row["_step"] for row in stored.history] == [100, 150, 200, 300, 301]
    assert capfd.readouterr() == ("", "")


def test_a_driver_with_a_wandb_of_its_own_does_not_share_it_with_the_mirror(
    sweep: SweepOnDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_SERVICE", "3-1-tcp-127.0.0.1-1")  # where nobody listens
    sweep.complete(0)
    assert sync(sweep.job()).mirrored == ("demo.r.0",)


def test_sync_does_not_write_beside_a_live_mirror(sweep: SweepOnDisk) -> None:
    sweep.job().directory.mkdir(parents=True)
    with sweep_lock(sweep.job().directory) as mine:
        assert mine
        with pytest.raises(MirrorBusy, match="demo: another process mirrors this sweep"):
            sync(sweep.job())


def test_off_starts_nothing(sweep: SweepOnDisk) -> None:
    with MirrorProcess(sweep.job(mode="off")) as mirror:
        assert mirror.pid is None
    assert sync(sweep.job(mode="off")) == SyncReport("off")
    assert not sweep.job().directory.exists()


def test_the_tune_callback_starts_the_mirror_and_pickles_to_nothing(sweep: SweepOnDisk) -> None:
    from metta_sweep.tracking.mirror_callback import WandbMirrorCallback

    callback = WandbMirrorCallback(sweep.job(poll_seconds=0.1))
    callback.setup()
    run = sweep.complete(0)
    restored = pickle.loads(pickle.dumps(callback))
    restored.setup()
    assert restored.stop()
    assert callback.stop()
    assert len(read_offline_runs(sweep.directory(run))) == 1
