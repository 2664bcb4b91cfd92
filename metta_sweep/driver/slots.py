"""How many runs may be live at once on a cluster that changes: nodes that join are used, a sweep without nodes waits and says so."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence

from metta_sweep.config.job import Resources
from metta_sweep.driver.cluster import count_slots, slots_on

logger = logging.getLogger(__name__)

LOOK_SECONDS = 2.0
# An autoscaler may put no limit to a node type.
UNLIMITED_NODES = 64

Nodes = Sequence[Mapping[str, float]]


class Slots:
    """Runs that fit now, or will fit once the autoscaler has added what it may. Safe to use from any thread.

    Args:
        resources: what one run needs.
        nodes: CPUs and GPUs of the nodes to count on.
        say: tells the user when the number changes.

    Raises:
        ConfigError: there are nodes with CPUs, but no run fits.
    """

    def __init__(self, resources: Resources, nodes: Callable[[], Nodes], say: Callable[[str], None]) -> None:
        self._resources = resources
        self._nodes = nodes
        self._say = say
        self._lock = threading.Lock()
        self._looked_at = time.monotonic()
        first = nodes()
        self._now = count_slots(resources, first) if any(node.get("CPU") for node in first) else 0

    @property
    def now(self) -> int:
        """As of the last look."""
        with self._lock:
            return self._now

    def look(self) -> None:
        """Count again, at most every `LOOK_SECONDS`."""
        moment = time.monotonic()
        if moment - self._looked_at < LOOK_SECONDS:
            return
        count = slots_on(self._resources, self._nodes())
        with self._lock:
            before, self._now, self._looked_at = self._now, count, moment
        if count != before:
            self._say(self.text())

    def text(self) -> str:
        """What a user is told."""
        now = self.now
        return f"{now} run(s) at a time" if now else "no node can hold a run now: waiting for one (Ctrl-C ends the wait)"


def countable_nodes() -> Nodes:
    """Living nodes, or what the autoscaler may make of them when that is more."""
    import ray

    living = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    config = ray._private.state.state.get_cluster_config()
    groups = config.node_group_configs if config is not None else ()
    promised = [dict(group.resources) for group in groups for _ in range(group.max_count if group.max_count >= 0 else UNLIMITED_NODES)]
    return promised if sum(node.get("CPU", 0) for node in promised) > sum(node.get("CPU", 0) for node in living) else living
