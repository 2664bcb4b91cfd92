"""Differences of regret, ours minus a peer's, paired by task and seed: 0 is the best known, 1 a random point."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tests.benchmarks.search.report import NOT_REACHED, STEPS, Outcome, geometric_mean

Pair = tuple[Outcome, Outcome]
HEADER = ("whole budget", "first tenth", "at a quarter", "at the end")


@dataclass(frozen=True)
class Difference:
    """Means over pairs with their standard errors, for each column of `HEADER`.

    Attributes:
        cost_ratio: our cost to the quality that the peer ends with over the peer's, geometric mean.
    """

    means: tuple[float, ...]
    errors: tuple[float, ...]
    cost_ratio: float
    pairs: int

    @classmethod
    def of(cls, pairs: Sequence[Pair]) -> Difference:
        values = np.array([np.subtract(regrets(ours), regrets(peer)) for ours, peer in pairs])
        errors = values.std(axis=0, ddof=1) / np.sqrt(len(pairs)) if len(pairs) > 1 else np.full(len(HEADER), np.nan)
        ratio = geometric_mean([cost_to_end(ours, peer) / cost_to_end(peer, peer) for ours, peer in pairs])
        return cls(tuple(values.mean(axis=0)), tuple(errors), ratio, len(pairs))

    def row(self) -> str:
        cells = [f"{mean:+.3f} +- {error:.3f}" for mean, error in zip(self.means, self.errors, strict=True)]
        return " | ".join([*cells, f"{self.cost_ratio:.2f}", str(self.pairs)])


def regrets(outcome: Outcome) -> tuple[float, ...]:
    """In the order of `HEADER`."""
    return (*outcome.mean_regret, outcome.regret[0], outcome.regret[2])


def cost_to_end(outcome: Outcome, peer: Outcome) -> float:
    """Share of the budget at which the recommendation is as good as the peer's last; `NOT_REACHED` if it never is."""
    reached = np.flatnonzero(np.array(outcome.path) >= peer.path[-1])
    return float(STEPS[reached[0]]) if len(reached) else NOT_REACHED


def pairs_of(outcomes: Sequence[Outcome], reference: str, peer: str) -> list[Pair]:
    """By task and seed, of those that hold a path."""
    by_key = {(o.method, o.task, o.seed): o for o in outcomes if o.path}
    keys = sorted((task, seed) for method, task, seed in by_key if method == reference)
    return [(by_key[reference, *key], by_key[peer, *key]) for key in keys if (peer, *key) in by_key]


def regret_table(outcomes: Sequence[Outcome], reference: str) -> str:
    """Markdown: for each number of slots each method's own regret, then the differences per peer, family and task."""
    lines: list[str] = []
    for slots in sorted({o.slots for o in outcomes if o.path}):
        chosen = [o for o in outcomes if o.slots == slots and o.path]
        lines += [f"### Regret of the recommendation, {slots} run(s) at once", "", *_own(chosen), ""]
        lines += [f"{reference} minus the peer, paired by task and seed (below 0 is better)", ""]
        lines += ["| peer | tasks | " + " | ".join(HEADER) + " | cost to the peer's end | pairs |"]
        lines += ["| --- " * (len(HEADER) + 4) + "|"]
        for peer in sorted({o.method for o in chosen} - {reference}):
            lines += _against(peer, pairs_of(chosen, reference, peer))
        lines.append("")
    return "\n".join(lines)


def _own(chosen: Sequence[Outcome]) -> list[str]:
    lines = ["| method | sweeps | " + " | ".join(HEADER) + " |", "| --- " * (len(HEADER) + 2) + "|"]
    for method in sorted({o.method for o in chosen}):
        values = np.array([regrets(o) for o in chosen if o.method == method])
        lines.append(f"| {method} | {len(values)} | " + " | ".join(f"{v:.3f}" for v in values.mean(axis=0)) + " |")
    return lines


def _against(peer: str, pairs: Sequence[Pair]) -> list[str]:
    families = sorted({ours.family for ours, _ in pairs})
    tasks = sorted({ours.task for ours, _ in pairs})
    groups = {"all": pairs} if pairs else {}
    groups |= {family: [pair for pair in pairs if pair[0].family == family] for family in families if len(families) > 1}
    groups |= {task: [pair for pair in pairs if pair[0].task == task] for task in tasks if len(tasks) > 1}
    return [f"| {peer} | {name} | {Difference.of(found).row()} |" for name, found in groups.items()]
