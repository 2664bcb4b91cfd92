"""`status`: what a sweep is doing and what it found."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict

from metta_sweep.cli.readers import Source, add_reader_arguments, opened, print_json
from metta_sweep.registry.records import NewObservation, RunRecord


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_reader_arguments(parser)


def run(args: argparse.Namespace) -> int:
    with opened(args, need_sweep=False) as source:
        names = [source.sweep_name] if source.sweep_name else [sweep.name for sweep in source.registry.list_sweeps()]
        reports = [report(source, name) for name in names]
    if args.json:
        print_json(reports if not source.sweep_name else reports[0])
    else:
        show(reports, detailed=bool(source.sweep_name))
    return 0


def report(source: Source, name: str) -> dict[str, object]:
    """Everything that `status` says about one sweep, JSON-ready."""
    sweep = source.registry.get_sweep(name)
    runs = source.registry.runs(name)
    observations = {record.run_id: record.observation for record in source.registry.observations(name)}
    nodes = {attempt.run_id: attempt.nodes for attempt in source.registry.attempts(name)}
    return {
        "sweep": name,
        "state": sweep.state.value,
        "runs_by_state": dict(Counter(run.state.value for run in runs)),
        "spent_wall_seconds": sum(total_wall(attempt.costs) for attempt in source.registry.attempts(name)),
        "runs": [run_report(run, observations, nodes) for run in runs],
    }


def total_wall(costs: object) -> float:
    parts = costs.values() if isinstance(costs, dict) else ()
    return sum(float(part.get("wall_seconds", 0.0)) for part in parts)


def run_report(run: RunRecord, observations: Mapping[str, NewObservation], nodes: Mapping[str, tuple[str, ...]]) -> dict[str, object]:
    observation = observations.get(run.id)
    result = asdict(observation) if observation is not None else {}
    return {
        "id": run.id,
        "phase": run.phase,
        "state": run.state.value,
        "score": result.get("score"),
        "cost_seconds": result.get("cost_seconds"),
        "attempts": run.attempts,
        "nodes": list(nodes.get(run.id, ())),
        "message": run.message,
        "params": dict(run.params),
    }


def show(reports: list[dict[str, object]], *, detailed: bool) -> None:
    """The same for people."""
    from rich.table import Table

    from metta_sweep.driver.table import new_console

    console = new_console(sys.stdout)
    if not reports:
        console.print("no sweeps yet; start one with: python -m metta_sweep run sweep_name=demo sweep=quick", highlight=False)
    for one in reports:
        states = ", ".join(f"{count} {state}" for state, count in one["runs_by_state"].items())  # type: ignore[attr-defined]
        console.print(f"[bold]{one['sweep']}[/bold] {one['state']}: {states or 'no runs yet'}", highlight=False)
        if not detailed:
            continue
        table = Table(box=None, pad_edge=False, header_style="bold")
        for label in ("run", "phase", "state", "score", "cost", "attempts", "nodes", "message"):
            table.add_column(label)
        for row in one["runs"]:  # type: ignore[attr-defined]
            score = "" if row["score"] is None else f"{row['score']:.4g}"
            cost = "" if row["cost_seconds"] is None else f"{row['cost_seconds']:.1f}"
            table.add_row(row["id"], row["phase"], row["state"], score, cost, str(row["attempts"]), " ".join(row["nodes"]), row["message"][:60])
        console.print(table)
