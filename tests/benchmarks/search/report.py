"""From traces to the table: geometric means, paired bootstrap intervals, ranks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np
from scipy.stats import rankdata

from tests.benchmarks.search.harness import Trace
from tests.benchmarks.search.tasks import Task

NOT_REACHED = 2.0
TARGETS = (0.9, 0.95, 0.99)
BOOTSTRAPS = 4000
STEPS = np.arange(1, 51) / 50  # of the budget, where the recommendation is kept
WHOLE = 2.0  # of the budget: the last run may end beyond it


@dataclass(frozen=True)
class Outcome:
    """One method on one task with one seed; costs as shares of the budget.

    Attributes:
        cost_to: cost to reach 90, 95 and 99 % of the optimum; `NOT_REACHED` when the budget did not suffice.
        regret: of the recommendation at 25, 50 and 100 % of the budget.
        mean_regret: of the recommendation, over the whole budget and over its first tenth; empty in older results.
        path: quality of the recommendation at each fiftieth of the budget; empty in older results.
        late_failures: share of failed runs after the 30th.
        suggest_ms: median CPU milliseconds of a suggestion.
    """

    task: str
    family: str
    method: str
    seed: int
    slots: int
    cost_to: tuple[float, ...]
    regret: tuple[float, ...]
    runs: int
    late_failures: float
    suggest_ms: float
    mean_regret: tuple[float, ...] = ()
    path: tuple[float, ...] = ()

    @property
    def key(self) -> str:
        return f"{self.task}/{self.method}/{self.seed}/{self.slots}"

    def to_dict(self) -> dict[str, object]:
        return asdict(self)


def outcome(task: Task, method: str, seed: int, slots: int, trace: Trace) -> Outcome:
    """Boil a trace down."""
    reached = [trace.cost_to(target) for target in TARGETS]
    late = trace.failed[30:]
    return Outcome(
        task=task.name,
        family=task.family,
        method=method,
        seed=seed,
        slots=slots,
        cost_to=tuple(min(NOT_REACHED, cost / task.budget) if cost is not None else NOT_REACHED for cost in reached),
        regret=tuple(1.0 - trace.quality_at(share * task.budget) for share in (0.25, 0.5, WHOLE)),
        runs=len(trace.cost),
        late_failures=float(np.mean(late)) if late else 0.0,
        suggest_ms=1000 * float(np.median(trace.suggest_seconds)),
        mean_regret=tuple(round(trace.mean_regret(share * task.budget), 5) for share in (1.0, 0.1)),
        path=tuple(round(trace.quality_at(share * task.budget), 4) for share in (*STEPS[:-1], WHOLE)),
    )


def geometric_mean(values: Sequence[float]) -> float:
    return float(np.exp(np.mean(np.log(values))))


def ratio(
    ours: Mapping[tuple[str, int], Outcome], peer: Mapping[tuple[str, int], Outcome]
) -> tuple[float, float, float, int]:
    """Geometric mean of our cost to 95 % over the peer's, paired by task and seed, with its 95 % bootstrap interval and
    the number of pairs.
    """
    logs = np.array([np.log(ours[key].cost_to[1] / peer[key].cost_to[1]) for key in sorted(set(ours) & set(peer))])
    if not len(logs):
        return float("nan"), float("nan"), float("nan"), 0
    means = logs[np.random.default_rng(0).integers(len(logs), size=(BOOTSTRAPS, len(logs)))].mean(axis=1)
    low, high = np.exp(np.quantile(means, [0.025, 0.975]))
    return float(np.exp(logs.mean())), float(low), float(high), len(logs)


def table(outcomes: Sequence[Outcome], reference: str) -> str:
    """Markdown: one block per slots, one row per task and method, then the paired ratios against `reference`."""
    lines: list[str] = []
    for slots in sorted({o.slots for o in outcomes}):
        chosen = [o for o in outcomes if o.slots == slots]
        lines += [
            f"### {slots} run(s) at once",
            "",
            "| task | method | seeds | cost to 90 / 95 / 99 % | regret at 25 / 50 / 100 % | runs | late failures | "
            "ms |",
        ]
        lines.append("| --- | --- | --- | --- | --- | --- | --- | --- |")
        for task, method in sorted({(o.task, o.method) for o in chosen}):
            lines.append(_row([o for o in chosen if o.task == task and o.method == method]))
        lines += ["", f"Cost to 95 % of {reference} over each peer's, paired (below 1 is better):", ""]
        lines += [*_ratios(chosen, reference), "", *_mean_ranks(chosen, reference), ""]
    return "\n".join(lines)


def _row(group: Sequence[Outcome]) -> str:
    cost = " / ".join(f"{geometric_mean([o.cost_to[i] for o in group]):.2f}" for i in range(3))
    regret = " / ".join(f"{np.mean([o.regret[i] for o in group]):.3f}" for i in range(3))
    first = group[0]
    means = (
        f"{np.mean([o.runs for o in group]):.0f} | {np.mean([o.late_failures for o in group]):.0%} | "
        f"{np.median([o.suggest_ms for o in group]):.0f}"
    )
    return f"| {first.task} | {first.method} | {len(group)} | {cost} | {regret} | {means} |"


def _ratios(chosen: Sequence[Outcome], reference: str) -> list[str]:
    families = ["all", *sorted({o.family for o in chosen})]
    lines = ["| peer | " + " | ".join(families) + " |", "| --- " * (len(families) + 1) + "|"]
    for peer in sorted({o.method for o in chosen} - {reference}):
        cells = []
        for family in families:
            pick = [o for o in chosen if family in ("all", o.family)]
            by_key = [{(o.task, o.seed): o for o in pick if o.method == method} for method in (reference, peer)]
            value, low, high, pairs = ratio(by_key[0], by_key[1])
            cells.append(f"{value:.2f} [{low:.2f}, {high:.2f}] n={pairs}" if pairs else "-")
        lines.append(f"| {peer} | " + " | ".join(cells) + " |")
    return lines


def mean_ranks(outcomes: Sequence[Outcome], reference: str) -> dict[str, float]:
    """Mean rank by cost to 95 %, 1 is best, over the (task, seed) of `reference`; of the methods that ran on all of
    them.
    """
    cost = {(o.method, o.task, o.seed): o.cost_to[1] for o in outcomes}
    keys = sorted({(task, seed) for method, task, seed in cost if method == reference})
    methods = [name for name in sorted({o.method for o in outcomes}) if all((name, *key) in cost for key in keys)]
    costs = np.array([[cost[name, *key] for key in keys] for name in methods])
    return dict(zip(methods, rankdata(costs, axis=0).mean(axis=1).tolist(), strict=True))


def _mean_ranks(chosen: Sequence[Outcome], reference: str) -> list[str]:
    ranks = mean_ranks(chosen, reference)
    shown = ", ".join(f"{name} {rank:.2f}" for name, rank in sorted(ranks.items(), key=lambda item: item[1]))
    return [f"Mean rank by cost to 95 %, where all ran: {shown}"]
