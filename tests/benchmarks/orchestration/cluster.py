"""A cluster of many: raylets that die, drain and join, two drivers of one sweep, runs that wait and report recorded
curves.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from ray._raylet import GcsClient  # type: ignore[attr-defined]  # compiled
from ray.cluster_utils import Cluster
from ray.core.generated import autoscaler_pb2

from tests.benchmarks.orchestration.recorded import uses
from tests.benchmarks.search.ppo_table import PPO_FIVE
from tests.metta_sweep.driver.clusters import started_cluster
from tests.metta_sweep.driver.drive import ROOT, SWEEP, kill_everything, wait_for, write_known_baseline

NODES = 16
SLOTS_PER_NODE = 4
DRIVERS = 2
# A run stands for one of one to three minutes: simulated seconds in one of the wall's.
SPEED = 2.0
SETUP_SECONDS = 30.0
SECONDS_PER_SECOND = 5.0  # of recorded CPU time: runs wait 32 to 82 s
# Ray's own release tests: every ten seconds a node dies with this probability. Half as often one gets a notice.
EVERY_SECONDS = 10.0
DEATHS = 0.03
DRAINS = 0.015
NOTICE_SECONDS = 100.0  # simulated, as of a spot instance
ABSENT_SECONDS = 30.0  # simulated, until a node that left is replaced
# 64 processes on two cores start slowly, and answer late.
PATIENCE = {"RAY_worker_register_timeout_seconds": "600", "RAY_health_check_timeout_ms": "60000"}
SPACE = (
    "sweep.parameters.trainer.total_timesteps.min=16384",
    "sweep.parameters.trainer.total_timesteps.max=131072",
    "+sweep.parameters.trainer.ppo.gamma={distribution: logit_normal, min: 0.9, max: 0.995}",
    "+sweep.parameters.trainer.update_epochs={distribution: int_uniform, min: 1, max: 4}",
)


@dataclass
class Chaos:
    """Nodes that come and go; `slots` is how many there were since when, and `events` what happened."""

    cluster: Cluster
    rng: random.Random
    slots: list[tuple[float, int]] = field(default_factory=list)
    events: Counter[str] = field(default_factory=Counter)
    loads: list[float] = field(default_factory=list)
    _due: list[tuple[float, Any]] = field(default_factory=list)  # when a node joins (None), or a drained one goes
    _drained: set[Any] = field(default_factory=set)
    rolled_at: float = field(default_factory=time.time)

    def join(self) -> None:
        """A new node, or, on a machine that is too busy for it, none yet."""
        try:
            self.cluster.add_node(num_cpus=SLOTS_PER_NODE, object_store_memory=80_000_000)
        except Exception:  # noqa: BLE001  # Ray raises nothing narrower when a node does not start in 30 s
            self.events["did not start"] += 1
            self._due.append((time.time() + ABSENT_SECONDS / SPEED, None))
        else:
            self.events["joined"] += 1
            self._count()

    def turn(self) -> None:
        """What is due; call it often."""
        for moment, node in [one for one in self._due if one[0] <= time.time()]:
            self._due.remove((moment, node))
            if node is None:
                self.join()
            else:
                self._go(node)
        if time.time() - self.rolled_at >= EVERY_SECONDS / SPEED:
            self.rolled_at += EVERY_SECONDS / SPEED
            self.loads.append(os.getloadavg()[0])
            self._roll()

    def _roll(self) -> None:
        staying = sorted(self.cluster.worker_nodes - self._drained, key=lambda node: node.node_id)
        if staying and self.rng.random() < DEATHS:
            self.events["died"] += 1
            self._go(self.rng.choice(staying))
        elif staying and self.rng.random() < DRAINS:
            self.events["drained"] += 1
            self._drain(self.rng.choice(staying))

    def _go(self, node: Any) -> None:
        self._drained.discard(node)
        self.cluster.remove_node(node, allow_graceful=False)
        self._due.append((time.time() + ABSENT_SECONDS / SPEED, None))
        self._count()

    def _drain(self, node: Any) -> None:
        ends_at = time.time() + NOTICE_SECONDS / SPEED
        reason = autoscaler_pb2.DrainNodeReason.Value("DRAIN_NODE_REASON_PREEMPTION")
        GcsClient(address=self.cluster.address).drain_node(node.node_id, reason, "spot", int(ends_at * 1000))
        self._drained.add(node)
        self._due.append((ends_at - 1.0, node))  # Ray ends the node at the deadline itself
        self._count()

    def _count(self) -> None:
        self.slots.append((time.time(), SLOTS_PER_NODE * len(self.cluster.worker_nodes - self._drained)))


def start_driver(address: str, directory: Path, number: int, words: Sequence[str]) -> subprocess.Popen[bytes]:
    module = "tests.benchmarks.orchestration.watched_driver"
    command = [sys.executable, "-m", module, address, str(directory), str(directory / f"driver_{number}.json"), *words]
    log = (directory / f"driver_{number}.log").open("w")
    return subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log, start_new_session=True)


@contextmanager
def two_drivers(directory: Path, trials: int, chaos: Chaos) -> Iterator[list[subprocess.Popen[bytes]]]:
    """The second begins when the processes of the first have started, which takes two cores minutes."""
    half = NODES * SLOTS_PER_NODE // DRIVERS
    words = (f"sweep.num_samples={trials}", f"resources.max_concurrent_runs={half}", "resources.cpus_per_worker=1")
    drivers: list[subprocess.Popen[bytes]] = []
    try:
        for number in range(DRIVERS):
            drivers.append(start_driver(chaos.cluster.address, directory, number, (*words, *SPACE)))
            runs = directory / "sweep" / SWEEP / "runs"
            wait_for(lambda: len(uses(runs)) >= min(half * len(drivers), trials), seconds=900.0)  # noqa: B023
        yield drivers
    finally:
        for driver in drivers:
            if driver.poll() is None:
                kill_everything(driver)


def prepare(directory: Path) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    table = {"axes": PPO_FIVE.axes, "seeds": PPO_FIVE.seeds, "runs": json.loads(PPO_FIVE.file.read_text())}
    wait = {"setup_seconds": SETUP_SECONDS, "seconds_per_second": SECONDS_PER_SECOND}
    (directory / "recorded.json").write_text(json.dumps(table | wait))
    write_known_baseline(directory / "sweep" / SWEEP / "random_policy.yaml")


def run_cluster(directory: Path, trials: int) -> Chaos:
    """All runs, with nodes that come and go meanwhile."""
    prepare(directory)
    with pytest.MonkeyPatch.context() as process:
        for name, value in PATIENCE.items():
            process.setenv(name, value)
        with started_cluster() as cluster:
            chaos = Chaos(cluster, random.Random(1))
            for _ in range(NODES):
                chaos.join()
            with two_drivers(directory, trials, chaos) as drivers:
                chaos.rolled_at = time.time()
                while any(driver.poll() is None for driver in drivers):
                    chaos.turn()
                    time.sleep(0.2)
    assert [driver.returncode for driver in drivers] == [0] * DRIVERS, f"see {directory}/driver_*.log"
    return chaos


def cluster(directory: Path, trials: int) -> dict[str, dict[str, float]]:
    from tests.benchmarks.orchestration.cluster_figures import figures

    began = time.time()
    chaos = run_cluster(directory, trials)
    return figures(directory, trials, chaos.slots, chaos.events, chaos.loads, time.time() - began)
