"""A plan as people read it."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from metta_sweep.driver.plan import PhasePlan, Plan
from metta_sweep.driver.table import format_value, plain, short_names


def print_plan(plan: Plan, console: Console) -> None:
    """Phases, time and money, the first points, what ends the sweep."""
    for text in plan.left_out:
        console.print(f"note: {text}", highlight=False, soft_wrap=True, markup=False)
    console.print(
        f"[bold]{plan.sweep_name}[/bold]: {runs_text(plan)}, {plan.slots} at a time", highlight=False, soft_wrap=True
    )
    if len(plan.phases) > 1:
        console.print(phase_table(plan))
    console.print(f"expected: {expected_text(plan)}", highlight=False, soft_wrap=True)
    console.print(f"  ({plan.basis})", highlight=False, soft_wrap=True)
    if plan.waiting:
        console.print(
            f"first: {', '.join(plan.waiting)} (interrupted, or reserved but never started)",
            highlight=False,
            soft_wrap=True,
        )
    if plan.suggestions:
        console.print(suggestion_table(plan))
    console.print(f"ends: {stops_text(plan)}", highlight=False, soft_wrap=True)


def runs_text(plan: Plan) -> str:
    """How many runs are to come, how many were."""
    done = sum(phase.done for phase in plan.phases)
    before = f" after the {done} that have ended" if done else ""
    if plan.runs is None:
        return f"runs until it is stopped{before}"
    return f"{plan.runs} run{'s' * (plan.runs != 1)} to come{before}"


def expected_text(plan: Plan) -> str:
    """Time and money of what is to come."""
    if plan.seconds is None or plan.slot_hours is None:
        known = next(
            (phase.run_seconds for phase in plan.phases if phase.remaining and phase.run_seconds is not None), None
        )
        return "time and money not known" if known is None else f"{duration(known)} a run; the end is open"
    parts = [
        duration(plan.seconds),
        f"{plan.gpu_hours:.3g} GPU-hours" if plan.gpu_hours else f"{plan.slot_hours:.3g} slot-hours",
    ]
    if plan.dollars is not None:
        parts.append(f"${plan.dollars:.2f}")
    return ", ".join(parts)


def stops_text(plan: Plan) -> str:
    """What is expected to end it, then what else may."""
    if not plan.stops:
        return "nothing but Ctrl-C, `stop`, or failures in a row; sweep.num_samples, target_score and budget set limits"
    return "; ".join(
        stop.rule + ("" if stop.runs is None else f" (room for {stop.runs} more run{'s' * (stop.runs != 1)})")
        for stop in plan.stops
    )


def phase_table(plan: Plan) -> Table:
    """A line per phase."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("phase", no_wrap=True)
    for label in ("runs", "ended", "max_suggestion_cost", "a run takes"):
        table.add_column(label, justify="right", no_wrap=True)
    for phase in plan.phases:
        most = "" if phase.max_suggestion_cost is None else duration(phase.max_suggestion_cost)
        takes = "" if phase.run_seconds is None else duration(phase.run_seconds)
        table.add_row(phase.name, numbers_text(phase), str(phase.done), most, takes)
    return table


def numbers_text(phase: PhasePlan) -> str:
    """Run numbers of the phase, as in run ids."""
    last = "" if phase.num_runs is None else str(phase.first_number + phase.num_runs - 1)
    return f"{phase.first_number}-{last}"


def suggestion_table(plan: Plan) -> Table:
    """The first points and why each was chosen."""
    names = list(plan.suggestions[0].params)
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("first", no_wrap=True)
    for label in map(plain, short_names(names)):
        table.add_column(label, justify="right", no_wrap=True)
    table.add_column("why")
    for one in plan.suggestions:
        values = [plain(format_value(one.params.get(name, ""))) for name in names]
        table.add_row(f"{plan.sweep_name}.r.{one.number}", *values, one.explanation.reason)
    return table


def duration(seconds: float) -> str:
    """`45 s`, `12 min`, `3.4 h`, `2.1 d`: two figures are all that a forecast is worth."""
    for limit, size, unit in ((120, 1, "s"), (7200, 60, "min"), (172_800, 3600, "h")):
        if seconds < limit:
            return f"{seconds / size:.2g} {unit}" if seconds / size < 10 else f"{seconds / size:.0f} {unit}"
    return f"{seconds / 86_400:.3g} d"
