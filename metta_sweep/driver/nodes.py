"""The circuit breaker of each node: one that loses run after run at their start takes no more of them."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Any

from metta_sweep.driver.notes import Note


@dataclass(frozen=True, slots=True)
class BreakerLimits:
    """When a node is cordoned.

    Attributes:
        fast_losses: runs lost in a row, each soon after its start; 0 = never.
        fast_seconds: how long after its start a lost run still counts as a fast loss.
    """

    fast_losses: int
    fast_seconds: float


@dataclass(slots=True)
class NodeBreaker:
    """Counts fast losses in a row on each node. Used from Tune's loop only.

    Attributes:
        limits: when a node is cordoned.
        living: ids of the nodes that are alive; asked only when a node is about to be cordoned.
        note: hears of each cordoned node.
        clock: seconds.
        cordoned: nodes that take no more runs, in order of their ids.
    """

    limits: BreakerLimits
    living: Callable[[], Collection[str]]
    note: Note
    clock: Callable[[], float] = time.monotonic
    cordoned: tuple[str, ...] = ()
    _losses: Counter[str] = field(default_factory=Counter)
    _started: dict[str, float] = field(default_factory=dict)

    def started(self, run_id: str) -> None:
        """The run is on its way to a node."""
        self._started[run_id] = self.clock()

    def went_well(self, run_id: str, nodes: Callable[[], Collection[str]]) -> None:
        """The run ended with an answer of its own, on these nodes (asked only when that matters)."""
        self._started.pop(run_id, None)
        for node in nodes() if self._losses else ():
            self._losses.pop(node, None)

    def lost(self, run_id: str, nodes: Collection[str]) -> None:
        """The run lost its trial driver or workers; each of its nodes may be the one to blame."""
        seconds = self.clock() - self._started.pop(run_id, 0.0)
        for node in nodes:
            self._losses[node] = self._losses[node] + 1 if seconds <= self.limits.fast_seconds else 0
            if 0 < self.limits.fast_losses <= self._losses[node] and node not in self.cordoned:
                self._cordon(node)

    def _cordon(self, node: str) -> None:
        """The last node stays: without it nothing would run at all, and the count of the sweep ends what it cannot
        do.
        """
        if not set(self.living()) - {*self.cordoned, node}:
            return
        self.cordoned = tuple(sorted({*self.cordoned, node}))
        text = (
            f"node {node} takes no more runs: it lost {self._losses[node]} in a row within "
            f"{self.limits.fast_seconds:g} s of their start"
        )
        detail: dict[str, Any] = {"node": node, "losses": self._losses[node]}
        self.note("node_cordoned", text, detail)
