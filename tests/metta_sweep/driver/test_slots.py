"""Slots follow the cluster: nodes that join count, a cluster without nodes is waited for, and people are told."""

from __future__ import annotations

import pytest

from metta_sweep.capacity import Node, count_slots, promised_nodes, slots_at_start
from metta_sweep.errors import ConfigError
from metta_sweep.ray_cluster.cluster import ClusterNodes
from trainables.resources import Resources


def test_a_cluster_without_a_node_for_runs_is_waited_for() -> None:
    assert slots_at_start(Resources(gpus_per_worker=1.0), [Node({"CPU": 0.0})]) == 0


def test_nodes_that_are_there_but_too_small_are_a_mistake() -> None:
    with pytest.raises(ConfigError, match=r"resources\.gpus_per_worker"):
        slots_at_start(Resources(gpus_per_worker=1.0), [Node({"CPU": 8.0})])


def test_max_concurrent_runs_holds_whatever_joins() -> None:
    assert count_slots(Resources(max_concurrent_runs=3), [Node({"CPU": 2.0}), Node({"CPU": 64.0})]) == 3


SPOT, ON_DEMAND = Node({"CPU": 4.0}, {"market": "spot"}), Node({"CPU": 4.0}, {"market": "on-demand"})


def test_a_run_that_asks_for_a_kind_of_node_has_slots_on_that_kind_only() -> None:
    assert count_slots(Resources(node_labels=("market=spot",)), [SPOT, ON_DEMAND, ON_DEMAND]) == 4


def test_a_kind_of_node_that_is_not_there_is_refused_with_the_kinds_that_are() -> None:
    with pytest.raises(
        ConfigError, match=r"resources\.node_labels: no node has market=spto; there are market=on-demand, market=spot"
    ):
        count_slots(Resources(node_labels=("market=spto",)), [SPOT, ON_DEMAND])


def test_what_an_autoscaler_may_add_counts_from_the_start() -> None:
    class NothingYet(ClusterNodes):
        def living(self) -> dict[str, Node]:
            return {"head": Node({"CPU": 0.0})}

        def leaving(self) -> frozenset[str]:
            return frozenset()

    promised = promised_nodes({"METTA_SWEEP_NODES": '[{"resources": {"CPU": 16}, "labels": {"market": "spot"}}]'})
    assert NothingYet(promised).usable() == (Node({"CPU": 16}, {"market": "spot"}),)


def test_nodes_that_nobody_promised_in_this_way_are_refused() -> None:
    with pytest.raises(ConfigError, match="METTA_SWEEP_NODES: need a list like"):
        promised_nodes({"METTA_SWEEP_NODES": '[{"cpus": 16}]'})
