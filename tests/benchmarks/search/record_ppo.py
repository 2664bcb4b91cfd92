"""Records real PPO runs on `arena/basic`: `python -m tests.benchmarks.search.record_ppo`, about half an hour of one core; goes on where it stopped.

The learning rate is constant within a run, so a run of length T is exactly the first T steps of a longer one with the same seed: each run of
`LENGTHS[-1]` steps gives the scores and costs of all shorter ones. Scores are means over held-out maps, costs are CPU seconds with evaluation.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator

import torch

from metta_sweep.config import load_train_job
from tests.benchmarks.search.ppo_table import ENTROPIES, EPOCHS, GAMMAS, LEARNING_RATES, LENGTHS, SEEDS, TABLE, key_of
from trainables.checkpoint import Checkpoint
from trainables.distributed import DistributedContext
from trainables.metering import Meter
from trainables.ppo.trainer import PpoTrainer
from trainables.result import Progress
from trainables.spec import RunSpec

BATCH_SIZE = 4096
EPISODES = 24


class Recorder:
    """Keeps the points of the curve with what they cost."""

    def __init__(self) -> None:
        self.points: list[tuple[int, float, float]] = []
        self._updates = 0

    def wants_stop(self) -> bool:
        """Asked once per update: true at the longest length."""
        self._updates += 1
        return self._updates * BATCH_SIZE >= LENGTHS[-1]

    def report(self, progress: Progress) -> None:
        if progress.point is not None:
            self.points.append((progress.env_steps, progress.point.score, progress.costs.train.cpu_seconds))

    def save(self, checkpoint: Checkpoint) -> None:
        """Nothing is kept: only scores are wanted."""


def overrides(rate: float, gamma: float, entropy: float, epochs: int, seed: int) -> list[str]:
    """The run in Hydra's words, twice as long as is recorded: then its halves, which are evaluated, are exactly our lengths."""
    return [
        "run=recorded", "sim=arena_basic", f"seed={seed}", "trainer.schedule=constant", f"trainer.batch_size={BATCH_SIZE}",
        "trainer.minibatch_size=1024", f"trainer.total_timesteps={2 * LENGTHS[-1]}",
        f"trainer.optimizer.learning_rate={rate}", f"trainer.ppo.gamma={gamma}",
        f"trainer.ppo.ent_coef={entropy}", f"trainer.update_epochs={epochs}", f"trainer.simulation.curve_points={len(LENGTHS)}",
        f"trainer.simulation.curve_episodes={EPISODES}", "trainer.num_workers=1", "device=cpu",
    ]  # fmt: skip


def record(key: tuple[float, float, float, int, int]) -> dict[str, list[float]]:
    """{length: [score, CPU seconds of training]} of one run."""
    job = load_train_job(overrides(*key), config_dirs=[], environ={})
    recorder = Recorder()
    PpoTrainer(RunSpec.from_mapping(job.config), DistributedContext(), Meter("setup")).train(recorder)
    return {str(steps): [round(score, 5), round(cpu, 3)] for steps, score, cpu in recorder.points if steps in LENGTHS}


def keys() -> Iterator[tuple[float, float, float, int, int]]:
    for seed in SEEDS:
        for rate, gamma, entropy, epochs in itertools.product(LEARNING_RATES, GAMMAS, ENTROPIES, EPOCHS):
            yield rate, gamma, entropy, epochs, seed


def main() -> None:
    torch.set_num_threads(1)
    table = json.loads(TABLE.read_text()) if TABLE.exists() else {}
    for key in keys():
        name = key_of(key)
        if name in table:
            continue
        table[name] = record(key)
        rows = (f" {json.dumps(run)}: {json.dumps(table[run])}" for run in sorted(table))
        TABLE.write_text("{\n" + ",\n".join(rows) + "\n}\n")
        print(name, table[name], flush=True)


if __name__ == "__main__":
    main()
