"""Records real PPO runs on `arena/basic`: `python -m tests.benchmarks.search.record_ppo`, about an hour of CPU time; goes on where it stopped.

The learning rate is constant within a run, so a run of length T is exactly the first T steps of a longer one with the same seed: each run of
`LENGTHS[-1]` steps gives the scores and costs of all shorter ones. Scores are means over held-out maps, costs are CPU seconds with evaluation.
"""

from __future__ import annotations

import argparse
import itertools
import json
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor

import torch

from metta_sweep.config import load_train_job
from tests.benchmarks.search.ppo_table import AXES, LENGTHS, SEEDS, TABLE, key_of
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


def overrides(settings: Sequence[float], seed: int) -> list[str]:
    """The run in Hydra's words, twice as long as is recorded: then its halves, which are evaluated, are exactly our lengths."""
    return [
        "run=recorded", "sim=arena_basic", f"seed={seed}", "trainer.schedule=constant", f"trainer.batch_size={BATCH_SIZE}",
        f"trainer.total_timesteps={2 * LENGTHS[-1]}", "trainer.ppo.ent_coef=0.003", f"trainer.simulation.curve_points={len(LENGTHS)}",
        f"trainer.simulation.curve_episodes={EPISODES}", "trainer.num_workers=1", "device=cpu",
        *(f"{name}={value:g}" for name, value in zip(AXES, settings, strict=True)),
    ]  # fmt: skip


def record(key: tuple[float, ...]) -> tuple[str, dict[str, list[float]]]:
    """(name of the run, {length: [score, CPU seconds of training]}); the seed is the key's last value."""
    torch.set_num_threads(1)
    job = load_train_job(overrides(key[:-1], int(key[-1])), config_dirs=[], environ={})
    recorder = Recorder()
    PpoTrainer(RunSpec.from_mapping(job.config), DistributedContext(), Meter("setup")).train(recorder)
    return key_of(key), {str(steps): [round(score, 5), round(cpu, 3)] for steps, score, cpu in recorder.points if steps in LENGTHS}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--processes", type=int, default=2)
    table = json.loads(TABLE.read_text()) if TABLE.exists() else {}
    keys = [(*settings, seed) for seed in SEEDS for settings in itertools.product(*AXES.values())]
    with ProcessPoolExecutor(parser.parse_args().processes) as pool:
        for name, points in pool.map(record, [key for key in keys if key_of(key) not in table]):
            table[name] = points
            rows = (f" {json.dumps(run)}: {json.dumps(table[run])}" for run in sorted(table))
            TABLE.write_text("{\n" + ",\n".join(rows) + "\n}\n")
            print(name, points, flush=True)


if __name__ == "__main__":
    main()
