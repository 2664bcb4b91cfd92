"""What this driver knows of its runs right now; the table, the stop rules and the summary read it."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field, replace

from metta_sweep.registry.records import NewObservation, RunRecord
from trainables.result import Costs, Point, Progress, Span


@dataclass(frozen=True, slots=True)
class LiveRun:
    """A run of this driver.

    Attributes:
        record: as reserved.
        state: running, completed, stopped_early, failed or interrupted.
        progress: newest report.
        curve: all curve points so far.
        result: once it ended.
        started_at: monotonic seconds.
        before: what earlier attempts of this driver cost.
    """

    record: RunRecord
    state: str
    started_at: float
    progress: Progress | None = None
    curve: tuple[Point, ...] = ()
    result: NewObservation | None = None
    before: Span = field(default_factory=Span)

    @property
    def spent(self) -> Span:
        """What all attempts of this driver have cost so far."""
        if self.result is not None and self.result.attempt_costs:
            return self.before + Costs.from_dict(self.result.attempt_costs).total
        return self.before + self.progress.attempt_costs.total if self.progress else self.before


class Board:
    """Live runs by id, in the order they started. Safe to use from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._runs: dict[str, LiveRun] = {}

    def started(self, record: RunRecord) -> None:
        with self._lock:
            earlier = self._runs.pop(record.id, None)
            self._runs[record.id] = LiveRun(
                record, "running", time.monotonic(), before=earlier.spent if earlier else Span()
            )

    def progressed(self, run_id: str, progress: Progress) -> LiveRun:
        with self._lock:
            run = self._runs[run_id]
            point = progress.point
            is_new = point is not None and (not run.curve or point.env_steps > run.curve[-1].env_steps)
            curve = (*run.curve, point) if is_new and point is not None else run.curve
            self._runs[run_id] = replace(run, progress=progress, curve=curve)
            return self._runs[run_id]

    def ended(self, run_id: str, state: str, result: NewObservation | None = None) -> None:
        with self._lock:
            self._runs[run_id] = replace(self._runs[run_id], state=state, result=result)

    def get(self, run_id: str) -> LiveRun:
        with self._lock:
            return self._runs[run_id]

    def runs(self) -> list[LiveRun]:
        with self._lock:
            return list(self._runs.values())

    def running(self) -> list[LiveRun]:
        return [run for run in self.runs() if run.state == "running"]

    def running_seconds(self, *, gpus: bool) -> float:
        """GPU seconds (slot seconds without GPU) that running runs have used so far, finished attempts not included."""
        totals = [run.progress.attempt_costs.total for run in self.running() if run.progress]
        return sum(total.gpu_seconds if gpus else total.wall_seconds for total in totals)
