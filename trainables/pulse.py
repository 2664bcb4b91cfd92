"""A rank's sign of life, for whoever decides from outside that it hangs."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from trainables.errors import CodeFailure


@dataclass(frozen=True, slots=True)
class Beat:
    """What a rank was doing when it last came forward, and how long ago that was.

    Attributes:
        suite: that it plays; "" while it does something else.
        simulation: of that suite; "" while custom metrics are computed.
        idle_seconds: since then; 0 for a rank that has nothing to do.
        waiting_for: what it waits for, in words; "" when it works.
    """

    suite: str = ""
    simulation: str = ""
    idle_seconds: float = 0.0
    waiting_for: str = ""

    @property
    def because(self) -> str:
        """The same at the end of a sentence."""
        return f" ({self.waiting_for})" if self.waiting_for else ""


def stalled_evaluation(beat: Beat) -> CodeFailure:
    """The failure of a suite that does not end: no other worker or node would help."""
    if not beat.simulation:
        return CodeFailure(
            f"suite {beat.suite}: its custom metrics (sim.metrics) did not end within {beat.idle_seconds:.0f} s "
            f"(resources.stall_seconds){beat.because}",
            f"metrics of {beat.suite} do not end",
        )
    return CodeFailure(
        f"suite {beat.suite}, simulation {beat.simulation}: no episode ended for {beat.idle_seconds:.0f} s "
        f"(resources.stall_seconds){beat.because}; give its environment a time limit (env.max_steps), or a slow one "
        "more time",
        f"episodes of {beat.suite}/{beat.simulation} do not end",
    )


class Pulse:
    """Kept by a rank's working thread, read by another.

    Args:
        limit: with it, `check` raises when nothing came forward for so many seconds, where nobody watches from outside.
        clock: seconds.
    """

    def __init__(self, limit: float | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._limit, self._clock = limit, clock
        self._state: tuple[str, str, float] | None = None  # one assignment, so that readers need no lock

    def beat(self, suite: str = "", simulation: str = "") -> None:
        """Something came forward."""
        self._state = (suite, simulation, self._clock())

    def rest(self) -> None:
        """Nothing is to be done until the next beat."""
        self._state = None

    def read(self) -> Beat:
        if (state := self._state) is None:
            return Beat()
        return Beat(state[0], state[1], self._clock() - state[2])

    def check(self) -> None:
        """Raises `CodeFailure` beyond the limit."""
        if self._limit is not None and (beat := self.read()).idle_seconds > self._limit:
            raise stalled_evaluation(beat)
