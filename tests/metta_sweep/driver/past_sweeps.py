"""Sweeps with results in a registry, for tests of what later ones learn from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy import insert, select, update

from metta_sweep.config import load_sweep_job
from metta_sweep.config.job import SweepJob
from metta_sweep.registry import schema as db
from metta_sweep.registry.store import SqlRegistry

Score = Callable[[dict[str, Any]], float | None]


def job_of(name: str, *overrides: str, memory: str | tuple[str, ...] = "auto") -> SweepJob:
    """A job of `quick`; it is composed once for all names, which takes longest."""
    job = _job(overrides)
    spec_yaml = job.spec_yaml.replace("sweep_name: base\n", f"sweep_name: {name}\n")
    return replace(job, sweep_name=name, spec_yaml=spec_yaml, sweep=replace(job.sweep, memory=memory))


@cache
def _job(overrides: tuple[str, ...]) -> SweepJob:
    words = ["sweep_name=base", "sweep=quick", f"data_dir={Path.cwd()}", *overrides]
    return load_sweep_job(words, {"NUM_CPUS": "2", "WANDB_MODE": "disabled"})


def score_of(params: dict[str, Any]) -> float:
    """Best where the learning rate is largest."""
    return float(np.log10(params["trainer.optimizer.learning_rate"]))


def add_runs(registry: SqlRegistry, job: SweepJob, count: int, score: Score = score_of) -> None:
    """Finished runs at random points, written at once; those whose score is None failed."""
    registry.create_sweep(job.sweep_name, job.spec_yaml)
    phase, rng = job.sweep.phases[0], np.random.default_rng(0)
    points = phase.space.sample(count, lambda number: rng.uniform(-1, 1, (number, phase.space.dimension)))
    params = [dict(phase.space.from_unit(point)) for point in points]
    with registry.engine.connect().execution_options(is_write=True) as connection, connection.begin():
        first = connection.execute(select(db.sweeps.c.next_run).where(db.sweeps.c.name == job.sweep_name)).scalar_one()
        for number, each in enumerate(params, first):
            row = _row(job.sweep_name, number, score(each))
            for table in (db.runs, db.observations):
                known = {key: value for key, value in row.items() if key in table.c}
                connection.execute(
                    insert(table), known | ({"params": each, "phase": phase.name} if table is db.runs else {})
                )
        counters = {"next_run": first + count, "next_observation": first + count + 1}
        connection.execute(update(db.sweeps).where(db.sweeps.c.name == job.sweep_name).values(counters))


def _row(sweep: str, number: int, score: float | None) -> dict[str, Any]:
    """What stands of a run in `runs` and `observations`."""
    outcome = "completed" if score is not None else "failed"
    texts = dict.fromkeys(("signature", "message", "log_tail"), "")
    mappings: dict[str, Any] = {name: {} for name in ("explanation", "costs", "attempt_costs", "metrics")}
    times = dict.fromkeys(("seen_at", "created_at"), 1.0)
    ended = {"cursor": 0, "fence": 1, "attempts": 1, "nodes": [], "is_withdrawn": False, "env_steps": 60_000}
    ids = {"id": f"{sweep}.r.{number}", "run_id": f"{sweep}.r.{number}", "sweep": sweep, "number": number}
    found = {"sequence": number + 1, "score": score, "outcome": outcome, "state": outcome}
    failure = None if score is not None else "hyperparameters"
    costs = {"cost_seconds": 10.0, "wall_seconds": 10.0}
    return {**texts, **mappings, **times, **ended, **ids, **found, **costs, "failure": failure}
