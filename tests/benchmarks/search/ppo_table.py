"""Real PPO runs on `arena/basic`, recorded by `record_ppo.py`: 72 settings x 4 seeds for `benchmarks.search`, 216 x 2
for `benchmarks.comparison`.

A run draws one of the recorded seeds; the truth is their mean. The cost is the CPU time of training. The learning rate
is constant, so the shorter lengths of the same seed are the run's learning curve.
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

LENGTHS = (16384, 32768, 65536, 131072)
RUNS_IN_BUDGET = 40
LENGTH = "trainer.total_timesteps"


@dataclass(frozen=True)
class Design:
    """What was recorded.

    Attributes:
        name: of the task.
        axes: values of each searched parameter, in the order of `key_of`.
        seeds: of each setting.
        fixed: other keys of the run, in Hydra's words.
    """

    name: str
    axes: Mapping[str, Sequence[float]]
    seeds: Sequence[int]
    fixed: Sequence[str]

    @property
    def file(self) -> Path:
        return Path(__file__).parent / f"{self.name.replace('-', '_')}.json"

    def runs(self) -> list[tuple[float, ...]]:
        """Settings and seed of every run, one seed after the other."""
        return [(*setting, seed) for seed in self.seeds for setting in product(*self.axes.values())]


PPO = Design(
    "ppo-arena",
    {
        "learning_rate": (3e-4, 1e-3, 3e-3, 1e-2),
        "gamma": (0.9, 0.97, 0.99),
        "ent_coef": (1e-4, 1e-2),
        "update_epochs": (1, 2, 4),
    },
    seeds=(1, 2, 3, 4),
    fixed=("trainer.minibatch_size=1024",),
)
PPO_FIVE = Design(
    "ppo-arena-five",
    {
        "learning_rate": (3e-4, 1e-3, 3e-3, 1e-2),
        "gamma": (0.95, 0.99),
        "gae_lambda": (0.6, 0.8, 0.95),
        "update_epochs": (1, 2, 4),
        "minibatch_size": (256, 1024, 4096),
    },
    seeds=(1, 2),
    fixed=("trainer.ppo.ent_coef=0.003",),
)


def key_of(values: Sequence[float]) -> str:
    """Name of a recorded run: its value of each axis, and its seed."""
    return ",".join(f"{value:g}" for value in values)


@dataclass(frozen=True)
class PpoTable:
    """Recorded runs: (score, CPU seconds) by name and length."""

    design: Design
    runs: Mapping[str, Mapping[str, Sequence[float]]]

    def curve(self, params: Params, seed: int) -> list[tuple[int, float, float]]:
        """(steps, CPU seconds, score) up to the length that is asked for."""
        settings = [float(values[int(params[name])]) for name, values in self.design.axes.items()]
        record = self.runs[key_of([*settings, seed])]
        return [
            (steps, record[str(steps)][1], record[str(steps)][0]) for steps in LENGTHS if steps <= int(params[LENGTH])
        ]

    def true_mean(self, params: Params) -> float:
        return float(np.mean([self.curve(params, seed)[-1][2] for seed in self.design.seeds]))

    def run(self, params: Params, rng: np.random.Generator) -> Run:
        *shorter, (_, seconds, score) = self.curve(params, int(rng.choice(self.design.seeds)))
        return Run(score, seconds, tuple(CurvePoint(steps, cpu, value) for steps, cpu, value in shorter))


@cache
def _load(name: str) -> tuple[PpoTable, float, float]:
    """(table, optimum, cost of a long run)."""
    design = next(one for one in (PPO, PPO_FIVE) if one.name == name)
    table = PpoTable(design, json.loads(design.file.read_text()))
    ranges = [range(len(axis)) for axis in design.axes.values()]
    points = [dict(zip((*design.axes, LENGTH), values, strict=True)) for values in product(*ranges, LENGTHS)]
    longest = [record[str(LENGTHS[-1])][1] for record in table.runs.values()]
    return table, max(table.true_mean(point) for point in points), float(np.median(longest))


def ppo_task(seed: int, design: Design = PPO) -> Task:
    """The recorded runs; the seed changes which recorded seeds are drawn."""
    table, optimum, cost = _load(design.name)
    parameters: dict[str, dict[str, object]] = {
        name: {"distribution": "int_uniform", "min": 0, "max": len(axis) - 1} for name, axis in design.axes.items()
    }
    parameters[LENGTH] = {"distribution": "uniform_pow2", "min": LENGTHS[0], "max": LENGTHS[-1]}
    return Task(design.name, "ppo", table, parameters, "maximize", RUNS_IN_BUDGET * cost, optimum, fidelity=LENGTH)
