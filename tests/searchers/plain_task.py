"""A small task with one best point, for tests of Protein."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from searchers import Observation, Protein, ProteinConfig, Space, Suggestion

LENGTH = "trainer.total_timesteps"
PLAIN = Space.from_config(
    {
        "x": {"min": -1.0, "max": 1.0},
        "y": {"min": -1.0, "max": 1.0},
        LENGTH: {"distribution": "log_normal", "min": 1e5, "max": 3e6},
    }
)


def make(space: Space = PLAIN, seed: int = 0, goal: Any = "maximize", **settings: Any) -> Protein:
    return Protein(space, ProteinConfig(**settings), goal, rng=np.random.default_rng(seed))


def plain_run(params: Any, noise: float = 0.0) -> Observation:
    steps = float(params[LENGTH])
    score = 1.0 - (params["x"] - 0.3) ** 2 - (params["y"] + 0.2) ** 2 + 0.3 * math.log10(steps / 3e6) + noise
    return Observation(params, score, 10.0 + steps / 1e4)


def played(protein: Protein, runs: int) -> list[Suggestion]:
    suggestions = []
    for _ in range(runs):
        suggestions.append(protein.suggest())
        protein.observe(plain_run(suggestions[-1].params))
    return suggestions
