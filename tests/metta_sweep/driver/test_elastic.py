"""Clusters that grow and shrink: a sweep starts without a node for runs; a run loses one of its nodes."""

from __future__ import annotations

from pathlib import Path

import pytest
import ray
from ray.util.placement_group import placement_group

from metta_sweep.registry.api import Registry
from metta_sweep.registry.records import SweepState
from tests.metta_sweep.driver.clusters import started_cluster
from tests.metta_sweep.driver.drive import SWEEP, Instant, start_driver, wait_for
from trainables.errors import NodeLost
from trainables.preemption import NodeWatch


def told(registry: Registry, kind: str) -> list[str]:
    return [event.detail["text"] for event in registry.events(SWEEP) if event.kind == kind]


@pytest.mark.ray
def test_a_sweep_waits_for_its_first_node_says_so_and_uses_the_next_one_too(
    tmp_path: Path, registry: Registry, instant: Instant
) -> None:
    instant(sleep_seconds=1.0)  # shorter than a process takes to start: a warm one must not keep the next from starting
    registry.create_sweep(SWEEP, "")
    nodes: set[str] = set()
    with started_cluster() as cluster:
        words = ("sweep.num_samples=null", "settings.placement_warning_seconds=1")
        driver = start_driver(tmp_path, *words, environ={"RAY_ADDRESS": cluster.address})
        wait_for(lambda: bool(told(registry, "waiting_for_resources")))
        for _ in range(2):
            nodes.add(cluster.add_node(num_cpus=1).node_id)
            wait_for(lambda: {path.read_text() for path in tmp_path.glob("**/node_1")} == nodes)
        registry.set_sweep_state(SWEEP, SweepState.DRAINING, by="test", reason="seen enough")
        assert driver.wait(timeout=60) == 0
    text = (
        f"{SWEEP}.r.0: waited 1 s for a place: the cluster has no node that offers a CPU or GPU; add one, or wait for "
        "its autoscaler"
    )
    assert told(registry, "waiting_for_resources")[0] == text
    assert told(registry, "slots_changed") == ["1 run at a time", "2 runs at a time"]


@pytest.mark.ray
def test_a_lost_node_is_told_even_when_its_bundle_got_another_place() -> None:
    quick = {"health_check_initial_delay_ms": 0, "health_check_period_ms": 500, "health_check_failure_threshold": 2}
    with started_cluster(_system_config=quick) as cluster:
        nodes = [cluster.add_node(num_cpus=1) for _ in range(2)]
        ray.init(address=cluster.address, log_to_driver=False)
        try:
            group = placement_group([{"CPU": 1}] * 2, strategy="SPREAD")
            assert group.wait(30)
            watch = NodeWatch(group)
            watch.check()
            cluster.add_node(num_cpus=1)
            watch.check()
            cluster.remove_node(nodes[0], allow_graceful=False)
            wait_for(lambda: what_was_lost(watch) == f"lost node {nodes[0].node_id}")
        finally:
            ray.shutdown()


def what_was_lost(watch: NodeWatch) -> str:
    try:
        watch.check()
    except NodeLost as lost:
        return str(lost)
    return ""
