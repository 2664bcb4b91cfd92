"""Real PPO runs on `arena/basic`, recorded by `record_ppo.py`: 72 settings x 4 training lengths x 4 seeds.

A run draws one of the recorded seeds; the truth is their mean. The cost is the CPU time of training. The learning rate is constant, so
the shorter lengths of the same seed are the run's learning curve.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import product
from pathlib import Path

import numpy as np

from searchers import CurvePoint, Params
from tests.benchmarks.search.tasks import Run, Task

TABLE = Path(__file__).parent / "ppo_table.json"
LENGTHS = (16384, 32768, 65536, 131072)
LEARNING_RATES = (3e-4, 1e-3, 3e-3, 1e-2)
GAMMAS = (0.9, 0.97, 0.99)
ENTROPIES = (1e-4, 1e-2)
EPOCHS = (1, 2, 4)
SEEDS = (1, 2, 3, 4)
RUNS_IN_BUDGET = 40
LENGTH = "trainer.total_timesteps"
AXES = {"learning_rate": LEARNING_RATES, "gamma": GAMMAS, "ent_coef": ENTROPIES, "update_epochs": EPOCHS}


def key_of(values: Sequence[float]) -> str:
    """Name of a recorded run: learning rate, gamma, entropy coefficient, epochs, seed."""
    return ",".join(f"{value:g}" for value in values)


@dataclass(frozen=True)
class PpoTable:
    """Recorded runs: (score, CPU seconds) by name and length."""

    runs: Mapping[str, Mapping[str, Sequence[float]]]

    def curve(self, params: Params, seed: int) -> list[tuple[int, float, float]]:
        """(steps, CPU seconds, score) up to the length that is asked for."""
        settings = [float(values[int(params[name])]) for name, values in AXES.items()]
        record = self.runs[key_of([*settings, seed])]
        return [(steps, record[str(steps)][1], record[str(steps)][0]) for steps in LENGTHS if steps <= int(params[LENGTH])]

    def true_mean(self, params: Params) -> float:
        return float(np.mean([self.curve(params, seed)[-1][2] for seed in SEEDS]))

    def run(self, params: Params, rng: np.random.Generator) -> Run:
        *shorter, (_, seconds, score) = self.curve(params, int(rng.choice(SEEDS)))
        return Run(score, seconds, tuple(CurvePoint(steps, cpu, value) for steps, cpu, value in shorter))


@cache
def _load() -> tuple[PpoTable, float, float]:
    """(table, optimum, cost of a long run)."""
    table = PpoTable(json.loads(TABLE.read_text()))
    points = [dict(zip((*AXES, LENGTH), values, strict=True)) for values in product(*(range(len(axis)) for axis in AXES.values()), LENGTHS)]
    longest = [record[str(LENGTHS[-1])][1] for record in table.runs.values()]
    return table, max(table.true_mean(point) for point in points), float(np.median(longest))


def ppo_task(seed: int) -> Task:
    """The recorded runs; the seed changes which recorded seeds are drawn."""
    table, optimum, cost = _load()
    parameters: dict[str, dict[str, object]] = {name: {"distribution": "int_uniform", "min": 0, "max": len(axis) - 1} for name, axis in AXES.items()}
    parameters[LENGTH] = {"distribution": "uniform_pow2", "min": LENGTHS[0], "max": LENGTHS[-1]}
    return Task("ppo-arena", "ppo", table, parameters, "maximize", RUNS_IN_BUDGET * cost, optimum, fidelity=LENGTH)
