"""What memory is worth: earlier sweeps of the same algorithm on the other recorded landscapes."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

from searchers import Observation, Params, Suggestion
from tests.benchmarks.search.harness import MakeMethod, simulate
from tests.benchmarks.search.landscapes import LANDSCAPES, landscape_task
from tests.benchmarks.search.ours import EarlierSweeps, Ours, protein
from tests.benchmarks.search.tasks import Task

MOST_SIBLINGS = 3
EARLIER_SEEDS = 2  # each sibling has been swept with so many seeds, far from those of the split
FIRST_EARLIER_SEED = 1000


class Recorded:
    """A method that keeps what it observed."""

    def __init__(self, method: Ours) -> None:
        self.method = method
        self.seen: list[Observation] = []

    def observe(self, observation: Observation) -> None:
        self.seen.append(observation)
        self.method.observe(observation)

    def suggest(self, pending: Sequence[Params] = ()) -> Suggestion:
        return self.method.suggest(pending)

    def recommend(self) -> Params | None:
        return self.method.recommend()


@cache
def _sweep(name: str, seed: int) -> tuple[Observation, ...]:
    task = landscape_task(name)(seed)
    recorded = Recorded(protein()(task, seed))
    simulate(task, lambda task, seed: recorded, seed)
    return tuple(recorded.seen)


def sibling_sweeps(sign: float) -> EarlierSweeps:
    """Whole sweeps of other landscapes with the task's algorithm; sign -1 turns their scores the wrong way round."""

    def earlier(task: Task, seed: int) -> list[list[Observation]]:
        algorithm = task.name.rsplit("_", 1)[1]
        siblings = [name for name in LANDSCAPES if name.endswith(f"_{algorithm}") and not task.name.endswith(name)]
        sweeps = (_sweep(name, FIRST_EARLIER_SEED + seed % EARLIER_SEEDS) for name in siblings[:MOST_SIBLINGS])
        return [
            [Observation(one.params, sign * one.score, one.cost_seconds) for one in sweep if one.score is not None]
            for sweep in sweeps
        ]

    return earlier


MEMORIES: dict[str, MakeMethod] = {
    "memory": protein(earlier=sibling_sweeps(1.0)),
    "memory-wrong": protein(earlier=sibling_sweeps(-1.0)),
}
