"""Runs that fit at once, as the driver counts them while nodes come and go."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence

from metta_sweep.capacity import SLOTS_CHANGED, Node, slots_at_start, slots_on, slots_text
from metta_sweep.driver.notes import Note
from trainables.resources import Resources

LOOK_SECONDS = 2.0


class Slots:
    """Runs that fit at once, counted again as nodes join and leave. Safe to use from any thread.

    Args:
        resources: what one run needs.
        nodes: to count on now.
        note: hears when the number changes.
        clock: seconds.

    Raises:
        ConfigError: there are nodes, but no run fits on them.
    """

    def __init__(
        self,
        resources: Resources,
        nodes: Callable[[], Sequence[Node]],
        note: Note,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._resources = resources
        self._nodes = nodes
        self._note = note
        self._clock = clock
        self._lock = threading.Lock()
        self._looked_at = clock()
        self._now = slots_at_start(resources, nodes())

    @property
    def now(self) -> int:
        """As of the last look."""
        with self._lock:
            return self._now

    @property
    def wanted(self) -> int:
        """Runs that may be live: one also where none fits, for its open request is what an autoscaler and
        `PlacementWatch` look at.
        """
        return max(self.now, 1)

    def look(self) -> None:
        """Count again, at most every `LOOK_SECONDS`."""
        if (moment := self._clock()) - self._looked_at < LOOK_SECONDS:
            return
        self._looked_at = moment
        count = slots_on(self._resources, self._nodes())
        with self._lock:
            before, self._now = self._now, count
        if count != before:
            self._note(SLOTS_CHANGED, slots_text(count), {"slots": count})


class RestingSlots:
    """Slots that take no run for a while after a failed one, each from its own failure on; all others go on.

    Used from Tune's loop only.

    Args:
        seconds: that a slot rests.
        clock: seconds.
    """

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._seconds = seconds
        self._clock = clock
        self._until: list[float] = []

    def failed(self) -> None:
        """A run failed: its slot rests from now on."""
        self._until.append(self._clock() + self._seconds)

    @property
    def count(self) -> int:
        """Slots at rest now."""
        now = self._clock()
        self._until = [until for until in self._until if until > now]
        return len(self._until)
