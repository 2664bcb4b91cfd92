"""Output transform: robust to outliers and heavy tails, unmoved by shift and scale, monotone and invertible."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import numpy as np

from searchers.distributions import Array

LINEAR_ABOVE = 3.0


@dataclass(frozen=True, slots=True)
class Warp:
    """score -> z: linear from the median up to three spreads above it, logarithmic beyond, and below the median.

    Bad scores lose their distances (a run that is hopeless is no more informative for being ten times as hopeless), and one
    spectacular score cannot flatten the rest. The result is standardised.

    Attributes:
        median: of the scores that it was made from.
        spread: distance from the median to the upper quartile tail; 1 when all scores are equal.
        mean: of the bent values.
        deviation: of the bent values; 1 when they are equal.
    """

    median: float
    spread: float
    mean: float
    deviation: float

    @classmethod
    def of(cls, scores: Array) -> Warp:
        """The warp of a set of scores (n,), n >= 1, larger is better."""
        median, upper = np.quantile(scores, [0.5, 0.9])
        spread = upper - median
        if spread <= 1e-12 * max(1.0, abs(float(median))):
            spread = float(np.abs(scores - median).max())
        if spread <= 1e-12 * max(1.0, abs(float(median))):
            spread = 1.0
        bent = _bend((scores - median) / spread)
        deviation = float(bent.std())
        return cls(float(median), float(spread), float(bent.mean()), deviation if deviation > 1e-9 else 1.0)

    def forward(self, scores: Array) -> Array:
        """Scores -> z, elementwise. Rounded: shifted scores differ in their last bits, suggestions must not."""
        z = (_bend((scores - self.median) / self.spread) - self.mean) / self.deviation
        return cast(Array, np.round(z, 9))

    def inverse(self, z: Array) -> Array:
        """z -> scores, elementwise."""
        return _unbend(np.clip(z * self.deviation + self.mean, -30.0, 30.0)) * self.spread + self.median


def _bend(t: Array) -> Array:
    above = LINEAR_ABOVE + np.log1p(np.maximum(t - LINEAR_ABOVE, 0.0))
    below = -np.log1p(np.maximum(-t, 0.0))
    return np.where(t > LINEAR_ABOVE, above, np.where(t < 0, below, t))


def _unbend(bent: Array) -> Array:
    above = LINEAR_ABOVE + np.expm1(np.maximum(bent - LINEAR_ABOVE, 0.0))
    below = -np.expm1(np.maximum(-bent, 0.0))
    return np.where(bent > LINEAR_ABOVE, above, np.where(bent < 0, below, bent))
