"""Whether a node that a run is on will be taken away (Ray calls that draining, and a provider's notice is turned into
it) or is gone.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from ray.util import placement_group_table
from ray.util.placement_group import PlacementGroup

from trainables.errors import NodeLost
from trainables.ray_internals import draining_nodes

LOOK_SECONDS = 1.0  # notices are two minutes or so: a second more does no harm
NO_DEADLINE_SECONDS = 120.0  # what a spot instance of AWS gets, where Ray names no deadline
# Left of the notice when workers are given up: the result still has to reach the driver.
RESERVE_SECONDS = 3.0


@dataclass(frozen=True, slots=True)
class Notice:
    """A node of the run will go.

    Attributes:
        node: Ray's id of it.
        seconds: for a checkpoint.
    """

    node: str
    seconds: float


@dataclass(slots=True)
class NodeWatch:
    """Looks now and then whether Ray drains a node of this placement group, or lost one."""

    group: PlacementGroup
    _nodes: dict[int, str] = field(init=False)  # of each bundle
    _look_at: float = field(default=0.0, init=False)

    def __post_init__(self) -> None:
        self._nodes = nodes_of_bundles(self.group)

    def check(self) -> None:
        """Asks whether all bundles are still where they were when the watch began.

        Raises:
            NodeLost: one is not. Ray looks for another place for it, which may take for ever.
        """
        now = nodes_of_bundles(self.group)
        lost = sorted({node for bundle, node in self._nodes.items() if now.get(bundle) != node})
        if lost:
            raise NodeLost(f"lost node {', '.join(lost)}")

    def notice(self) -> Notice | None:
        """The notice of the node that goes first; None while all stay. Asks Ray at most every `LOOK_SECONDS`."""
        if time.monotonic() < self._look_at:
            return None
        self._look_at = time.monotonic() + LOOK_SECONDS
        draining = draining_nodes()
        notices = [
            Notice(node, seconds_until(draining[node], time.time()))
            for node in set(self._nodes.values()) & draining.keys()
        ]
        return min(notices, key=lambda notice: notice.seconds, default=None)


def nodes_of_bundles(group: PlacementGroup) -> dict[int, str]:
    """Ray's id of the node of each bundle that has a place."""
    return dict(placement_group_table(group)["bundles_to_node_id"])


def seconds_until(deadline_milliseconds: int, now: float) -> float:
    """Time for a checkpoint from now (epoch seconds) to a deadline (epoch milliseconds); 0 means that there is none."""
    if not deadline_milliseconds:
        return NO_DEADLINE_SECONDS
    return max(deadline_milliseconds / 1000.0 - now - RESERVE_SECONDS, 0.0)
