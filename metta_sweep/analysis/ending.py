"""Whether a sweep is over, and why: from what its drivers said when they ended, and from its runs."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from metta_sweep.registry.records import EventRecord, RunRecord

# Written by a driver when it starts: the stop rules it keeps, which are no part of the sweep's specification.
DRIVER_STARTED = "driver_started"
# And when it ends, with its reason.
DRIVER_ENDED = "driver_ended"
MAX_REASON = 300  # of a line that anybody may have written; a guess


@dataclass(frozen=True, slots=True)
class Ending:
    """How the work on a sweep ended.

    Attributes:
        reason: in words.
        is_finished: the sweep did what it was to do: all its runs, its target, or all that a cap allows.
    """

    reason: str
    is_finished: bool

    @property
    def word(self) -> str:
        """For people."""
        return "finished" if self.is_finished else "ended"


def last_words(events: Sequence[EventRecord], before: Ending | None = None) -> Ending | None:
    """What the driver that spoke last said of its end; None when it has not ended.

    Args:
        before: what was known before these events.
    """
    for event in reversed(events):
        if event.kind == DRIVER_STARTED:
            return None
        if event.kind == DRIVER_ENDED:
            return Ending(str(event.detail.get("reason", ""))[:MAX_REASON], event.detail.get("is_finished") is True)
    return before


def ending(said: Ending | None, rules: Mapping[str, Any], runs: Collection[RunRecord]) -> Ending | None:
    """How the work ended; None while runs are open or somebody may be at work.

    Args:
        said: from `last_words`.
        rules: stop rules of the driver that started last, by dotted key.
        runs: all of the sweep.
    """
    if any(not run.state.is_final for run in runs):
        # Something is left to do: it is not finished, whatever was said before a retry.
        return None if said is None or said.is_finished else said
    if said is not None:
        return said
    limit = rules.get("sweep.num_samples")
    if limit is None or len(runs) < limit:  # a driver that was killed said nothing
        return None
    return Ending(all_done(int(limit)), is_finished=True)


def all_done(num_samples: int) -> str:
    """Why a sweep that has all its runs ends, in words."""
    return f"all {num_samples} runs are done (sweep.num_samples)"
