"""How many runs fit, and what is said when none does."""

from __future__ import annotations

import pytest

from metta_sweep.capacity import Node, bundles, count_slots
from metta_sweep.config.job import Machine
from metta_sweep.errors import ClusterError, ConfigError
from metta_sweep.ray_cluster.cluster import connected
from trainables.resources import Resources

TWO_CORES = [Node({"CPU": 2.0})]
FOUR_NODES = [Node({"CPU": 8.0, "GPU": 4.0})] * 4


def test_the_driver_bundle_is_empty_and_each_rank_has_its_own() -> None:
    assert bundles(Resources(world_size=2, gpus_per_worker=1)) == [
        {},
        {"CPU": 1.0, "GPU": 1.0},
        {"CPU": 1.0, "GPU": 1.0},
    ]


@pytest.mark.parametrize(
    ("resources", "nodes", "slots"),
    [
        (Resources(), TWO_CORES, 2),
        (Resources(world_size=2), TWO_CORES, 1),
        (Resources(max_concurrent_runs=1), TWO_CORES, 1),
        (Resources(world_size=2, gpus_per_worker=4, strategy="STRICT_SPREAD"), FOUR_NODES, 2),
        (Resources(world_size=3, gpus_per_worker=4, strategy="STRICT_SPREAD"), FOUR_NODES, 1),
        (Resources(world_size=4, gpus_per_worker=1, strategy="STRICT_PACK"), FOUR_NODES, 4),
        (Resources(world_size=3, gpus_per_worker=1, strategy="STRICT_PACK"), FOUR_NODES, 4),
        (Resources(world_size=3, gpus_per_worker=1, strategy="PACK"), FOUR_NODES, 5),
        (Resources(gpus_per_worker=0.25), [Node({"CPU": 8.0, "GPU": 1.0})], 4),
    ],
)
def test_slots_are_the_runs_that_fit_at_once(resources: Resources, nodes: list[Node], slots: int) -> None:
    assert count_slots(resources, nodes) == slots


def test_more_gpus_than_any_node_has_is_refused_by_name() -> None:
    with pytest.raises(ConfigError, match=r"resources\.gpus_per_worker: 8 GPUs per rank, but no node has more than 4"):
        count_slots(Resources(gpus_per_worker=8), FOUR_NODES)


def test_more_ranks_than_the_cluster_holds_is_refused_by_name() -> None:
    with pytest.raises(ConfigError, match=r"resources\.world_size: 3 ranks"):
        count_slots(Resources(world_size=3), TWO_CORES)


def test_client_mode_is_refused_with_the_reason() -> None:
    with pytest.raises(ClusterError, match="client mode"), connected({"RAY_ADDRESS": "ray://head:10001"}, Machine()):
        pass
