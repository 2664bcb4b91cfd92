"""The nodes under a sweep as they come and go: how many runs fit, and which nodes take no more of them."""

from __future__ import annotations

from dataclasses import dataclass

from metta_sweep.driver.cluster import ClusterNodes
from metta_sweep.driver.nodes import NodeBreaker
from metta_sweep.driver.slots import Slots


@dataclass(slots=True)
class Fleet:
    """What the search asks before it starts a run. Used from Tune's loop only, but for `slots`.

    Attributes:
        slots: runs that fit at once.
        breaker: nodes that lost too many runs.
        nodes: of the cluster.
        left: ids of all that Ray was seen to drain; they stay avoided, for a request for fewer nodes would cost warm
            workers.
    """

    slots: Slots
    breaker: NodeBreaker
    nodes: ClusterNodes
    left: frozenset[str] = frozenset()

    def avoided(self) -> tuple[str, ...]:
        """Nodes that the next run must not go to, in order of their ids.

        Ray places nothing on a node that it drains, but Tune would reuse the processes that a run left there; a request
        that differs from theirs keeps it from that.
        """
        self.left |= self.nodes.leaving()
        return tuple(sorted({*self.breaker.cordoned, *self.left}))
