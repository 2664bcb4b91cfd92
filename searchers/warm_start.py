"""Earlier sweeps as a prior mean, and as the first points to run.

    score = level + sum_i weight_i mean_i(x) + what a Gaussian process adds

The weights are coefficients with a prior, as the level is: their posterior mode under the process's own covariance. So
an earlier sweep counts for what its predictions explain of the new scores, beside the others and beside what the
process would explain without it; one that explains nothing falls to 0, one that is contrary below, which tells as
much.

Source: Rasmussen and Williams 2006, Gaussian Processes for Machine Learning, section 2.7 (explicit basis functions).
The rank weights of RGPE (Feurer, Letham, Hutter and Bakshy 2018, arXiv 1802.02219) came before; they fall slowly, as a
ranking of few runs says little.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, cast

import numpy as np
from scipy.linalg import cho_solve

from searchers.distributions import Array
from searchers.gp import Data, cholesky, observed
from searchers.kernel import Hyperparameters

TRUST = 0.7  # prior mean of all weights together: siblings rank alike, but not as a repeat would; not tuned
WEIGHT_SD = 0.7  # prior: wide, so that some ten runs say more than it; not tuned
PRICE = 0.5  # how much the cost of a recommended point counts: the root, of 0, 0.5 and 1 the best
LEVEL_SD = 1.0  # prior of the level: scores are standardised


class Earlier(Protocol):
    """What an earlier sweep taught, in terms of the new sweep's rows and points."""

    @property
    def name(self) -> str:
        """Of the sweep, for people."""

    def mean(self, rows: Array) -> Array:
        """(m,) predicted score of rows (m, p), in the earlier sweep's z."""

    def success(self, rows: Array) -> Array:
        """(m,) probability that a run at rows (m, p) does not fail."""

    def log_cost(self, rows: Array) -> Array:
        """(m,) predicted log cost, in the earlier sweep's unit."""

    def points(self) -> Array:
        """(k, d) what it ran, the best first."""


@dataclass(frozen=True)
class Trend:
    """A level and a weighted sum of earlier sweeps' predictions, in their own z.

    Attributes:
        models: what each earlier sweep taught.
        weights: one per model.
        level: what is added, z.
    """

    models: tuple[Earlier, ...]
    weights: tuple[float, ...]
    level: float = 0.0

    @classmethod
    def fresh(cls, models: tuple[Earlier, ...]) -> Trend:
        """Before the new sweep has a score."""
        return cls(models, tuple(TRUST / len(models) for _ in models))

    def __call__(self, rows: Array) -> Array:
        """(m,) prior mean at rows (m, p)."""
        return cast(Array, self._columns(rows) @ np.array([self.level, *self.weights]))

    def reweighted(self, data: Data, z: Array, hyper: Hyperparameters) -> Trend:
        """Level and weights as the new sweep's scores (n,) say.

        Raises:
            numpy.linalg.LinAlgError: the covariance cannot be factorised.
        """
        columns = self._columns(data.x)
        factor = cholesky(observed(data.x, data.noise, hyper, data.layout))
        prior = np.array([0.0, *Trend.fresh(self.models).weights])
        precision = np.diag([LEVEL_SD**-2, *(WEIGHT_SD**-2 for _ in self.models)])
        solved = cho_solve((factor, True), columns)
        found = np.linalg.solve(columns.T @ solved + precision, solved.T @ z + precision @ prior)
        # Rounded, so that what moves the last bits of scores moves no suggestion.
        level, *weights = np.round(found, 9).tolist()
        return Trend(self.models, tuple(weights), level)

    def _columns(self, rows: Array) -> Array:
        """(m, 1 + k)."""
        return np.column_stack([np.ones(len(rows)), *(model.mean(rows) for model in self.models)])


def portfolio(values: Array, log_costs: Array, base: Array, count: int) -> list[int]:
    """Points of which for each sweep one is good, at a low price: greedily the largest mean gain over sweeps for the
    root of the cost, as long as there is any gain.

    Args:
        values: (k, n) what each of k sweeps expects of each of n points.
        log_costs: (n,) of the points.
        base: (k,) what is expected without any of them.
        count: how many points, at most.
    """
    chosen: list[int] = []
    best = base.copy()
    while len(chosen) < count:
        gain = np.maximum(values - best[:, None], 0.0).mean(axis=0)
        if gain.max(initial=0.0) <= 0.0:
            break
        with np.errstate(divide="ignore"):
            chosen.append(int(np.argmax(np.log(gain) - PRICE * log_costs)))
        best = np.maximum(best, values[:, chosen[-1]])
    return chosen
