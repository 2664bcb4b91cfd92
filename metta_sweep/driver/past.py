"""What a plan needs from the registry."""

from __future__ import annotations

import time
from dataclasses import replace

from metta_sweep.config.job import SweepJob
from metta_sweep.driver.pace import past_pace
from metta_sweep.driver.plan import History, Plan, make_plan
from metta_sweep.driver.spending import attempt_seconds
from metta_sweep.registry.reader import Reader, readable


def plan_from(registry: Reader, job: SweepJob, slots: int) -> Plan:
    """Read what is known of this sweep and of runs like its own, and plan; nothing is written."""
    has_gpus = job.resources.gpus_per_worker > 0
    left_out: list[str] = []
    pace = past_pace(registry, job.spec_yaml, has_gpus=has_gpus, left_out=left_out.append)
    with readable(job.sweep_name):
        history = read_history(registry, job.sweep_name, has_gpus=has_gpus)
    return replace(make_plan(job, slots, history, pace), left_out=tuple(left_out))


def read_history(registry: Reader, sweep_name: str, *, has_gpus: bool) -> History:
    """This sweep so far; an empty history when it does not exist."""
    sweep = next((one for one in registry.list_sweeps() if one.name == sweep_name), None)
    if sweep is None:
        return History()
    spent = sum(attempt_seconds(attempt, gpus=has_gpus) for attempt in registry.attempts(sweep_name))
    return History(registry.runs(sweep_name), registry.observations(sweep_name), spent, time.time() - sweep.created_at)
