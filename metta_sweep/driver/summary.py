"""What people read before a sweep, its plan, and after it, its answer."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from metta_sweep.analysis.duration import duration, elapsed
from metta_sweep.analysis.memory import learned_text
from metta_sweep.capacity import counted
from metta_sweep.config.registered import RegisteredSweep, read_spec
from metta_sweep.driver.display import borderless, format_value, params_text, plain, say, short_names
from metta_sweep.driver.plan import PhasePlan, SweepPlan
from metta_sweep.registry.names import run_id
from metta_sweep.registry.reader import Reader, readable
from metta_sweep.typed_commands import Address

if TYPE_CHECKING:  # pandas takes half a second to import, and a plan does without
    import pandas as pd

    from metta_sweep.analysis.best import BestRun
    from metta_sweep.analysis.recommend import Recommendation


def print_plan(plan: SweepPlan, console: Console) -> None:
    """Phases, time and money, the first points, what ends the sweep."""
    line = partial(say, console=console, markup=True)
    for text in plan.left_out:
        say(f"note: {text}", console)
    line(f"[bold]{plan.sweep_name}[/bold]: {runs_text(plan)}, {plan.slots} in parallel")
    if len(plan.phases) > 1:
        console.print(phase_table(plan))
    line(f"expected: {expected_text(plan)}")
    line(f"  ({plan.basis})")
    if plan.learns_from:
        say(learned_text(plan.learns_from), console)
    if plan.waiting:
        line(f"first: {', '.join(plan.waiting)} (interrupted, or reserved but never started)")
    if plan.suggestions:
        console.print(suggestion_table(plan))
    line(f"ends: {stops_text(plan)}")


def runs_text(plan: SweepPlan) -> str:
    """How many runs are to come, how many were."""
    done = sum(phase.done for phase in plan.phases)
    before = f" after the {done} that have ended" if done else ""
    if plan.runs is None:
        return f"runs until it is stopped{before}"
    return f"{counted(plan.runs, 'run')} planned{before}"


def expected_text(plan: SweepPlan) -> str:
    """Time and money of what is to come."""
    if plan.seconds is None or plan.slot_hours is None:
        paces = (phase.run_seconds for phase in plan.phases if phase.remaining)
        known = next((seconds for seconds in paces if seconds is not None), None)
        return "no estimate yet" if known is None else f"{duration(known)} a run; the end is open"
    hours = f"{plan.gpu_hours:.3g} GPU-hours" if plan.gpu_hours else f"{plan.slot_hours:.3g} slot-hours"
    dollars = "" if plan.dollars is None else f", ${plan.dollars:.2f}"
    return f"{duration(plan.seconds)}, {hours}{dollars}"


def stops_text(plan: SweepPlan) -> str:
    """What is expected to end it, then what else may."""
    if not plan.stops:
        return "nothing but Ctrl-C, `stop`, or failures in a row; sweep.num_samples, target_score and budget set limits"
    return "; ".join(
        stop.rule + ("" if stop.runs is None else f" (enough for about {stop.runs:,} more)") for stop in plan.stops
    )


def phase_table(plan: SweepPlan) -> Table:
    """A line per phase."""
    table = borderless("phase", ["runs", "ended", "max_suggestion_cost", "a run takes"])
    for phase in plan.phases:
        most = "" if phase.max_suggestion_cost is None else duration(phase.max_suggestion_cost)
        takes = "" if phase.run_seconds is None else duration(phase.run_seconds)
        table.add_row(phase.name, numbers_text(phase), str(phase.done), most, takes)
    return table


def numbers_text(phase: PhasePlan) -> str:
    """Run numbers of the phase, as in run ids."""
    last = "" if phase.num_runs is None else str(phase.first_number + phase.num_runs - 1)
    return f"{phase.first_number}-{last}"


def suggestion_table(plan: SweepPlan) -> Table:
    """The first points and why each was chosen."""
    names = list(plan.suggestions[0].params)
    table = borderless("first", map(plain, short_names(names)))
    table.add_column("why")
    for one in plan.suggestions:
        values = [plain(format_value(one.params.get(name, ""))) for name in names]
        table.add_row(run_id(plan.sweep_name, one.number), *values, one.explanation.reason)
    return table


@dataclass(frozen=True, slots=True)
class Ranking:
    """What a sweep found.

    Attributes:
        runs: one row per run.
        best: the points that were asked for, best first.
        recommendation: the configuration to use, whatever was asked for; None before there is a score.
        front: rows of the Pareto front, cheapest first.
        num_foreign: runs left out of `best` and `front`: their parameters are not those of the sweep.
    """

    spec: RegisteredSweep
    runs: pd.DataFrame
    best: tuple[BestRun, ...]
    recommendation: Recommendation | None
    front: pd.DataFrame
    num_foreign: int = 0


def rank(
    registry: Reader, sweep_name: str, *, top_n: int = 5, by: str = "posterior", hourly_cost: float | None = None
) -> Ranking:
    """Read the sweep and rank its points: by the rule of `analysis.recommend`, or by measured score when that is asked.

    Raises:
        UnknownSweep: no sweep of this name.
        UnreadableSweep: its records make no sense.
    """
    from metta_sweep.analysis.best import best
    from metta_sweep.analysis.frame import frame
    from metta_sweep.analysis.pareto import pareto_front
    from metta_sweep.analysis.recommend import of_sweep, recommend

    with readable(sweep_name):
        spec = read_spec(registry.get_sweep(sweep_name).spec_yaml)
        runs = frame(registry, sweep_name, hourly_cost=hourly_cost)
    known, goal = of_sweep(runs, spec.sweep), spec.sweep.goal
    found = recommend(runs, spec.sweep, top_n=top_n)
    ranking = found.ranking if found is not None and by == "posterior" else tuple(best(known, top_n, goal, by=by))
    return Ranking(spec, runs, ranking, found, pareto_front(known, goal), len(runs) - len(known))


@dataclass(frozen=True, slots=True)
class SweepOutcome:
    """How a `run` ended.

    Attributes:
        exit_code: see `metta_sweep.cli.main.main`.
        wall_seconds: of this driver.
        random_score: mean and standard error of a random policy on the same suite, or None when it was not measured.
    """

    reason: str
    exit_code: int
    wall_seconds: float
    num_failed: int
    random_score: tuple[float, float | None] | None


# Two-sided 95 % interval of a mean over many episodes.
Z95 = 1.96


def print_summary(sweep_name: str, registry: Reader, ending: SweepOutcome, console: Console, at: Address) -> None:
    """Print why it ended, the best run with its bound beside a random policy, the front, and the next command."""
    from metta_sweep.analysis.recommend import next_commands

    line = partial(say, console=console, markup=True)
    console.print()
    line(f"[bold]{sweep_name}[/bold] ended after {elapsed(ending.wall_seconds)}: {escape(ending.reason)}")
    ranking = rank(registry, sweep_name)
    counts = Counter(ranking.runs["state"])
    line("runs: " + ", ".join(f"{count} {state}" for state, count in counts.items()))
    if ranking.recommendation is None:
        line("no run has a score yet; see train.log in the run directories")
        return
    print_recommendation(ranking.recommendation, ending, console)
    print_front(ranking, console)
    line("\nnext:")
    for command in next_commands(sweep_name, at):
        say(f"  {command}", console)


def print_recommendation(found: Recommendation, ending: SweepOutcome, console: Console) -> None:
    """The configuration to use and why, with its lower 95 % bound beside a random policy on the same suite."""
    from metta_sweep.analysis.recommend import sentences

    line, winner = partial(say, console=console, markup=True), found.winner
    line(f"\nbest run: [bold green]{winner.id}[/]  {score_line(winner.score, winner.standard_error)}")
    for text in sentences(found):
        line(f"  {escape(text)}")
    if ending.random_score is not None:
        line(f"  random policy, same suite: {score_line(*ending.random_score)}")
    line(f"  cost {elapsed(winner.cost_seconds)}, wall {elapsed(winner.wall_seconds)}; parameters:")
    for text in params_text(winner.params):
        line(f"    {plain(text)}")


def score_line(score: float, standard_error: float | None) -> str:
    """A score with its lower 95 % bound over episodes, when the error is known."""
    if standard_error is None:
        return f"score {score:.4g}"
    return f"score {score:.4g}, lower 95 % bound {score - Z95 * standard_error:.4g}"


def print_front(ranking: Ranking, console: Console) -> None:
    """The Pareto front, cheapest first: no other run is both better and cheaper."""
    line = partial(say, console=console, markup=True)
    if ranking.num_foreign:
        line(f"\nleft out: {counted(ranking.num_foreign, 'run')} with other parameters than the sweep's")
    line("\nPareto front (no other run is both better and cheaper):")
    console.print(front_table(ranking.front, ranking.spec.sweep.phases[-1].space.names))


def front_table(front: pd.DataFrame, names: Any) -> Table:
    """Cost, score and parameters of each front run."""
    table = borderless("run", ["cost", "score", *map(plain, short_names(list(names)))])
    for row in front.to_dict("records"):
        params = [plain(format_value(row["params"].get(name, ""))) for name in names]
        table.add_row(row["id"], elapsed(row["cost_seconds"]), f"{row['score']:.4g}", *params)
    return table
