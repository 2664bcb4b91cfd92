"""What a user reads at the end of a sweep: what was found, for how much, and what to type next."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import pandas as pd
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from metta_sweep.analysis.best import BestRun
from metta_sweep.driver.ranking import Ranking, rank
from metta_sweep.driver.table import format_value, params_text, plain, short_names
from metta_sweep.registry.reader import Reader

if TYPE_CHECKING:
    from metta_sweep.driver.sweep import Ending  # which imports Ray; `best` does without

# Two-sided 95 % interval of a mean over many episodes.
Z95 = 1.96


def print_summary(sweep_name: str, registry: Reader, ending: Ending, console: Console) -> None:
    """Print why it ended, the best run with its bound beside a random policy, the front, and the next command."""
    console.print()
    console.print(
        f"[bold]{sweep_name}[/bold] ended after {ending.wall_seconds:.0f} s: {escape(ending.reason)}",
        highlight=False,
        soft_wrap=True,
    )
    ranking = rank(registry, sweep_name)
    counts = Counter(ranking.runs["state"])
    console.print("runs: " + ", ".join(f"{count} {state}" for state, count in counts.items()), highlight=False)
    if not ranking.best:
        console.print("no run has a score yet; see train.log in the run directories", highlight=False)
        return
    print_best(ranking.best[0], ending, console)
    print_front(ranking, console)
    console.print("\nnext:", highlight=False)
    console.print(
        f"  python -m metta_sweep best sweep_name={sweep_name} --top-n 5 --output-dir configs/trainer/patch",
        highlight=False,
        soft_wrap=True,
    )
    console.print(
        f"  python -m metta_sweep train run=production +trainer/patch={sweep_name}_best",
        highlight=False,
        soft_wrap=True,
    )


def print_best(winner: BestRun, ending: Ending, console: Console) -> None:
    """The winner's score with its lower 95 % bound, a random policy on the same suite, and the winner's parameters."""
    console.print(
        f"\nbest run: [bold green]{winner.id}[/]  {score_line(winner.score, winner.standard_error)}", highlight=False
    )
    if winner.posterior is not None:
        belief = winner.posterior
        console.print(
            f"  the model believes {belief.mean:.4g} [dim](90 % interval {belief.low:.4g} to {belief.high:.4g})[/]",
            highlight=False,
        )
    if ending.random_score is not None:
        console.print(f"  random policy, same suite: {score_line(*ending.random_score)}", highlight=False)
    console.print(f"  cost {winner.cost_seconds:.1f} s, wall {winner.wall_seconds:.1f} s; parameters:", highlight=False)
    for line in params_text(winner.params):
        console.print(f"    {plain(line)}", highlight=False, soft_wrap=True)


def score_line(score: float, standard_error: float | None) -> str:
    """A score with its lower 95 % bound over episodes, when the error is known."""
    if standard_error is None:
        return f"score {score:.4g}"
    return f"score {score:.4g}, lower 95 % bound {score - Z95 * standard_error:.4g}"


def print_front(ranking: Ranking, console: Console) -> None:
    """The Pareto front, cheapest first: no other run is both better and cheaper."""
    if ranking.num_foreign:
        console.print(
            f"\nleft out: {ranking.num_foreign} run(s) whose parameters are not those of the sweep", highlight=False
        )
    console.print("\nPareto front (no other run is both better and cheaper):", highlight=False)
    console.print(front_table(ranking.front, ranking.spec.sweep.phases[-1].space.names))


def front_table(front: pd.DataFrame, names: Any) -> Table:
    """Cost, score and parameters of each front run."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("run", no_wrap=True)
    for label in ("cost s", "score", *map(plain, short_names(list(names)))):
        table.add_column(label, justify="right", no_wrap=True)
    for row in front.to_dict("records"):
        params: Mapping[str, Any] = row["params"]
        table.add_row(
            row["id"],
            f"{row['cost_seconds']:.1f}",
            f"{row['score']:.4g}",
            *(plain(format_value(params.get(name, ""))) for name in names),
        )
    return table
