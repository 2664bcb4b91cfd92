"""Slots follow the cluster: nodes that join count, a cluster without nodes is waited for, and people are told."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from metta_sweep.capacity import Node, count_slots, promised_nodes
from metta_sweep.driver.cluster import ClusterNodes
from metta_sweep.driver.slots import LOOK_SECONDS, Slots
from metta_sweep.errors import ConfigError
from trainables.resources import Resources


class Watched:
    """Slots of a cluster that the test changes, with a clock that is always ripe for a look."""

    def __init__(self, *nodes: Node, resources: Resources | None = None) -> None:
        self.nodes, self.now = list(nodes), 0.0
        self.told: list[Any] = []
        self.slots = Slots(resources or Resources(), lambda: self.nodes, self.note, clock=lambda: self.now)

    def note(self, kind: str, text: str, detail: Mapping[str, Any]) -> None:
        self.told.append((kind, text, detail["slots"]))

    def look(self) -> None:
        self.now += LOOK_SECONDS
        self.slots.look()


def test_a_node_that_joins_is_counted_at_the_next_look_and_a_change_is_told_once() -> None:
    watched = Watched(Node({"CPU": 2.0}))
    watched.nodes.append(Node({"CPU": 4.0}))
    watched.look()
    watched.look()
    assert watched.slots.now == 6
    assert watched.told == [("slots_changed", "6 run(s) at a time", 6)]


def test_a_cluster_without_a_node_for_runs_is_waited_for_with_one_run_that_asks_for_a_place() -> None:
    watched = Watched(Node({"CPU": 0.0}), resources=Resources(gpus_per_worker=1.0))
    assert (watched.slots.now, watched.slots.wanted) == (0, 1)
    watched.nodes.append(Node({"CPU": 8.0, "GPU": 2.0}))
    watched.look()
    assert (watched.slots.now, watched.slots.wanted) == (2, 2)


def test_nodes_that_all_leave_are_waited_for_too() -> None:
    watched = Watched(Node({"CPU": 2.0}))
    watched.nodes.clear()
    watched.look()
    assert watched.told == [("slots_changed", "no node can hold a run now: waiting for one", 0)]


def test_nodes_that_are_there_but_too_small_are_a_mistake() -> None:
    with pytest.raises(ConfigError, match=r"resources\.gpus_per_worker"):
        Watched(Node({"CPU": 8.0}), resources=Resources(gpus_per_worker=1.0))


def test_max_concurrent_runs_holds_whatever_joins() -> None:
    watched = Watched(Node({"CPU": 2.0}), resources=Resources(max_concurrent_runs=3))
    watched.nodes.append(Node({"CPU": 64.0}))
    watched.look()
    assert watched.slots.now == 3


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
