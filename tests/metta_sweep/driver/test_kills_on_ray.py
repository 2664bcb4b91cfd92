"""Twenty seeded `kill -9` over driver, trial driver and worker while real policies are trained on a real Ray."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psutil
import pytest

from metta_sweep.registry.api import Registry
from metta_sweep.registry.open import open_registry
from metta_sweep.registry.records import RunState
from tests.metta_sweep.driver.audit import (
    assert_no_point_is_a_double,
    assert_nothing_starts_after_its_end,
    assert_numbers_have_no_gaps,
    assert_results_are_those_of_the_files,
)
from tests.metta_sweep.driver.drive import ROOT, kill_everything, wait_for, write_known_baseline
from trainables.run_files import RunFiles

KILLS = ["driver"] * 6 + ["RunTrainable"] * 7 + ["RankActor"] * 7
ENDLESS = "sweep.num_samples=null"
SMALL = (
    "sweep=fast",
    "env=gymnasium/cartpole",
    "sim=cartpole",
    "sim.episodes=4",
    "trainer.curriculum=/env/gymnasium/CartPole-v1",
    "trainer.total_timesteps=40960",
    "trainer.batch_size=512",
    "trainer.minibatch_size=256",
    "trainer.num_envs=8",
    "trainer.checkpoint.interval_seconds=1",
    "settings.infrastructure_retry_delay=0.1",
    "wandb=off",
)


def start(data_dir: Path, *words: str) -> subprocess.Popen[bytes]:
    """The real command."""
    command = [sys.executable, "-m", "metta_sweep", "run", "sweep_name=instant", f"data_dir={data_dir}", *SMALL, *words]
    environ = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "METTA_SWEEP_RAY_DASHBOARD": "0",
        "NUM_CPUS": "2",
        "OMP_NUM_THREADS": "1",
    }
    return subprocess.Popen(command, cwd=data_dir, env=environ, start_new_session=True)


def actors(driver: subprocess.Popen[bytes], kind: str) -> Iterator[psutil.Process]:
    """Living processes below the driver that Ray named after this class."""
    for process in psutil.Process(driver.pid).children(recursive=True):
        try:
            if " ".join(process.cmdline()).startswith(f"ray::{kind}"):
                yield process
        except psutil.NoSuchProcess:
            continue  # it ended while we looked


def kill_one(driver: subprocess.Popen[bytes], kind: str, rng: random.Random) -> bool:
    """Whether there was one."""
    living = list(actors(driver, kind))
    if living:
        rng.choice(living).send_signal(signal.SIGKILL)
    return bool(living)


def steps_of(directory: Path) -> list[int]:
    return [json.loads(line)["env_steps"] for line in RunFiles(directory).metrics.read_text().splitlines()]


@pytest.mark.ray
@pytest.mark.long
@pytest.mark.timeout(1800)
def test_twenty_kills_lose_no_result_use_no_id_twice_and_train_no_point_twice(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_known_baseline(tmp_path / "sweep" / "instant" / "random_policy.yaml")
    drivers = [start(tmp_path, ENDLESS)]
    try:
        kill_in_turn(drivers, tmp_path)
        drivers[-1].send_signal(signal.SIGINT)
        drivers[-1].wait(timeout=120)
        with closing(open_registry(tmp_path, None)) as registry:
            count = registry.next_number("instant")
            drivers.append(start(tmp_path, f"sweep.num_samples={count}"))
            assert drivers[-1].wait(timeout=900) == 0
            check(registry, tmp_path, count)
            with capsys.disabled():
                print(f"\n{dict(Counter(KILLS))}: {summary(registry, tmp_path)}")
    finally:
        if drivers[-1].poll() is None:
            kill_everything(drivers[-1])


def kill_in_turn(drivers: list[subprocess.Popen[bytes]], data_dir: Path) -> None:
    """Each kill at its own time after a worker is there; a killed driver is started again."""
    rng = random.Random(6)
    for target in rng.sample(KILLS, len(KILLS)):
        wait_for(lambda: any(actors(drivers[-1], "RankActor")), seconds=180)
        time.sleep(rng.uniform(0.0, 4.0))
        if target == "driver":
            kill_everything(drivers[-1])
            drivers.append(start(data_dir, ENDLESS))
        else:
            wait_for(lambda kind=target: kill_one(drivers[-1], kind, rng), seconds=180)  # type: ignore[misc]


def check(registry: Registry, data_dir: Path, count: int) -> None:
    runs, observations = registry.runs("instant"), registry.observations("instant")
    assert_numbers_have_no_gaps(runs, observations, count)
    assert {run.state for run in runs} == {RunState.COMPLETED}
    assert_no_point_is_a_double(runs)
    assert_nothing_starts_after_its_end(registry, "instant")
    assert_results_are_those_of_the_files(observations, data_dir / "sweep" / "instant" / "runs")


def summary(registry: Registry, data_dir: Path) -> str:
    """What it cost: attempts, and the share of updates that were trained again since the last checkpoint."""
    steps = [steps_of(data_dir / "sweep" / "instant" / "runs" / run.id) for run in registry.runs("instant")]
    again = sum(len(one) - len(set(one)) for one in steps)
    total = sum(len(set(one)) for one in steps)
    attempts = len(registry.attempts("instant"))
    return f"{len(steps)} runs, {attempts} attempts, {again} of {total} updates trained again after a checkpoint"
