"""How fast runs of a task have been so far, whatever sweep they belong to."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from metta_sweep.config import tree as trees
from metta_sweep.driver.spending import attempt_seconds
from metta_sweep.errors import UnreadableSweep
from metta_sweep.registry.reader import Reader, readable
from metta_sweep.registry.records import AttemptRecord, ObservationRecord, SweepRecord
from metta_sweep.registry.specs import parse_spec

logger = logging.getLogger(__name__)

# What a task is: the world, how a policy is scored in it, and the program that trains.
TASK_KEYS = ("env", "sim", "trainable", "trainer.curriculum")


@dataclass(frozen=True, slots=True)
class Pace:
    """What past runs took on their slot, set-up, evaluation and lost attempts included.

    Attributes:
        seconds_per_run: mean.
        seconds_per_step: per environment step; None when the runs count no steps.
        num_runs: how many runs this comes from.
        sweeps: their sweeps.
    """

    seconds_per_run: float
    seconds_per_step: float | None
    num_runs: int
    sweeps: tuple[str, ...]

    def of_steps(self, env_steps: float) -> float:
        """Expected seconds of a run of this length."""
        return self.seconds_per_run if self.seconds_per_step is None else self.seconds_per_step * env_steps


def past_pace(
    registry: Reader, spec_yaml: str, *, has_gpus: bool, left_out: Callable[[str], None] = logger.warning
) -> Pace | None:
    """The pace of all finished runs of the same task on the same kind of device; None when there are none.

    Args:
        left_out: hears of each sweep that cannot be read.
    """
    task = task_of(spec_yaml)
    seconds: list[tuple[float, int]] = []
    sweeps: list[str] = []
    for sweep in registry.list_sweeps():
        try:
            found = runs_of_task(registry, sweep, task, has_gpus=has_gpus)
        except UnreadableSweep as error:
            left_out(str(error))
            continue
        seconds += found
        sweeps += [sweep.name] if found else []
    return mean_pace(seconds, sweeps)


def runs_of_task(
    registry: Reader, sweep: SweepRecord, task: Mapping[str, Any], *, has_gpus: bool
) -> list[tuple[float, int]]:
    """`finished` runs of a sweep; none when its task is another one.

    Raises:
        UnreadableSweep: its records make no sense.
    """
    with readable(sweep.name):
        if not sweep.spec_yaml or task_of(sweep.spec_yaml) != task:
            return []
        return finished(registry.observations(sweep.name), registry.attempts(sweep.name), has_gpus=has_gpus)


def task_of(spec_yaml: str) -> dict[str, Any]:
    """What tells tasks apart in a registered specification."""
    train: Mapping[str, Any] = parse_spec(spec_yaml).get("train") or {}
    return {key: trees.get(train, trees.split(key)) for key in TASK_KEYS}


def finished(
    observations: Sequence[ObservationRecord], attempts: Iterable[AttemptRecord], *, has_gpus: bool
) -> list[tuple[float, int]]:
    """(slot seconds over all attempts, environment steps) of each run that ended with a score."""
    paid: dict[str, float] = {}
    for attempt in attempts:
        if attempt.ended_at is not None and (attempt.num_gpus > 0) == has_gpus:
            paid[attempt.run_id] = paid.get(attempt.run_id, 0.0) + attempt_seconds(attempt, gpus=False)
    scored = [record for record in observations if record.observation.score is not None and record.run_id in paid]
    return [(paid[record.run_id], record.observation.env_steps) for record in scored]


def mean_pace(seconds: Sequence[tuple[float, int]], sweeps: Sequence[str]) -> Pace | None:
    """Means over runs; the pace per step is the ratio of the sums, so that long runs weigh more."""
    if not seconds:
        return None
    total, steps = sum(paid for paid, _ in seconds), sum(count for _, count in seconds)
    return Pace(total / len(seconds), total / steps if steps else None, len(seconds), tuple(sweeps))
