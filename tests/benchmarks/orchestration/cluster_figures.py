"""What `cluster` says: figures from the runs' files, the registry and what the drivers measured of themselves."""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from itertools import pairwise
from pathlib import Path
from statistics import median, quantiles
from typing import Any

from metta_sweep.registry.api import Registry
from metta_sweep.registry.open import open_registry
from tests.benchmarks.orchestration.recorded import gaps, uses
from tests.metta_sweep.driver.audit import audit
from tests.metta_sweep.driver.drive import SWEEP

HUNDRED = 100
Use = tuple[str, float, float]
Slots = Sequence[tuple[float, int]]
Row = dict[str, float]


def figures(
    directory: Path, trials: int, slots: Slots, events: Mapping[str, int], loads: Sequence[float], wall_seconds: float
) -> dict[str, Row]:
    """Raises `AssertionError` when a run was lost or doubled."""
    runs, drivers = directory / "sweep" / SWEEP / "runs", sorted(directory.glob("driver_*.json"))
    watched = [json.loads(path.read_text()) for path in drivers]
    used = uses(runs)
    with closing(open_registry(directory, None)) as registry:
        promises = audit(registry, SWEEP, runs, phases_of(registry, trials))
        rows = {"runs": runs_row(registry, events, loads, wall_seconds)}
    rows["slots"] = slots_row(used, slots, trials)
    rows["suggestions"] = suggestions_row(watched, trials)
    rows |= {f"driver {number}": driver_row(one, wall_seconds) for number, one in enumerate(watched)}
    rows |= registry_rows(directory / "registry.db", watched)
    print("\n".join(promises))
    return rows


def phases_of(registry: Registry, trials: int) -> dict[str, tuple[int, float, float]]:
    """The sweep's only phase, of any length."""
    return {registry.runs(SWEEP)[0].phase: (trials, 0.0, float("inf"))}


def runs_row(registry: Registry, events: Mapping[str, int], loads: Sequence[float], wall_seconds: float) -> Row:
    """How it ended; that none was lost or doubled is what the audit raises for."""
    states = Counter(str(run.state) for run in registry.runs(SWEEP))
    attempts = registry.attempts(SWEEP)
    again = sum(attempt.number > 1 for attempt in attempts)
    nodes = {f"nodes {name}": float(count) for name, count in events.items()}
    load = {"load median": median(loads), "load most": max(loads)} if loads else {}
    told: Row = {**states, "lost or doubled": 0.0, "further attempts": again, **nodes}
    return {**told, "wall s": wall_seconds, **load}


def slots_row(used: Sequence[Use], slots: Slots, trials: int) -> Row:
    """Share of slot time in use, in the steady part: from the first moment at which nine in ten slots were busy until
    the last run began.
    """
    first, last = steady(used, slots)
    there = area(slots, first, last)
    busy = sum(max(min(end, last) - max(begin, first), 0.0) for _, begin, end in used)
    workers = {worker for worker, *_ in used}
    between = sorted(gaps(list(used)))
    return {
        "steady part s": last - first,
        "busy %": 100.0 * busy / there,
        "between runs of a process, median s": median(between),
        "99 % s": quantiles(between, n=100)[98],
        "in all, % of slot time": 100.0 * sum(gap for gap in between) / there,
        "processes": float(len(workers)),
        "runs a second": sum(first <= begin < last for _, begin, _ in used) / (last - first),
    }


def steady(used: Sequence[Use], slots: Slots) -> tuple[float, float]:
    changes = sorted([(begin, 1) for _, begin, _ in used] + [(end, -1) for _, _, end in used])
    busy, enough = 0, 0.9 * max(count for _, count in slots)
    for moment, change in changes:
        busy += change
        if busy >= enough:
            return moment, max(begin for _, begin, _ in used)
    raise AssertionError("the slots were never busy at once: more runs, please")


def area(slots: Slots, first: float, last: float) -> float:
    """Slot seconds between two moments."""
    ends = [*slots, (last, 0)]
    return sum(
        max(min(after[0], last) - max(before[0], first), 0.0) * before[1]
        for before, after in pairwise(sorted(ends, key=lambda one: one[0]))
    )


def suggestions_row(watched: Sequence[Mapping[str, Any]], trials: int) -> Row:
    """Milliseconds of `SweepOptimiser.suggest`, by the wall and of its thread's CPU time."""
    every = [one["calls"]["suggest"] for one in watched]
    walls, cpus = ([took[clock] for calls in every for took in calls] for clock in (0, 1))
    late = [took[1] for calls in every for took in calls[-HUNDRED:]]
    return {
        "count": len(walls),
        "a run": len(walls) / trials,
        **spread("wall", walls),
        **spread("CPU", cpus),
        "CPU ms, last hundred of each": median(late),
    }


def spread(name: str, milliseconds: Sequence[float]) -> Row:
    return {f"{name} ms": median(milliseconds), f"{name} ms, 99 %": quantiles(milliseconds, n=100)[98]}


def driver_row(one: Mapping[str, Any], wall_seconds: float) -> Row:
    """Memory after the first tenth of its time and at its end; CPU time in all."""
    memory, steps = one["memory"], one["calls"]["step"]
    third = len(steps) // 3
    return {
        "MiB first": memory[len(memory) // 10][1],
        "MiB last": memory[-1][1],
        "CPU s": one["cpu_seconds"],
        "CPU %": 100.0 * one["cpu_seconds"] / (memory[-1][0] - memory[0][0]),
        "steps": float(len(steps)),
        "step CPU ms, first third": median(took[1] for took in steps[:third]),
        "last third": median(took[1] for took in steps[-third:]),
        "99 %": quantiles([took[1] for took in steps], n=100)[98],
    }


def registry_rows(database: Path, watched: Sequence[Mapping[str, Any]]) -> dict[str, Row]:
    """Size on disk, and what took longest: the methods by the CPU time of a call, the statements by their plan."""
    files = [path for path in database.parent.glob(database.name + "*") if path.suffix != ".lock"]
    rows = {"registry, MiB": {"all": sum(path.stat().st_size for path in files) / 2**20, **tables(database)}}
    calls = merged((one["calls"].items() for one in watched), "registry.")
    slowest = sorted(calls.items(), key=lambda item: -quantiles([took[1] for took in item[1]], n=100)[98])
    rows |= {name: call_row(took) for name, took in slowest[:6]}
    statements = merged(((text, took) for text, _, took in one["statements"]) for one in watched)
    slow = max(statements, key=lambda text: median(took[1] for took in statements[text]))
    rows[f"slowest statement: {slow[:60]}"] = call_row(statements[slow])
    examples = {text: parameters for one in watched for text, parameters, _ in one["statements"] if parameters}
    rows["statements that read a whole table"] = {text: 1.0 for text in scans(database, examples)}
    return rows


def merged(named: Iterable[Iterable[tuple[str, Any]]], prefix: str = "") -> dict[str, list[Any]]:
    """Calls of all drivers, of names with this prefix."""
    found: dict[str, list[Any]] = {}
    for one in named:
        for name, took in one:
            if name.startswith(prefix) and len(took) > 1:
                found.setdefault(name, []).extend(took)
    return found


def call_row(took: Sequence[Sequence[float]]) -> Row:
    """Milliseconds of calls; those of the last tenth show what grows."""
    tenth = max(len(took) // 10, 1)
    walls, cpus = ([one[clock] for one in took] for clock in (0, 1))
    parts = {"CPU ms, first tenth": median(cpus[:tenth]), "last tenth": median(cpus[-tenth:])}
    return {"calls": len(took), **spread("wall", walls), **spread("CPU", cpus), **parts}


def tables(database: Path) -> Row:
    """MiB of the largest tables, their indexes apart."""
    with closing(sqlite3.connect(database)) as connection:
        query = "SELECT name, SUM(pgsize) / 1048576.0 FROM dbstat GROUP BY name ORDER BY 2 DESC LIMIT 6"
        return dict(connection.execute(query))


def scans(database: Path, examples: Mapping[str, Any]) -> Iterator[str]:
    """Statements that read all rows of a table that grows."""
    with closing(sqlite3.connect(database)) as connection:
        for text, parameters in examples.items():
            if text.startswith(("SELECT", "UPDATE", "DELETE")):
                plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {text}", parameters)]
                if any(step.startswith("SCAN") and "sweeps" not in step for step in plan):
                    yield f"{text[:100]}: {'; '.join(plan)}"
