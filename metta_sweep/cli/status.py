"""`status`: what a sweep is doing and what it found."""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from metta_sweep.cli.readers import add_reader_arguments, address, print_json, reading, with_removal
from metta_sweep.errors import UnreadableSweep

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from metta_sweep.analysis.money import Amount
    from metta_sweep.analysis.overview import Overview
    from metta_sweep.analysis.utilisation import SlotUse
    from metta_sweep.config.job import Budget
    from metta_sweep.registry.reader import Reader


LIMIT = 20  # what a terminal of usual height shows; a round number
ID_SHARE = 0.4  # of a narrow terminal, for the name of a run: a guess that leaves room for what is said of it


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_reader_arguments(parser)
    shown = parser.add_mutually_exclusive_group()
    shown.add_argument("--limit", type=positive, default=LIMIT, metavar="N", help=f"the newest N (default {LIMIT})")
    shown.add_argument("--all", action="store_const", const=None, dest="limit", help="every run, or every sweep")


def positive(text: str) -> int:
    """A whole number above 0; argparse makes the message of the error."""
    number = int(text)
    if number < 1:
        raise ValueError(text)
    return number


def run(args: argparse.Namespace) -> int:
    from metta_sweep.config.job import Budget
    from metta_sweep.driver.display import new_console, say

    with reading(args, need_sweep=False) as source:
        names = [source.sweep_name] if source.sweep_name else newest_sweeps(source.registry)
        shown = names[: args.limit]
        budget = source.location.budget if source.location.budget != Budget() else None
        found = [look(source.registry, name, budget, is_named=bool(source.sweep_name)) for name in shown]
    if args.json:
        reports = [report(one, args.limit) for one in found]
        print_json(reports[0] if source.sweep_name else reports)
        return 0
    console = new_console(sys.stdout)
    if not found:
        command = address(args, source.location).command("run", "sweep_name=demo", "sweep=quick")
        say(f"No sweeps yet. Start one with: {command}", console)
    for one in found:
        if isinstance(one, UnreadableSweep):
            say(str(with_removal(one, address(args, source.location))), console)
        elif len(names) > 1:
            console.print(line_of(one), highlight=False, soft_wrap=True)
        else:
            show(one, console)
            if source.sweep_name:
                console.print(run_table(one, args.limit, console.width))
    num_runs = len(found[0].runs) if source.sweep_name and not isinstance(found[0], UnreadableSweep) else 0
    show_rest("run" if source.sweep_name else "sweep", num_runs or len(names), args.limit, console)
    return 0


def show_rest(what: str, count: int, limit: int | None, console: Console) -> None:
    """That there is more than was shown."""
    if limit is not None and count > limit:
        text = f"The newest {limit:,} of {count:,} {what}s. --all shows all of them, --limit {2 * limit} more."
        console.print(text, highlight=False)


def newest_sweeps(registry: Reader) -> list[str]:
    """Names of all sweeps, the newest first."""
    return [sweep.name for sweep in reversed(registry.list_sweeps())]


def look(registry: Reader, name: str, budget: Budget | None, *, is_named: bool) -> Overview | UnreadableSweep:
    """One sweep. In a list, one that cannot be read stands beside the others.

    Raises:
        UnreadableSweep: the one that was named.
    """
    from metta_sweep.analysis.overview import overview

    try:
        return overview(registry, name, time.time(), budget, recommends=is_named)
    except UnreadableSweep as error:
        if is_named:
            raise
        return error


def report(one: Overview | UnreadableSweep, limit: int | None = None) -> dict[str, Any]:
    """Everything that `status` says about one sweep, JSON-ready: numbers that are not known are null.

    `limit`: how many of the newest runs; None = all.
    """
    from metta_sweep.analysis.recommend import report_of

    if isinstance(one, UnreadableSweep):
        return {"sweep": one.sweep, "unreadable": one.reason}
    return {
        "sweep": one.sweep.name,
        "state": state_word(one),
        "phase": one.phase,
        "note": one.remark.note,
        "tags": list(one.remark.tags),
        "runs_by_state": dict(one.states),
        "best_score": one.best_score,
        "best": asdict(one.recommendation.winner) if one.recommendation else None,
        "recommendation": report_of(one.recommendation) if one.recommendation else None,
        "drivers": one.drivers,
        "ending": asdict(one.ending) if one.ending else None,
        "slots": one.slots,
        "utilisation": [{**asdict(slot), "busy_share": slot.busy_share} for slot in one.utilisation],
        "money": [money_report(amount) for amount in one.amounts],
        "rules": dict(one.rules),
        "learns_from": [asdict(earlier) for earlier in one.learns_from],
        "num_runs": len(one.runs),
        "runs": newest_runs(one, limit),
    }


def money_report(amount: Amount) -> dict[str, Any]:
    """`spent` is the run cost: with `idle` it makes up `node_bill`, which mere time has not."""
    bill = {"idle": amount.idle, "node_bill": amount.node_bill} if amount.unit != "h" else {"idle": None}
    return {**asdict(amount), "left": known(amount.left), **bill}


def newest_runs(one: Overview, limit: int | None) -> list[dict[str, Any]]:
    """What is said of each of the newest runs, the newest first; `limit` None = of all."""
    rows = one.runs.iloc[::-1].head(len(one.runs) if limit is None else limit)
    return [run_report(row, one) for row in rows.to_dict("records")]


def run_report(row: dict[Any, Any], one: Overview) -> dict[str, Any]:
    numbers = {key: known(row[key]) for key in ("score", "cost_seconds", "wall_seconds", "dollars")}
    texts = {key: row[key] for key in ("id", "phase", "state", "attempts", "message")}
    texts |= {"note": row["note"], "tags": row["tags"].split(", ") if row["tags"] else []}
    return {**texts, **numbers, "nodes": list(one.nodes.get(row["id"], ())), "params": row["params"]}


def known(value: float) -> float | None:
    return None if math.isnan(value) else value


def line_of(one: Overview) -> str:
    """A sweep among others in one line."""
    from metta_sweep.analysis.money import amount_in_words

    best = [] if one.best_score is None else [f"best single score: {one.best_score:.4g}"]
    money = [f"{amount_in_words(amount.spent, amount.unit)} spent" for amount in one.amounts if amount.unit != "h"]
    return "; ".join([heading(one), *best, *money])


def heading(one: Overview) -> str:
    """Name, state, phase and counts, with Rich's markup."""
    from metta_sweep.driver.display import plain

    states = ", ".join(f"{count:,} {state}" for state, count in one.states.items()) or "no runs yet"
    phase = f", phase {plain(one.phase)}" if one.phase else ""
    return f"[bold]{one.sweep.name}[/bold] {activity(one)}{phase}: {states}"


def show(one: Overview, console: Console) -> None:
    """A sweep in a few lines."""
    from metta_sweep.analysis.memory import learned_text
    from metta_sweep.analysis.money import bill_text
    from metta_sweep.analysis.recommend import sentences
    from metta_sweep.driver.display import plain

    console.print(heading(one), highlight=False, soft_wrap=True)
    if one.recommendation is not None:
        for text in (f"best: {one.recommendation.winner.id}", *sentences(one.recommendation)):
            console.print(f"  {plain(text)}", highlight=False, soft_wrap=True)
    if one.utilisation:
        console.print(f"  {utilisation_text(one.utilisation)}", highlight=False)
    for amount in one.amounts:
        console.print(f"  {amount_text(amount, is_over=one.ending is not None)}", highlight=False)
    for text in bill_text(one.amounts) if one.utilisation else ():
        console.print(f"  {text}", highlight=False, soft_wrap=True)
    if one.learns_from:
        console.print(f"  {learned_text(one.learns_from)}", highlight=False, soft_wrap=True, markup=False)
    if rules := [f"{key}={value:g}" for key, value in one.rules.items() if key != "budget.hourly_cost"]:
        console.print(f"  ends: {', '.join(rules)}", highlight=False, soft_wrap=True)


def activity(one: Overview) -> str:
    """The sweep's state, and whether anybody works on it."""
    from metta_sweep.driver.display import plain

    if one.ending is not None:
        return f"{state_word(one)} ({plain(one.ending.reason)})"
    who = f" on {plain(', '.join(one.drivers))}" if one.drivers else ", no driver runs"
    return f"{state_word(one)}{who}"


def state_word(one: Overview) -> str:
    """What the registry says of the sweep while somebody may work on it, then how that ended."""
    return one.ending.word if one.ending is not None else one.sweep.state.value


def utilisation_text(slots: Sequence[SlotUse]) -> str:
    """`4 slots, 97% busy (lowest: slot 2, 91%; longest gap 12 s)`."""
    from metta_sweep.analysis.duration import elapsed
    from metta_sweep.analysis.utilisation import busy_share
    from metta_sweep.capacity import counted

    least = min(slots, key=lambda slot: slot.busy_share)
    text = f"{counted(len(slots), 'slot')}, {busy_share(slots) or 0.0:.0%} busy"
    gap = f"longest gap {elapsed(least.longest_gap_seconds)}"
    return f"{text} (lowest: slot {least.slot}, {least.busy_share:.0%}; {gap})"


def amount_text(amount: Amount, *, is_over: bool = False) -> str:
    """`$0.12 spent, $0.03 reserved for running runs, $0.85 left of $1.00, $3.60 per hour now`.

    Of a sweep that is over, what is unspent: `$0.12 spent of $1.00, $0.88 unspent`.
    """
    from metta_sweep.analysis.duration import elapsed
    from metta_sweep.analysis.money import amount_in_words

    if amount.unit == "h":
        spent, cap = elapsed(amount.spent * 3600), "" if amount.cap is None else elapsed(amount.cap * 3600)
        if is_over:
            return f"{spent} from start to end" + (f", of {cap}" if cap else "")
        return f"started {spent} ago" + (f", {cap} allowed" if cap else "")
    if is_over:
        of = "" if amount.cap is None else f" of {amount_in_words(amount.cap, amount.unit)}"
        rest = "" if amount.cap is None else f", {amount_in_words(amount.cap - amount.spent, amount.unit)} unspent"
        return f"{amount_in_words(amount.spent, amount.unit)} spent{of}{rest}"
    reserved = f"{amount_in_words(amount.committed, amount.unit)} reserved for running runs"
    texts = [f"{amount_in_words(amount.spent, amount.unit)} spent", reserved]
    if amount.cap is not None:
        texts.append(f"{amount_in_words(amount.left, amount.unit)} left of {amount_in_words(amount.cap, amount.unit)}")
    return ", ".join([*texts, rate_text(amount)])


def rate_text(amount: Amount) -> str:
    """`$3.60 per hour now`; of time, how many slots or GPUs are paid for."""
    if amount.unit == "$":
        return f"${amount.per_hour:.3f} per hour now"
    return f"{amount.per_hour:.2g} {'GPUs' if amount.unit == 'GPU h' else 'slots'} busy now"


def run_table(one: Overview, limit: int | None, width: int) -> Table:
    """A line for each of the newest runs, on a terminal of so many columns."""
    from rich.table import Table

    from metta_sweep.analysis.duration import elapsed
    from metta_sweep.analysis.names import cut_id
    from metta_sweep.driver.display import plain

    table = Table(box=None, pad_edge=False, header_style="bold")
    rows = newest_runs(one, limit)
    ids = [cut_id(row["id"], int(width * ID_SHARE)) for row in rows]
    table.add_column("run", no_wrap=True, min_width=max(map(len, ids), default=0))
    for label in ("phase", "state", "score", "cost", "attempts", "nodes", "message"):
        table.add_column(label, justify="right" if label in ("score", "cost", "attempts") else "left")
    for run_id, row in zip(ids, rows, strict=True):
        score = "" if row["score"] is None else f"{row['score']:.4g}"
        cost = "" if row["cost_seconds"] is None else elapsed(row["cost_seconds"])
        nodes, message = plain(" ".join(dict.fromkeys(row["nodes"]))), plain(row["message"][:60])
        table.add_row(run_id, plain(row["phase"]), row["state"], score, cost, str(row["attempts"]), nodes, message)
    return table
