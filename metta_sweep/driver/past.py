"""The runs of a driver that have ended: sums of all of them, and only the newest one by one.

A sweep may have any number of runs: what every step copies and every line of the table looks through must not grow.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from metta_sweep.driver.messages import LiveRun
from metta_sweep.registry.records import RunState
from trainables.result import Span

# The table says each end once, twice a second; not even 256 slots that end together are more.
NUM_NEWEST = 512


@dataclass(frozen=True, slots=True)
class PastRuns:
    """What is kept of them.

    Attributes:
        interrupted: runs that go on later, here or elsewhere, by id.
        newest: the last that ended for good, in that order.
        counts: how many ended for good, by state.
        spent: on those, in all attempts of this driver.
        paces: (runs, wall seconds) of those, by phase.
    """

    interrupted: Mapping[str, LiveRun] = field(default_factory=dict)
    newest: tuple[LiveRun, ...] = ()
    counts: Mapping[RunState, int] = field(default_factory=dict)
    spent: Span = field(default_factory=Span)
    paces: Mapping[str, tuple[int, float]] = field(default_factory=dict)

    @classmethod
    def of(cls, runs: Iterable[LiveRun]) -> PastRuns:
        """After the end of these, in order."""
        past = cls()
        for run in runs:
            past = past.plus(run)
        return past

    def plus(self, run: LiveRun) -> PastRuns:
        """After the end of a run."""
        if run.state == RunState.INTERRUPTED:
            return replace(self, interrupted={**self.interrupted, run.record.id: run})
        return replace(
            self,
            newest=(*self.newest, run)[-NUM_NEWEST:],
            counts={**self.counts, run.state: self.counts.get(run.state, 0) + 1},
            spent=self.spent + run.spent,
            paces={**self.paces, run.record.phase: self.pace_with(run)},
        )

    def minus(self, run_id: str) -> PastRuns:
        """After a run's next start; of one that had ended for good, and is tried again, what it spent stays spent."""
        if run_id in self.interrupted:
            rest = {name: run for name, run in self.interrupted.items() if name != run_id}
            return replace(self, interrupted=rest)
        again = next((run for run in self.newest if run.record.id == run_id), None)
        if again is None:
            return self
        counts = {**self.counts, again.state: self.counts[again.state] - 1}
        return replace(self, newest=tuple(run for run in self.newest if run is not again), counts=counts)

    def pace_with(self, run: LiveRun) -> tuple[int, float]:
        """(runs, wall seconds) of the run's phase, itself included."""
        count, seconds = self.paces.get(run.record.phase, (0, 0.0))
        return count + 1, seconds + run.spent.wall_seconds

    def seconds_per_run(self, phase: str) -> float | None:
        """Mean wall seconds that the runs of a phase took here, those that were interrupted included."""
        count, seconds = self.paces.get(phase, (0, 0.0))
        parts = [run.spent.wall_seconds for run in self.interrupted.values() if run.record.phase == phase]
        return (seconds + sum(parts)) / (count + len(parts)) if count or parts else None

    @property
    def shown(self) -> tuple[LiveRun, ...]:
        """All that is still known one by one."""
        return (*self.interrupted.values(), *self.newest)
