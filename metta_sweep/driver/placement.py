"""Where runs are: what Tune asks Ray for, on which nodes a trial is, and what is missing when a run finds no place."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from metta_sweep.capacity import bundles
from metta_sweep.driver.notes import Note
from metta_sweep.errors import ClusterError
from trainables.ray_internals import node_of_actor
from trainables.resources import Resources

NODE_ID = "ray.io/node-id"  # a label that Ray gives each node
ACTOR_ID = re.compile(r"^(?:\tactor_id: |The actor )([0-9a-f]{32})\b", re.M)  # in the text of Ray's errors about actors


def gang(resources: Resources, config: Mapping[str, Any]) -> Any:
    """Tune's placement group for one trial: a bundle a rank, on nodes with the labels that were asked for, but on none
    that the driver avoids.
    """
    from ray import tune

    avoided = config.get("run", {}).get("avoid_nodes", ())
    labels = resources.labels | ({NODE_ID: f"!in({','.join(avoided)})"} if avoided else {})
    selector = {"bundle_label_selector": [labels] * resources.world_size} if labels else {}
    return tune.PlacementGroupFactory(bundles(resources), strategy=resources.strategy, **selector)


def nodes_of(controller: Any, trial: Any) -> set[str]:
    """Ids of the nodes that a trial is on, or was when its actor died; empty when Ray does not know.

    Tune tells nobody where a trial is, and of a dead actor only the id in its error is left: so both are read from
    Ray's own tables.
    """
    from ray.util import placement_group_table

    actor = controller._trial_to_actor.get(trial)
    acquired = controller._actor_manager.get_actor_resources(actor) if actor is not None else None
    if acquired is not None:
        return set(placement_group_table(acquired.placement_group)["bundles_to_node_id"].values())
    actor_id = dead_actor(Path(trial.error_file)) if trial.error_file else None
    return {node_of_actor(actor_id)} - {""} if actor_id else set()


def dead_actor(error_file: Path) -> str | None:
    """Id of the actor in the text that Tune wrote about a trial's last error.

    The error itself lies beside it as a pickle, which is not loaded: whoever may write there could run code here.
    """
    try:
        found = ACTOR_ID.findall(error_file.read_text(encoding="utf-8", errors="replace"))
    except FileNotFoundError:
        return None
    return str(found[-1]) if found else None


@dataclass(frozen=True, slots=True)
class PlacementLimits:
    """How long a run may wait for its placement group, in seconds.

    Attributes:
        warn_after: when it is told.
        give_up_after: when the sweep ends, if nothing runs meanwhile; 0 = never.
    """

    warn_after: float
    give_up_after: float


@dataclass(slots=True)
class PlacementWatch:
    """Sees runs that wait for a place. Used from Tune's loop only.

    Attributes:
        limits: how long they may wait.
        why: what is missing; asked when it is told.
        note: hears of it, once for each time that all runs had a place before.
        give_up: ends the sweep.
        clock: seconds.
    """

    limits: PlacementLimits
    why: Callable[[], str]
    note: Note
    give_up: Callable[[ClusterError], None]
    clock: Callable[[], float] = time.monotonic
    _since: float | None = field(default=None)
    _idle_since: float | None = field(default=None)
    _is_told: bool = field(default=False)

    def look(self, waiting: Sequence[str], num_running: int) -> None:
        """Ids of the runs that wait for a place now, and how many runs have one."""
        now = self.clock()
        if not waiting:
            self._since = self._idle_since = None
            self._is_told = False
            return
        self._since = now if self._since is None else self._since
        self._idle_since = None if num_running else now if self._idle_since is None else self._idle_since
        if now - self._since >= self.limits.warn_after and not self._is_told:
            self._is_told = True
            self._tell(waiting, now - self._since)
        if self._idle_since is not None and 0 < self.limits.give_up_after <= now - self._idle_since:
            self.give_up(
                ClusterError(f"{self._text(waiting, now - self._idle_since)} (settings.placement_timeout_seconds)")
            )

    def _tell(self, waiting: Sequence[str], seconds: float) -> None:
        self.note(
            "waiting_for_resources", self._text(waiting, seconds), {"runs": list(waiting), "seconds": round(seconds, 1)}
        )

    def _text(self, waiting: Sequence[str], seconds: float) -> str:
        return f"{', '.join(waiting)}: no place for {seconds:.0f} s: {self.why()}"
