"""Scrambled Sobol points; scipy.stats, which takes a second to import, is loaded on first use only."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from searchers.distributions import Array


def sobol_draws(dimension: int, rng: np.random.Generator) -> Callable[[int], Array]:
    """A function n -> the next (n, d) points of one scrambled Sobol sequence on [0, 1)^d, d >= 1.

    It advances by whole powers of two, which keep the sequence's balance, and hands out the first n of them.
    """
    from scipy.stats import qmc

    sequence = qmc.Sobol(dimension, scramble=True, rng=rng)

    def draw(count: int) -> Array:
        size = 2 ** max(0, math.ceil(math.log2(max(count, 1))))
        while sequence.num_generated % size:
            sequence.fast_forward(size - sequence.num_generated % size)
        return np.asarray(sequence.random(size)[:count], dtype=np.float64)

    return draw
