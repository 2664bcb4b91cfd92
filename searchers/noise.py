"""Noise of observed scores: how uncertain each row is, and what rows of one run share.

A run has a seed, and its luck lasts: points of one learning curve are wrong in the same direction. A model that takes
them for independent draws explains a lucky run by a narrow peak at its hyperparameters, and goes on to dig there.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from searchers.distributions import Array

SHARED = 0.5  # half of the noise of a finished run lasts through its curve; its size was not tuned


@dataclass(frozen=True, slots=True)
class Noise:
    """Noise covariance of n rows, in units of the noise variance of a finished run.

    Attributes:
        scale: (n,) variance, >= 1 for rows that are less certain.
        run: (n,) which run each row is from; rows of one run have covariance `SHARED`.
    """

    scale: Array
    run: NDArray[np.int64]

    @classmethod
    def independent(cls, count: int) -> Noise:
        """Rows of `count` finished runs."""
        return cls(np.ones(count), np.arange(count))

    def rows(self, index: NDArray[np.int64]) -> Noise:
        return Noise(self.scale[index], self.run[index])

    def joined(self, other: Noise) -> Noise:
        """These rows, then others of other runs."""
        return Noise(np.concatenate([self.scale, other.scale]), np.concatenate([self.run, other.run]))

    def covariance(self) -> Array:
        """(n, n)."""
        shared = np.where(self.run[:, None] == self.run[None, :], SHARED, 0.0)
        np.fill_diagonal(shared, self.scale)
        return shared

    def times(self, vector: Array) -> Array:
        """(n,) covariance @ vector, O(n)."""
        _, member = np.unique(self.run, return_inverse=True)
        return SHARED * np.bincount(member, weights=vector)[member] + (self.scale - SHARED) * vector
