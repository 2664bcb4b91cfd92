"""Sweeps of runs with two ranks on a simulated cluster: several raylets on this machine, real training."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
import yaml
from ray.cluster_utils import Cluster

from metta_sweep.registry.api import Registry
from metta_sweep.registry.open import open_registry
from metta_sweep.registry.records import RunState
from tests.metta_sweep.driver.clusters import started_cluster
from tests.metta_sweep.driver.drive import ROOT, SWEEP, kill_everything, wait_for, write_known_baseline
from tests.metta_sweep.driver.test_kills_on_ray import SMALL, steps_of
from trainables.run_files import RunFiles

pytestmark = [pytest.mark.ray, pytest.mark.long, pytest.mark.timeout(900)]


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    """Four nodes of two CPUs: room for four runs of two ranks."""
    with started_cluster() as cluster:
        for _ in range(4):
            cluster.add_node(num_cpus=2)
        yield cluster


@pytest.fixture
def records(tmp_path: Path) -> Iterator[Registry]:
    write_known_baseline(tmp_path / "sweep" / SWEEP / "random_policy.yaml")
    with closing(open_registry(tmp_path, None)) as registry:
        yield registry


def start(data_dir: Path, cluster: Cluster, *words: str, **environ: str) -> subprocess.Popen[bytes]:
    """The real command on the cluster."""
    command = [
        sys.executable,
        "-m",
        "metta_sweep",
        "run",
        f"sweep_name={SWEEP}",
        f"data_dir={data_dir}",
        *SMALL,
        "resources.world_size=2",
        *words,
    ]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "RAY_ADDRESS": cluster.address, **environ}
    return subprocess.Popen(command, cwd=data_dir, env=environment, start_new_session=True)


def finish(driver: subprocess.Popen[bytes]) -> None:
    try:
        assert driver.wait(timeout=600) == 0
    finally:
        if driver.poll() is None:
            kill_everything(driver)


def files_of(data_dir: Path, run_id: str) -> RunFiles:
    return RunFiles(data_dir / "sweep" / SWEEP / "runs" / run_id)


def ranks(data_dir: Path, run_id: str, attempt: int = 1) -> list[str]:
    """Node of each rank."""
    return [rank["node"] for rank in yaml.safe_load(files_of(data_dir, run_id).dist(attempt).read_text())["ranks"]]


def most_at_once(registry: Registry) -> int:
    attempts = registry.attempts(SWEEP)
    return max(
        sum(other.started_at <= one.started_at < (other.ended_at or 0.0) for other in attempts) for one in attempts
    )


@pytest.mark.parametrize(("strategy", "nodes_per_run"), [("SPREAD", 2), ("PACK", 1)])
def test_ranks_land_as_asked_four_runs_at_once(
    strategy: str,
    nodes_per_run: int,
    cluster: Cluster,
    tmp_path: Path,
    records: Registry,
    capsys: pytest.CaptureFixture[str],
) -> None:
    finish(start(tmp_path, cluster, "sweep.num_samples=6", f"resources.strategy={strategy}"))
    runs = records.runs(SWEEP)
    assert [run.state for run in runs] == [RunState.COMPLETED] * 6
    assert most_at_once(records) == 4
    assert {len(set(ranks(tmp_path, run.id))) for run in runs} == {nodes_per_run}
    with capsys.disabled():
        print(f"\n{strategy}\n{files_of(tmp_path, runs[0].id).dist(1).read_text()}")


def test_ten_runs_that_start_at_once_where_two_fit_do_not_starve_each_other(tmp_path: Path, records: Registry) -> None:
    """The driver is promised ten slots, so that ten groups of workers ask for their places at once."""
    promised = json.dumps([{"resources": {"CPU": 20}}])
    with started_cluster() as cluster:
        for _ in range(2):
            cluster.add_node(num_cpus=2)
        finish(
            start(tmp_path, cluster, "sweep.num_samples=10", "resources.strategy=SPREAD", METTA_SWEEP_NODES=promised)
        )
    assert [run.state for run in records.runs(SWEEP)] == [RunState.COMPLETED] * 10
    started = [event.sequence for event in records.events(SWEEP) if event.kind == "started"]
    first_end = next(event.sequence for event in records.events(SWEEP) if event.kind == "completed")
    assert started[9] < first_end


def test_runs_of_a_node_that_dies_go_on_elsewhere_under_their_own_ids(
    cluster: Cluster, tmp_path: Path, records: Registry
) -> None:
    driver = start(
        tmp_path, cluster, "sweep.num_samples=6", "resources.strategy=SPREAD", "trainer.total_timesteps=120000"
    )
    runs = [f"{SWEEP}.r.{number}" for number in range(4)]
    wait_for(lambda: all(any(files_of(tmp_path, run).checkpoints.glob("*")) for run in runs), seconds=300)
    placed = {run: ranks(tmp_path, run) for run in runs}
    victim = next(node for node in cluster.worker_nodes if any(node.node_id in nodes for nodes in placed.values()))
    cluster.remove_node(victim, allow_graceful=False)
    finish(driver)
    lost = [run for run in runs if victim.node_id in placed[run]]
    assert lost
    assert [run.state for run in records.runs(SWEEP)] == [RunState.COMPLETED] * 6
    assert sorted(seen.run_number for seen in records.observations(SWEEP)) == list(range(6))
    for run in lost:
        attempts = [attempt.number for attempt in records.attempts(SWEEP) if attempt.run_id == run]
        assert len(attempts) >= 2
        assert victim.node_id not in ranks(tmp_path, run, attempts[-1])
        steps = steps_of(files_of(tmp_path, run).directory)
        assert steps.count(min(steps)) == 1, "it went on from a checkpoint, not from the start"


def test_a_node_with_notice_is_left_with_a_checkpoint_and_its_runs_go_on_elsewhere(
    cluster: Cluster, tmp_path: Path, records: Registry
) -> None:
    driver = start(
        tmp_path, cluster, "sweep.num_samples=4", "resources.strategy=PACK", "trainer.total_timesteps=120000"
    )
    runs = [f"{SWEEP}.r.{number}" for number in range(4)]
    wait_for(lambda: all(any(files_of(tmp_path, run).checkpoints.glob("*")) for run in runs), seconds=300)
    leaving = ranks(tmp_path, runs[0])[0]
    drain(cluster, leaving)
    finish(driver)
    assert [run.state for run in records.runs(SWEEP)] == [RunState.COMPLETED] * 4
    moved = [run for run in runs if leaving in ranks(tmp_path, run)]
    told = {event.run_id: event.detail["reason"] for event in records.events(SWEEP) if event.kind == "interrupted"}
    assert told == dict.fromkeys(moved, f"node {leaving} will be taken away")
    for run in moved:
        assert leaving not in ranks(tmp_path, run, attempt=2)
        steps = steps_of(files_of(tmp_path, run).directory)
        assert len(steps) == len(set(steps)), "no update is trained twice"


def drain(cluster: Cluster, node: str) -> None:
    """What a provider's notice becomes; see cluster/watch_preemption.sh."""
    reason = ("--reason=DRAIN_NODE_REASON_PREEMPTION", "--reason-message=spot", "--deadline-remaining-seconds=100")
    command = [
        sys.executable,
        "-m",
        "ray.scripts.scripts",
        "drain-node",
        f"--address={cluster.address}",
        f"--node-id={node}",
        *reason,
    ]
    subprocess.run(command, check=True)
