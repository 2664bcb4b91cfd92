"""Earlier sweeps as a prior mean: they help while they rank the new runs well, and fade as soon as they do not.

Source: the rank weighting of RGPE (Feurer, Letham, Hutter and Bakshy 2018, arXiv 1802.02219), reduced to one weight per
earlier sweep: Kendall's tau between its predictions and the new scores.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from searchers.distributions import Array

TRUST = 0.7  # before the new sweep has scores, earlier ones count for so much; not tuned
TRUST_RUNS = 3.0  # as many new runs weigh as much as that first trust; not tuned


class Earlier(Protocol):
    """What an earlier sweep taught, in terms of the new sweep's rows and points."""

    @property
    def name(self) -> str:
        """Of the sweep, for people."""

    def mean(self, rows: Array) -> Array:
        """(m,) predicted score of rows (m, p), in the earlier sweep's z."""

    def points(self) -> Array:
        """(k, d) what it ran, the best first."""


@dataclass(frozen=True)
class Trend:
    """Weighted mean of earlier sweeps' predictions, in their own z.

    Attributes:
        models: what each earlier sweep taught.
        weights: one per model, >= 0, sum at most 1.
    """

    models: tuple[Earlier, ...]
    weights: tuple[float, ...]

    @classmethod
    def fresh(cls, models: tuple[Earlier, ...]) -> Trend:
        """Before the new sweep has a score: every earlier sweep is trusted a little less than fully."""
        return cls(models, tuple(TRUST / len(models) for _ in models))

    def __call__(self, rows: Array) -> Array:
        """(m,) prior mean at rows (m, p)."""
        total = np.zeros(len(rows))
        for model, weight in zip(self.models, self.weights, strict=True):
            total += weight * model.mean(rows)
        return total

    def reweighted(self, rows: Array, z: Array) -> Trend:
        """Weights by how well each model ranks what the new sweep found.

        Args:
            rows: (n, p) runs of the new sweep.
            z: (n,) their scores.
        """
        agreement = [
            (TRUST_RUNS * TRUST + len(z) * max(0.0, kendall(model.mean(rows), z))) / (TRUST_RUNS + len(z))
            for model in self.models
        ]
        return Trend(self.models, tuple(value / len(self.models) for value in agreement))


def kendall(a: Array, b: Array) -> float:
    """Kendall's tau of two rankings (n,): pairs in the same order minus pairs in opposite order, over all pairs; 0 for
    n < 2.
    """
    upper = np.triu_indices(len(a), k=1)
    if not len(upper[0]):
        return 0.0
    products = np.sign(np.subtract.outer(a, a)[upper]) * np.sign(np.subtract.outer(b, b)[upper])
    return float(products.mean())
