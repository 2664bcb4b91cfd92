"""What the sweep has spent and promised, read from the registry and the running runs, held against the stop rules."""

from __future__ import annotations

import threading
import time

from metta_sweep.config.job import SweepJob
from metta_sweep.driver.board import Board
from metta_sweep.driver.stop_rules import Limits, Tally, Verdict, cap_seconds, must_stop_running, no_more_runs
from metta_sweep.registry.api import Registry
from metta_sweep.registry.records import AttemptRecord, RunState

UNFINISHED = (RunState.RESERVED, RunState.RUNNING, RunState.INTERRUPTED)


class Spending:
    """The tally of one sweep, over all its drivers. Safe to use from any thread."""

    def __init__(self, job: SweepJob, registry: Registry, board: Board, *, has_gpus: bool) -> None:
        self._sweep = job.sweep_name
        self._world_size = job.resources.world_size
        self._registry = registry
        self._board = board
        self._has_gpus = has_gpus
        self._maximize = job.sweep.goal == "maximize"
        self._limits = Limits(job.sweep.num_samples, job.sweep.target_score, self._maximize, job.budget, has_gpus)
        self._created_at = registry.get_sweep(self._sweep).created_at
        self._lock = threading.Lock()
        self._best: float | None = None

    def scored(self, score: float | None) -> None:
        """A run ended with this score."""
        if score is None:
            return
        with self._lock:
            better = self._best is None or (score > self._best if self._maximize else score < self._best)
            self._best = score if better else self._best

    @property
    def best(self) -> float | None:
        """Best score of the sweep; None before there is one."""
        with self._lock:
            return self._best

    def no_more_runs(self, number: int, predicted_cost: float) -> Verdict | None:
        """Why run `number`, predicted to cost so much (optimiser's unit), may not be reserved; None when it may."""
        return no_more_runs(self._limits, self.tally(number), self._slot_seconds(predicted_cost))

    def must_stop_running(self) -> Verdict | None:
        """Whether running runs have used more than the cap allows. Cheap when there is no cap."""
        if cap_seconds(self._limits) is None:
            return None
        return must_stop_running(self._limits, self.tally(0))

    def tally(self, num_runs: int) -> Tally:
        """What is spent and promised now; attempts are read only when a cap needs them."""
        spent = committed = 0.0
        if cap_seconds(self._limits) is not None:
            ended = [attempt for attempt in self._registry.attempts(self._sweep) if attempt.ended_at is not None]
            running = self._board.running_seconds(gpus=self._has_gpus)
            spent = sum(attempt_seconds(attempt, gpus=self._has_gpus) for attempt in ended) + running
            unfinished = self._registry.runs(self._sweep, states=UNFINISHED)
            committed = max(sum(self._slot_seconds(run.predicted_cost or 0.0) for run in unfinished) - running, 0.0)
        return Tally(num_runs, time.time() - self._created_at, spent, committed, self.best)

    def _slot_seconds(self, cost: float) -> float:
        """The optimiser's cost is CPU seconds over ranks when there is no GPU; a slot runs all ranks at once."""
        return cost if self._has_gpus else cost / self._world_size


def attempt_seconds(attempt: AttemptRecord, *, gpus: bool) -> float:
    """GPU seconds of an ended attempt, or its wall seconds in a slot without GPU.

    An attempt whose driver died told no costs; it is charged from its start to the last sign of life.
    """
    if attempt.costs:
        clock = "gpu_seconds" if gpus else "wall_seconds"
        return sum(float(part.get(clock, 0.0)) for part in attempt.costs.values())
    return ((attempt.ended_at or attempt.started_at) - attempt.started_at) * (attempt.num_gpus if gpus else 1.0)
