"""A node that loses run after run takes no more of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from metta_sweep.driver.nodes import BreakerLimits, NodeBreaker


class Ward:
    """A breaker over nodes a and b, with a clock that the test moves."""

    def __init__(self, living: frozenset[str] = frozenset("ab"), fast_losses: int = 3) -> None:
        self.now = 0.0
        self.notes: list[str] = []
        self.breaker = NodeBreaker(
            BreakerLimits(fast_losses, fast_seconds=60.0), lambda: living, self.note, clock=lambda: self.now
        )

    def note(self, kind: str, text: str, detail: Mapping[str, Any]) -> None:
        self.notes.append(f"{kind}: {text}")

    def lose(self, node: str, after: float = 1.0) -> None:
        self.breaker.started("r")
        self.now += after
        self.breaker.lost("r", {node})

    def finish(self, node: str) -> None:
        self.breaker.started("r")
        self.breaker.went_well("r", lambda: {node})


def test_three_fast_losses_in_a_row_cordon_the_node_and_are_told_once() -> None:
    ward = Ward()
    for _ in range(2):
        ward.lose("a")
    assert ward.breaker.cordoned == ()
    ward.lose("a")
    ward.lose("a")
    assert ward.breaker.cordoned == ("a",)
    assert ward.notes == ["node_cordoned: node a takes no more runs: it lost 3 in a row within 60 s of their start"]


def test_a_run_that_went_well_or_was_lost_late_begins_the_count_anew() -> None:
    for interlude in ("finish", "late"):
        ward = Ward()
        ward.lose("a")
        ward.lose("a")
        ward.finish("a") if interlude == "finish" else ward.lose("a", after=61.0)
        ward.lose("a")
        ward.lose("a")
        assert ward.breaker.cordoned == (), interlude


def test_nodes_are_counted_apart() -> None:
    ward = Ward()
    for node in "abab":
        ward.lose(node)
    assert ward.breaker.cordoned == ()


def test_the_last_node_stays() -> None:
    ward = Ward()
    for node in "aaabbbb":
        ward.lose(node)
    assert ward.breaker.cordoned == ("a",)
    alone = Ward(living=frozenset("a"))
    for _ in range(5):
        alone.lose("a")
    assert alone.breaker.cordoned == ()


def test_zero_means_never() -> None:
    ward = Ward(fast_losses=0)
    for _ in range(10):
        ward.lose("a")
    assert ward.breaker.cordoned == ()
