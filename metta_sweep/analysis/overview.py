"""What a sweep is doing right now: phase, runs, money, who works on it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import pandas as pd

from metta_sweep.analysis.ending import DRIVER_STARTED, Ending, ending, last_words
from metta_sweep.analysis.frame import build, scored
from metta_sweep.analysis.memory import LearnedFrom, learned
from metta_sweep.analysis.money import Amount, money
from metta_sweep.analysis.recommend import Recommendation, recommend
from metta_sweep.analysis.utilisation import SlotUse, utilisation
from metta_sweep.capacity import SLOTS_CHANGED
from metta_sweep.config.job import Budget
from metta_sweep.config.registered import read_spec
from metta_sweep.config.spec_text import memory_in
from metta_sweep.registry.owner import is_dead
from metta_sweep.registry.reader import Reader, readable
from metta_sweep.registry.records import (
    IMPORTED_FROM,
    NO_REMARK,
    AttemptRecord,
    EventRecord,
    RemarkRecord,
    RunRecord,
    SweepRecord,
)
from metta_sweep.registry.specs import check_spec, parse_spec

RULES = frozenset({"sweep.num_samples", "sweep.target_score", *(f"budget.{field.name}" for field in fields(Budget))})


@dataclass(frozen=True, slots=True)
class Overview:
    """A sweep at one moment.

    Attributes:
        sweep: its row.
        phase: of the newest run; "" without a schedule.
        states: number of runs by state.
        best_score: best single score; None before there is one.
        recommendation: the configuration to use; None before there is a score, or when it was not asked for.
        drivers: `host:pid` of everybody who works on it now.
        ending: how the work on it ended; None while somebody may be at it.
        slots: of the driver that spoke last; None before one did.
        utilisation: paid and idle time of each slot that was used.
        amounts: spent, reserved, left, idle and the rate, for each thing that the sweep pays with.
        rules: stop rules of the driver that started last, by dotted key.
        learns_from: earlier sweeps with their present weights.
        runs: one row per run; see `analysis.frame`.
        nodes: host of each rank, by run; of the last attempt that reported them.
        remark: what people wrote about the sweep.
    """

    sweep: SweepRecord
    phase: str
    states: Mapping[str, int]
    best_score: float | None
    recommendation: Recommendation | None
    drivers: tuple[str, ...]
    ending: Ending | None
    slots: int | None
    utilisation: tuple[SlotUse, ...]
    amounts: tuple[Amount, ...]
    rules: Mapping[str, float]
    learns_from: tuple[LearnedFrom, ...]
    runs: pd.DataFrame
    nodes: Mapping[str, tuple[str, ...]]
    remark: RemarkRecord = NO_REMARK


def overview(
    registry: Reader, name: str, now: float, budget: Budget | None = None, *, recommends: bool = True
) -> Overview:
    """Read one sweep.

    Args:
        now: epoch seconds.
        budget: caps and price to hold against it; None = those of the driver that started last.
        recommends: whether to work out the configuration to use, for which a model is fitted: a second for many runs.

    Raises:
        UnknownSweep: no sweep of this name.
        UnreadableSweep: its records make no sense.
    """
    with readable(name):
        return _overview(registry, name, now, budget, recommends=recommends)


def _overview(registry: Reader, name: str, now: float, budget: Budget | None, *, recommends: bool) -> Overview:
    sweep = registry.get_sweep(name)
    records = registry.runs(name)
    events = registry.events(name)
    started = last_start(events)
    budget = budget or reported_budget(started)
    living, by_id = [run for run in records if is_held(run, now)], {run.id: run for run in records}
    attempts = [as_of_last_sign(attempt, by_id[attempt.run_id], living) for attempt in registry.attempts(name)]
    over = None if living else ending(last_words(events), started.get("rules", {}), records)
    ends = [attempt.ended_at for attempt in attempts if attempt.ended_at is not None]
    now = max(ends) if over is not None and ends else now  # no time passes for a sweep that is over
    remarks = registry.remarks(name)
    runs = build(records, registry.observations(name), attempts, remarks, hourly_cost=budget.hourly_cost)
    check_spec(sweep.spec_yaml)
    goal = parse_spec(sweep.spec_yaml).get("goal", "maximize") if sweep.spec_yaml else "maximize"
    spec = read_spec(sweep.spec_yaml).sweep if recommends and sweep.spec_yaml else None
    scores, slots = scored(runs)["score"], utilisation(ran_here(attempts, by_id), now)
    return Overview(
        sweep=sweep,
        phase=records[-1].phase if records else "",
        states=Counter(run.state.value for run in records),
        best_score=None if scores.empty else float(scores.min() if goal == "minimize" else scores.max()),
        recommendation=recommend(runs, spec) if recommends else None,
        drivers=tuple(sorted({f"{run.owner.host}:{run.owner.pid}" for run in living if run.owner})),
        ending=over,
        slots=next((reported["slots"] for reported in map(reported_by, reversed(events)) if "slots" in reported), None),
        utilisation=tuple(slots),
        amounts=money(in_slots(runs, started), attempts, budget, slots, created_at=sweep.created_at, now=now).amounts,
        rules=started.get("rules", {}),
        learns_from=learned(memory_in(sweep.spec_yaml), records),
        runs=runs,
        nodes={attempt.run_id: attempt.nodes for attempt in attempts if attempt.nodes},
        remark=next((one for one in remarks if not one.run_id), NO_REMARK),
    )


def last_start(events: Sequence[EventRecord]) -> Mapping[str, Any]:
    """What the driver that started last said of itself; empty before one did."""
    return next((reported_by(event) for event in reversed(events) if event.kind == DRIVER_STARTED), {})


def reported_by(event: EventRecord) -> dict[str, Any]:
    """What an event says of a driver: `slots`, `world_size`, `gpus`, `rules`.

    Whatever else stands there is left out.
    """
    if event.kind not in (DRIVER_STARTED, SLOTS_CHANGED):
        return {}
    rules = event.detail.get("rules")
    reported = amounts(event.detail, ("slots", "world_size", "gpus"))
    return {**reported, "rules": amounts(rules, RULES) if isinstance(rules, Mapping) else {}}


def amounts(values: Mapping[str, Any], known: Collection[str]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if key in known and is_amount(value)}


def is_amount(value: Any) -> bool:
    """Whether somebody's JSON is a finite number."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e300


def reported_budget(started: Mapping[str, Any]) -> Budget:
    """The budget among the stop rules that a driver reported."""
    rules: Mapping[str, Any] = started.get("rules", {})
    return Budget(**{key.removeprefix("budget."): value for key, value in rules.items() if key.startswith("budget.")})


def is_held(run: RunRecord, now: float) -> bool:
    """Whether somebody who may be alive holds the run."""
    return run.owner is not None and (run.lease_until is None or run.lease_until > now) and not is_dead(run.owner)


def as_of_last_sign(attempt: AttemptRecord, run: RunRecord, living: Sequence[RunRecord]) -> AttemptRecord:
    """An attempt whose driver is gone ended with its last sign of life, not now."""
    if attempt.ended_at is not None or run in living:
        return attempt
    return replace(attempt, ended_at=max(run.seen_at, attempt.started_at))


def ran_here(attempts: Sequence[AttemptRecord], runs: Mapping[str, RunRecord]) -> list[AttemptRecord]:
    """Attempts of this sweep's own slots: an imported run is written down long after it ran, elsewhere.

    Args:
        runs: by id.
    """
    imported = {run.id for run in runs.values() if IMPORTED_FROM in run.explanation}
    return [attempt for attempt in attempts if attempt.run_id not in imported]


def in_slots(runs: pd.DataFrame, started: Mapping[str, Any]) -> pd.DataFrame:
    """Predicted costs without GPUs are CPU seconds over all ranks; a slot runs the ranks at once."""
    ranks = 1 if started.get("gpus") else max(started.get("world_size", 1), 1)
    return runs.assign(predicted_cost=runs["predicted_cost"] / ranks)
