"""`status`: what a sweep is doing and what it found."""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from metta_sweep.cli.readers import add_reader_arguments, print_json, reading
from metta_sweep.errors import UnreadableSweep

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from metta_sweep.analysis.money import Amount
    from metta_sweep.analysis.overview import Overview
    from metta_sweep.analysis.utilisation import SlotUse
    from metta_sweep.config.job import Budget
    from metta_sweep.registry.reader import Reader


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_reader_arguments(parser)


def run(args: argparse.Namespace) -> int:
    from metta_sweep.config.job import Budget
    from metta_sweep.driver.display import new_console

    with reading(args, need_sweep=False) as source:
        names = [source.sweep_name] if source.sweep_name else [sweep.name for sweep in source.registry.list_sweeps()]
        budget = source.location.budget if source.location.budget != Budget() else None
        found = [look(source.registry, name, budget, is_named=bool(source.sweep_name)) for name in names]
    if args.json:
        reports = [report(one) for one in found]
        print_json(reports[0] if source.sweep_name else reports)
        return 0
    console = new_console(sys.stdout)
    if not found:
        command = "python -m metta_sweep run sweep_name=demo sweep=quick"
        console.print(f"no sweeps yet; start one with: {command}", highlight=False)
    for one in found:
        if isinstance(one, UnreadableSweep):
            console.print(str(one), highlight=False, soft_wrap=True, markup=False)
            continue
        show(one, console)
        if source.sweep_name:
            console.print(run_table(one))
    return 0


def look(registry: Reader, name: str, budget: Budget | None, *, is_named: bool) -> Overview | UnreadableSweep:
    """One sweep. In a list, one that cannot be read stands beside the others.

    Raises:
        UnreadableSweep: the one that was named.
    """
    from metta_sweep.analysis.overview import overview

    try:
        return overview(registry, name, time.time(), budget)
    except UnreadableSweep as error:
        if is_named:
            raise
        return error


def report(one: Overview | UnreadableSweep) -> dict[str, Any]:
    """Everything that `status` says about one sweep, JSON-ready: numbers that are not known are null."""
    if isinstance(one, UnreadableSweep):
        return {"sweep": one.sweep, "unreadable": one.reason}
    return {
        "sweep": one.sweep.name,
        "state": one.sweep.state.value,
        "phase": one.phase,
        "runs_by_state": dict(one.states),
        "best": asdict(one.best) if one.best else None,
        "drivers": one.drivers,
        "slots": one.slots,
        "utilisation": [{**asdict(slot), "busy_share": slot.busy_share} for slot in one.utilisation],
        "money": [{**asdict(amount), "left": known(amount.left)} for amount in one.amounts],
        "rules": dict(one.rules),
        "runs": [run_report(row, one) for row in one.runs.to_dict("records")],
    }


def run_report(row: dict[Any, Any], one: Overview) -> dict[str, Any]:
    numbers = {key: known(row[key]) for key in ("score", "cost_seconds", "wall_seconds", "dollars")}
    texts = {key: row[key] for key in ("id", "phase", "state", "attempts", "message")}
    return {**texts, **numbers, "nodes": list(one.nodes.get(row["id"], ())), "params": row["params"]}


def known(value: float) -> float | None:
    return None if math.isnan(value) else value


def show(one: Overview, console: Console) -> None:
    """A sweep in a few lines."""
    from metta_sweep.driver.display import plain

    states = ", ".join(f"{count} {state}" for state, count in one.states.items()) or "no runs yet"
    phase = f", phase {plain(one.phase)}" if one.phase else ""
    console.print(f"[bold]{one.sweep.name}[/bold] {activity(one)}{phase}: {states}", highlight=False, soft_wrap=True)
    if one.best is not None:
        best = f"{one.best.id}  score {one.best.score:.4g}  cost {one.best.cost_seconds:.1f} s"
        console.print(f"  best: {best}", highlight=False)
    if one.utilisation:
        console.print(f"  {utilisation_text(one.utilisation)}", highlight=False)
    for amount in one.amounts:
        console.print(f"  {amount_text(amount)}", highlight=False)
    if rules := [f"{key}={value:g}" for key, value in one.rules.items() if key != "budget.hourly_cost"]:
        console.print(f"  ends: {', '.join(rules)}", highlight=False, soft_wrap=True)


def activity(one: Overview) -> str:
    """The sweep's state, and whether anybody works on it."""
    from metta_sweep.driver.display import plain

    who = f" on {plain(', '.join(one.drivers))}" if one.drivers else ", no driver runs"
    return f"{one.sweep.state.value}{who}"


def utilisation_text(slots: Sequence[SlotUse]) -> str:
    """`4 slots busy 97 %; slot 2 least, 91 %, longest gap 12.3 s`."""
    from metta_sweep.analysis.utilisation import busy_share

    least = min(slots, key=lambda slot: slot.busy_share)
    text = f"{len(slots)} slot(s) busy {busy_share(slots) or 0.0:.0%}"
    return f"{text}; slot {least.slot} least, {least.busy_share:.0%}, longest gap {least.longest_gap_seconds:.1f} s"


def amount_text(amount: Amount) -> str:
    """`$0.12 spent, $0.03 committed, $0.85 left of $1.00, $3.60 per hour now`."""
    if amount.unit == "h":
        cap = "" if amount.cap is None else f" of {amount.cap:.3g} h"
        return f"{amount.spent:.3g} h since it was started{cap}"
    texts = [f"{money_text(amount.spent, amount.unit)} spent", f"{money_text(amount.committed, amount.unit)} committed"]
    if amount.cap is not None:
        texts.append(f"{money_text(amount.left, amount.unit)} left of {money_text(amount.cap, amount.unit)}")
    return ", ".join([*texts, f"{money_text(amount.per_hour, amount.unit)} per hour now"])


def money_text(value: float, unit: str) -> str:
    return f"${value:.3f}" if unit == "$" else f"{value:.3g} {unit}"


def run_table(one: Overview) -> Table:
    """A line per run."""
    from rich.table import Table

    from metta_sweep.driver.display import plain

    table = Table(box=None, pad_edge=False, header_style="bold")
    for label in ("run", "phase", "state", "score", "cost s", "attempts", "nodes", "message"):
        table.add_column(label, justify="right" if label in ("score", "cost s", "attempts") else "left")
    for row in (run_report(row, one) for row in one.runs.to_dict("records")):
        score = "" if row["score"] is None else f"{row['score']:.4g}"
        cost = "" if row["cost_seconds"] is None else f"{row['cost_seconds']:.1f}"
        nodes, message = plain(" ".join(dict.fromkeys(row["nodes"]))), plain(row["message"][:60])
        table.add_row(row["id"], plain(row["phase"]), row["state"], score, cost, str(row["attempts"]), nodes, message)
    return table
