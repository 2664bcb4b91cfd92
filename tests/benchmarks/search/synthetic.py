"""Branin and Hartmann-6 with cost laws: no training length, only places that are dearer than others."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from searchers import Params
from tests.benchmarks.search.tasks import Run, Task

HARTMANN_ALPHA = np.array([1.0, 1.2, 3.0, 3.2])
HARTMANN_A = np.array(
    [[10, 3, 17, 3.5, 1.7, 8], [0.05, 10, 17, 0.1, 8, 14], [3, 3.5, 1.7, 10, 17, 8], [17, 8, 0.05, 10, 0.1, 14]]
)
HARTMANN_P = 1e-4 * np.array(
    [
        [1312, 1696, 5569, 124, 8283, 5886],
        [2329, 4135, 8307, 3736, 1004, 9991],
        [2348, 1451, 3522, 2883, 3047, 6650],
        [4047, 8828, 8732, 5743, 1091, 381],
    ]
)
BRANIN_MINIMUM = 0.39788735772973816
HARTMANN_MINIMUM = -3.322368011391339
COST_RANGE = 30.0


@dataclass(frozen=True)
class Branin:
    """Branin on [-5, 10] x [0, 15]; the cost falls 30-fold from left to right, so that the three optima differ in
    price.
    """

    noise: float

    def true_mean(self, params: Params) -> float:
        x, y = float(params["x"]), float(params["y"])
        return (
            (y - 5.1 / (4 * math.pi**2) * x * x + 5 / math.pi * x - 6) ** 2
            + 10 * (1 - 1 / (8 * math.pi)) * math.cos(x)
            + 10
        )

    def run(self, params: Params, rng: np.random.Generator) -> Run:
        cost = 10.0 * COST_RANGE ** ((10.0 - float(params["x"])) / 15.0)
        return Run(self.true_mean(params) + self.noise * rng.standard_normal(), cost)


@dataclass(frozen=True)
class Hartmann:
    """Hartmann-6 on [0, 1]^6; the cost grows 30-fold with the mean of the first three coordinates."""

    noise: float

    def true_mean(self, params: Params) -> float:
        point = np.array([float(params[f"x{i}"]) for i in range(6)])
        return -float(HARTMANN_ALPHA @ np.exp(-(HARTMANN_A * (point - HARTMANN_P) ** 2).sum(axis=1)))

    def run(self, params: Params, rng: np.random.Generator) -> Run:
        cost = 10.0 * COST_RANGE ** float(np.mean([float(params[f"x{i}"]) for i in range(3)]))
        return Run(self.true_mean(params) + self.noise * rng.standard_normal(), cost)


def branin_task(seed: int) -> Task:
    """Minimise Branin; the seed changes noise only."""
    parameters = {"x": {"min": -5.0, "max": 10.0}, "y": {"min": 0.0, "max": 15.0}}
    return Task("branin", "synthetic", Branin(1.0), parameters, "minimize", 60 * 55.0, BRANIN_MINIMUM)


def hartmann_task(seed: int) -> Task:
    """Minimise Hartmann-6; the seed changes noise only."""
    parameters = {f"x{i}": {"min": 0.0, "max": 1.0} for i in range(6)}
    return Task("hartmann6", "synthetic", Hartmann(0.05), parameters, "minimize", 100 * 55.0, HARTMANN_MINIMUM)
