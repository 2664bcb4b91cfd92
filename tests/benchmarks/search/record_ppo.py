"""Records real PPO runs: `python -m tests.benchmarks.search.record_ppo ppo-arena|ppo-arena-five`; goes on where it
stopped.

The learning rate is constant within a run, so a run of length T is exactly the first T steps of a longer one with the
same seed: each run of `LENGTHS[-1]` steps gives the scores and costs of all shorter ones. Scores are means over
held-out maps, costs are CPU seconds with evaluation.
"""

from __future__ import annotations

import json
import sys
from concurrent.futures import ProcessPoolExecutor

import torch

from metta_sweep.config import load_train_job
from tests.benchmarks.search.ppo_table import LENGTHS, PPO, PPO_FIVE, Design, key_of
from trainables.checkpoint import Checkpoint
from trainables.distributed import DistributedContext
from trainables.metering import Meter
from trainables.ppo.trainer import PpoTrainer
from trainables.result import Progress
from trainables.spec import RunSpec

BATCH_SIZE = 4096
EPISODES = 24
PROCESSES = 2
NAMES = {
    "learning_rate": "trainer.optimizer.learning_rate",
    "gamma": "trainer.ppo.gamma",
    "gae_lambda": "trainer.ppo.gae_lambda",
    "ent_coef": "trainer.ppo.ent_coef",
    "update_epochs": "trainer.update_epochs",
    "minibatch_size": "trainer.minibatch_size",
}


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


def overrides(design: Design, key: tuple[float, ...]) -> list[str]:
    """The run in Hydra's words, twice as long as is recorded: then its halves, which are evaluated, are exactly our
    lengths.
    """
    *settings, seed = key
    searched = [f"{NAMES[axis]}={value:g}" for axis, value in zip(design.axes, settings, strict=True)]
    return [
        "run=recorded", "sim=arena_basic", f"seed={seed}",
        "trainer.schedule=constant", f"trainer.batch_size={BATCH_SIZE}",
        f"trainer.total_timesteps={2 * LENGTHS[-1]}", f"trainer.simulation.curve_points={len(LENGTHS)}",
        f"trainer.simulation.curve_episodes={EPISODES}", "trainer.num_workers=0", "device=cpu",
        *design.fixed, *searched,
    ]  # fmt: skip


def record(words: list[str]) -> dict[str, list[float]]:
    """{length: [score, CPU seconds of training]} of one run."""
    torch.set_num_threads(1)
    job = load_train_job(words, config_dirs=[], environ={})
    recorder = Recorder()
    PpoTrainer(RunSpec.from_mapping(job.config), DistributedContext(), Meter("setup")).train(recorder)
    return {str(steps): [round(score, 5), round(cpu, 3)] for steps, score, cpu in recorder.points if steps in LENGTHS}


def main() -> None:
    design = {one.name: one for one in (PPO, PPO_FIVE)}[sys.argv[1]]
    table = json.loads(design.file.read_text()) if design.file.exists() else {}
    missing = [key for key in design.runs() if key_of(key) not in table]
    with ProcessPoolExecutor(PROCESSES) as pool:
        for key, recorded in zip(missing, pool.map(record, [overrides(design, key) for key in missing]), strict=True):
            table[key_of(key)] = recorded
            rows = (f" {json.dumps(run)}: {json.dumps(table[run])}" for run in sorted(table))
            design.file.write_text("{\n" + ",\n".join(rows) + "\n}\n")
            print(key_of(key), recorded, flush=True)


if __name__ == "__main__":
    main()
