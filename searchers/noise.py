"""Noise of observed scores: how uncertain each row is, and what rows of one run share.

What a run's own evaluation says of its standard error is known; what the seed adds is learned, one variance for all.

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
    """Noise of n rows: a learned part, in units of the noise variance of a finished run, and a known one.

    Attributes:
        scale: (n,) variance of the learned part, >= 1 for rows that are less certain.
        run: (n,) which run each row is from; rows of one run have covariance `SHARED`.
        known: (n,) variance that the rows' evaluations have by themselves, in the targets' own units; 0 = not known.
    """

    scale: Array
    run: NDArray[np.int64]
    known: Array

    @classmethod
    def independent(cls, count: int, known: float = 0.0) -> Noise:
        """Rows of `count` finished runs."""
        return cls(np.ones(count), np.arange(count), np.full(count, known))

    def rows(self, index: NDArray[np.int64]) -> Noise:
        return Noise(self.scale[index], self.run[index], self.known[index])

    def joined(self, other: Noise) -> Noise:
        """These rows, then others of other runs."""
        pairs = zip((self.scale, self.run, self.known), (other.scale, other.run, other.known), strict=True)
        return Noise(*(np.concatenate(pair) for pair in pairs))

    def covariance(self) -> Array:
        """(n, n) of the learned part."""
        shared = np.where(self.run[:, None] == self.run[None, :], SHARED, 0.0)
        np.fill_diagonal(shared, self.scale)
        return shared

    def times(self, vector: Array, variance: float) -> Array:
        """(n,) covariance @ vector, O(n), with the learned part's variance of a finished run."""
        _, member = np.unique(self.run, return_inverse=True)
        learned = SHARED * np.bincount(member, weights=vector)[member] + (self.scale - SHARED) * vector
        return variance * learned + self.known * vector

    @property
    def typical(self) -> float:
        """Known variance of a finished run, the median."""
        finished = self.known[self.scale == 1.0]
        return float(np.median(finished)) if len(finished) else 0.0
