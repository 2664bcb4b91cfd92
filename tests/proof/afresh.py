"""A configuration trained again on seeds and judged on maps that nothing has seen before."""

from __future__ import annotations

import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from scipy import stats

from tests.proof.stage import Stage
from tests.proof.tasks import Task

SEEDS = (101, 102, 103)
MAPS_SEED = 7_000_003
EPISODES = 192


@dataclass(frozen=True)
class Afresh:
    """Scores of policies that were trained with one configuration.

    Attributes:
        scores: mean over the fresh maps, one for each seed of training.
        standard_errors: of each, over the maps.
        cpu_seconds: of training, all seeds.
        num_steps: of each training.
    """

    scores: Sequence[float]
    standard_errors: Sequence[float]
    cpu_seconds: float
    num_steps: int

    @property
    def lower(self) -> float:
        """Lower end of the two-sided 95 % interval of the mean over seeds (Student's t): what another seed's policies
        are like on average.
        """
        spread = float(np.std(self.scores, ddof=1)) / math.sqrt(len(self.scores))
        return float(np.mean(self.scores)) - float(stats.t.ppf(0.975, len(self.scores) - 1)) * spread

    @property
    def lower_over_maps(self) -> float:
        """The same for these very policies, over maps."""
        error = math.sqrt(sum(one**2 for one in self.standard_errors)) / len(self.standard_errors)
        return float(np.mean(self.scores)) - 1.96 * error

    def __str__(self) -> str:
        scores = ", ".join(f"{score:.2f}" for score in self.scores)
        bounds = f"lower 95 % bound {self.lower:.2f} over seeds, {self.lower_over_maps:.2f} over maps"
        trained = f"{scores} with {self.num_steps:,} steps on fresh seeds and maps"
        return f"{trained}; mean {np.mean(self.scores):.2f}, {bounds}; {self.cpu_seconds:.0f} CPU seconds"


def afresh(stage: Stage, patch: str, task: Task, seeds: Sequence[int] = SEEDS) -> Afresh:
    """`train +trainer/patch=PATCH` once for each seed, two at a time, and `evaluate` on fresh maps."""

    def one(seed: int) -> tuple[float, float, float]:
        words = [
            f"run={patch}_{seed}",
            f"+trainer/patch={patch}",
            f"seed={seed}",
            f"trainer.total_timesteps={task.num_steps}",
            task.suite,
        ]
        words += ["resources.cpus_per_worker=1", "trainer.num_workers=0", "wandb=off"]
        trained = stage.ask("train", *words)
        played = stage.ask("evaluate", *words, f"sim.seed={MAPS_SEED}", f"sim.episodes={EPISODES}")
        return played["score"], played["standard_error"], sum(part["cpu_seconds"] for part in trained["costs"].values())

    with ThreadPoolExecutor(2) as pool:
        rows = list(pool.map(one, seeds))
    return Afresh([row[0] for row in rows], [row[1] for row in rows], sum(row[2] for row in rows), task.num_steps)
