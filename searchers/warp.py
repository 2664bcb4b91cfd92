"""Output transform: robust to outliers and heavy tails, unmoved by shift and scale, monotone and invertible."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import numpy as np

from searchers.distributions import Array
from searchers.outliers import squash

LINEAR_ABOVE = 3.0  # spreads: scores are left as they are up to here; of normal ones few lie beyond; not tuned
# Bent values beyond these are outliers: 1e13 spreads above the median; 3e6 below it, where distances count for less.
LARGEST_BENT = 30.0
LOWEST_BENT = 15.0  # half of it
# Spreads below this share of the median are rounding errors.
RESOLUTION = 1e-12
FARTHEST = 1e200  # spreads: keeps what follows finite
STEEPEST = 1e150  # z per score: keeps its product with the largest score finite


@dataclass(frozen=True, slots=True)
class Warp:
    """score -> z: linear from the median up to three spreads above it, logarithmic beyond, and below the median.

    Bad scores lose their distances (a run that is hopeless is no more informative for being ten times as hopeless), and
    one spectacular score cannot flatten the rest; outliers are bent once more. The result is standardised.

    Attributes:
        median: of the scores that it was made from.
        spread: distance from the median to the upper quartile tail; of all scores when there is none.
        mean: of the bent values.
        deviation: of the bent values; 1 when they are equal.
    """

    median: float
    spread: float
    mean: float
    deviation: float

    @classmethod
    def of(cls, scores: Array, others: Array | None = None) -> Warp:
        """The warp of a set of scores, larger is better.

        Args:
            scores: (n,) of ended runs, n >= 1.
            others: (m,) of learning curves, which give the unit while all scores are equal.
        """
        median, upper = np.quantile(scores, [0.5, 0.9])
        resolution = RESOLUTION * abs(float(median))
        spread = upper - median
        if spread <= resolution:
            spread = np.abs(scores - median).max()
        if spread <= resolution and others is not None and len(others):
            spread = np.abs(others - median).max()
        if spread <= resolution:
            spread = abs(float(median)) or 1.0
        bent = _bend(_standardised(scores, median, spread))
        deviation = float(bent.std())
        return cls(float(median), float(spread), float(bent.mean()), deviation if deviation > 1e-9 else 1.0)

    def forward(self, scores: Array) -> Array:
        """Scores -> z, elementwise. Rounded: shifted scores differ in their last bits, suggestions must not."""
        z = (_bend(_standardised(scores, self.median, self.spread)) - self.mean) / self.deviation
        return cast(Array, np.round(z, 9))

    def slope(self, scores: Array) -> Array:
        """dz / dscore, elementwise: what becomes of a small error of a score."""
        t = _standardised(scores, self.median, self.spread)
        bend = np.where(
            t > LINEAR_ABOVE, 1.0 / (1.0 + np.maximum(t - LINEAR_ABOVE, 0.0)), 1.0 / (1.0 + np.maximum(-t, 0.0))
        )
        with np.errstate(over="ignore"):  # scores that differ by next to nothing: as steep as floats reach
            return cast(Array, np.minimum(bend / (self.spread * self.deviation), STEEPEST))

    def inverse(self, z: Array) -> Array:
        """z -> scores, elementwise; outliers come back nearer than they were."""
        return _unbend(np.clip(z * self.deviation + self.mean, -LARGEST_BENT, LARGEST_BENT)) * self.spread + self.median


def _standardised(scores: Array, median: float, spread: float) -> Array:
    """Distances from the median in spreads; what overflows is as far as floats reach."""
    with np.errstate(over="ignore"):
        return np.clip((scores - median) / spread, -FARTHEST, FARTHEST)


def _bend(t: Array) -> Array:
    above = LINEAR_ABOVE + np.log1p(np.maximum(t - LINEAR_ABOVE, 0.0))
    below = -np.log1p(np.maximum(-t, 0.0))
    return np.where(t > LINEAR_ABOVE, squash(above, LARGEST_BENT), np.where(t < 0, squash(below, LOWEST_BENT), t))


def _unbend(bent: Array) -> Array:
    above = LINEAR_ABOVE + np.expm1(np.maximum(bent - LINEAR_ABOVE, 0.0))
    below = -np.expm1(np.maximum(-bent, 0.0))
    return np.where(bent > LINEAR_ABOVE, above, np.where(bent < 0, below, bent))
