"""Recorded PPO runs replayed: `python -m tests.benchmarks.comparison.replay [--seeds 30]`; keeps `replay.json` beside
this file.

Each method spends the same CPU time on the runs of `tests/benchmarks/search/ppo_arena_five.json`, with the same noise
for the same seed, two runs at a time. What counts is what it would recommend: the mean score of that configuration over
all recorded seeds.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from tests.benchmarks.search.harness import MakeMethod, simulate
from tests.benchmarks.search.ours import baseline, protein
from tests.benchmarks.search.peers import optuna_tpe
from tests.benchmarks.search.ppo_table import PPO_FIVE, ppo_task

FILE = Path(__file__).parent / "replay.json"
METHODS: Mapping[str, MakeMethod] = {
    "metta_sweep": protein(),
    "Ray Tune + Optuna": optuna_tpe,
    "random search": baseline("random"),
}
OURS, OPTUNA, RANDOM = METHODS
SLOTS = 2
BOOTSTRAPS = 10_000


@dataclass(frozen=True)
class Replay:
    """One sweep over the recorded runs.

    Attributes:
        costs: CPU seconds that had been spent when each run ended.
        scores: true mean score of what was recommended then.
        budget: CPU seconds that could be spent.
    """

    method: str
    seed: int
    costs: Sequence[float]
    scores: Sequence[float]
    budget: float

    def cost_to(self, score: float) -> float | None:
        """When it first recommended something that good."""
        return next((cost for cost, found in zip(self.costs, self.scores, strict=True) if found >= score), None)

    def score_at(self, cost: float) -> float:
        """What its recommendation was worth; 0 before there was one."""
        return ([0.0] + [score for spent, score in zip(self.costs, self.scores, strict=True) if spent <= cost])[-1]


def replay(job: tuple[str, int]) -> Replay:
    method, seed = job
    task = ppo_task(seed, PPO_FIVE)
    trace = simulate(task, METHODS[method], seed, slots=SLOTS)
    scores = [task.floor + quality * (task.optimum - task.floor) for quality in trace.recommended]
    return Replay(
        method, seed, [round(cost, 3) for cost in trace.cost], [round(score, 5) for score in scores], task.budget
    )


def cost_ratio(replays: Sequence[Replay], peer: str, *, is_first: bool) -> tuple[float, float, float]:
    """Our cost over the peer's to the score that the peer recommends at its end: geometric mean over seeds, with its
    paired 95 % bootstrap interval.

    Where we never get there within the budget, our cost counts as twice the budget.

    Args:
        is_first: the peer's cost is when it first recommended something that good, which only hindsight tells;
            otherwise its budget.
    """
    by_key = {(one.method, one.seed): one for one in replays}
    logs = []
    for seed in sorted({one.seed for one in replays}):
        ours, theirs = by_key[OURS, seed], by_key[peer, seed]
        first = theirs.cost_to(theirs.scores[-1])
        assert first is not None
        logs.append(
            np.log((ours.cost_to(theirs.scores[-1]) or 2.0 * ours.budget) / (first if is_first else theirs.budget))
        )
    draws = np.random.default_rng(0).integers(len(logs), size=(BOOTSTRAPS, len(logs)))
    low, high = np.exp(np.quantile(np.array(logs)[draws].mean(axis=1), [0.025, 0.975]))
    return float(np.exp(np.mean(logs))), float(low), float(high)


def reached(replays: Sequence[Replay], peer: str) -> int:
    """Seeds on which we recommend something as good as the peer's last recommendation within the budget."""
    last = {one.seed: one.scores[-1] for one in replays if one.method == peer}
    return sum(one.cost_to(last[one.seed]) is not None for one in replays if one.method == OURS)


def load() -> list[Replay]:
    return [Replay(**row) for row in json.loads(FILE.read_text())]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=30)
    parser.add_argument("--processes", type=int, default=2)
    args = parser.parse_args()
    jobs = [(method, seed) for seed in range(args.seeds) for method in METHODS]
    with ProcessPoolExecutor(args.processes) as pool:
        replays = list(pool.map(replay, jobs))
    FILE.write_text("[\n" + ",\n".join(json.dumps(asdict(one)) for one in replays) + "\n]\n")
    for method in METHODS:
        mine = [one for one in replays if one.method == method]
        shares = {share: np.mean([one.score_at(share * one.budget) for one in mine]) for share in (0.25, 0.5, 1.0)}
        print(
            f"{method}: score at 25 / 50 / 100 % of the budget "
            + " / ".join(f"{score:.2f}" for score in shares.values())
        )
    for peer in (OPTUNA, RANDOM):
        print(
            f"our cost to the score that {peer} ends with, which we reach on {reached(replays, peer)} of "
            f"{args.seeds} seeds:"
        )
        for is_first, what in ((False, "its budget"), (True, "its cost until it first had it")):
            ratio, low, high = cost_ratio(replays, peer, is_first=is_first)
            print(f"  {ratio:.2f} [{low:.2f}, {high:.2f}] of {what}")


if __name__ == "__main__":
    main()
