"""Cost of a run: what physics says (overhead plus steps times a rate), with a GP on what is left.

log cost = log(overhead + exp(beta . features)) + residual. The coefficient of log steps has prior mean 1 (twice the
steps, twice the time); the others start at 0. Outliers are squashed and predictions clipped in log space, around the
median cost, so that nothing overflows and one broken clock misleads nobody.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import cast

import numpy as np
from numpy.typing import NDArray

from searchers.distributions import Array
from searchers.features import LOG_RANGE, Features
from searchers.gp import Data, GaussianProcess, fit
from searchers.kernel import Hyperparameters
from searchers.noise import Noise
from searchers.outliers import squash
from searchers.surrogate import is_refit_due, representative

MAX_ROWS = 400  # bounds the factorisation, for a cost surface is simple; a round number, not tuned
# Hyperparameters are fitted on so many: each step of the fit factorises once; a round number, not tuned
COST_FIT_ROWS = 150
RESIDUALS_FROM = 8  # with fewer runs a straight line in log cost says all that can be known; not tuned
# Start-up as a share of the cheapest run: a coarse grid, for the regression takes up the rest; not tuned
OVERHEADS = (0.0, 0.2, 0.4, 0.6, 0.75, 0.9)
COEFFICIENT_SD = 1.0  # prior: over half its range a parameter changes cost by a factor of about e; not tuned
LENGTH_COEFFICIENT_SD = 0.2  # prior: cost is nearly proportional to training length; not tuned
NOISE_SD = 0.2  # prior: costs of one point differ by some 20 % on a machine that others use; not tuned
LOG_CLIP = 60.0  # a prediction within a factor of e^60 of the median: its exponential and its square stay floats
# Log of how many times the median cost a run may cost before it counts as an outlier.
LARGEST_RATIO = math.log(1e7)


@dataclass
class CostModel:
    """Predicts log cost at candidate rows.

    Attributes:
        features: rows; the last column (share of the run) is ignored.
    """

    features: Features
    _rows: list[Array] = field(default_factory=list)
    _log_costs: list[float] = field(default_factory=list)
    _middle: float = 0.0
    _beta: Array | None = None
    _log_overhead: float = -math.inf
    _gp: GaussianProcess | None = None
    _hyper: Hyperparameters | None = None
    _residual_sd: float = 0.5

    @property
    def is_ready(self) -> bool:
        """Whether there is an observation to predict from."""
        return self._beta is not None

    def observe(self, row: Array, cost: float) -> None:
        """Learn the cost (> 0) of one run with features `row` (p,)."""
        self.observe_all([(row, cost)])

    def observe_all(self, runs: Sequence[tuple[Array, float]]) -> None:
        """Learn the costs of several runs (at least one) at once."""
        for row, cost in runs:
            self._rows.append(row)
            # Rounded so that another unit of cost, which moves the last bits, changes no suggestion.
            self._log_costs.append(float(np.log(cost)))
        used = representative(np.zeros(len(self._rows)), MAX_ROWS)
        rows, target = np.array(self._rows)[used], np.array(self._log_costs)[used]
        self._middle = float(np.median(target))
        target = squash(target, LARGEST_RATIO, self._middle)
        self._fit_parametric(rows, target)
        residual = target - self._parametric(rows)
        # Shrunk towards 0.3 while there are few runs.
        self._residual_sd = float(np.sqrt((np.sum(residual**2) + 2 * 0.3**2) / (len(residual) + 2)))
        if len(used) >= RESIDUALS_FROM:
            self._fit_residual(rows, residual)

    def copy(self) -> CostModel:
        """An independent model with the same history."""
        return copy.deepcopy(self)

    def predict(self, rows: Array) -> tuple[Array, Array]:
        """(m,) mean and standard deviation of log cost.

        Raises:
            RuntimeError: nothing was observed yet; ask `is_ready` first.
        """
        if self._beta is None:
            raise RuntimeError("cost model: nothing observed yet")
        mean = self._parametric(rows)
        if self._gp is None:
            spread = np.full(len(rows), self._residual_sd)
        else:
            residual, std = self._gp.mean_std(rows)
            mean = mean + self._residual_sd * residual
            spread = self._residual_sd * np.sqrt(std**2 + self._gp.hyper.noise)
        return self._clipped(mean), spread

    def mean(self, rows: Array) -> Array:
        """(m,) mean of log cost; a good deal cheaper than `predict`."""
        mean = self._parametric(rows)
        if self._gp is not None:
            mean = mean + self._residual_sd * self._gp.mean(rows)
        return self._clipped(mean)

    def _clipped(self, log_cost: Array) -> Array:
        return np.clip(log_cost, self._middle - LOG_CLIP, self._middle + LOG_CLIP)

    def _fit_parametric(self, rows: Array, target: Array) -> None:
        """Overhead by grid, the rest by ridge regression; the best in log space wins."""
        best = math.inf
        cheapest = float(target.min())
        for fraction in (
            OVERHEADS if len(target) >= RESIDUALS_FROM and self.features.length_index is not None else (0.0,)
        ):
            log_overhead = cheapest + math.log(fraction) if fraction else -math.inf
            rate = target + np.log1p(-np.exp(np.minimum(log_overhead - target, -1e-3)))
            beta, penalty = self._ridge(rows, rate)
            error = target - np.logaddexp(log_overhead, self._design(rows) @ beta)
            loss = float(np.sum(error**2)) / NOISE_SD**2 + penalty
            if loss < best:
                best, self._beta, self._log_overhead = loss, beta, log_overhead

    def _design(self, rows: Array) -> Array:
        return np.column_stack([np.ones(len(rows)), rows])

    def _ridge(self, rows: Array, target: Array) -> tuple[Array, float]:
        """Posterior mean of the coefficients and how far they are from the prior."""
        design = self._design(rows)
        prior = np.zeros(design.shape[1])
        spread = np.full(design.shape[1], COEFFICIENT_SD)
        spread[0] = 1e3
        if self.features.length_index is not None and self.features.length_column is not None:
            prior[1 + self.features.length_column] = LOG_RANGE / 2.0
            spread[1 + self.features.length_column] = LENGTH_COEFFICIENT_SD
        center = float(target.mean())
        precision = design.T @ design / NOISE_SD**2 + np.diag(spread**-2)
        beta = prior + np.linalg.solve(precision, design.T @ (target - center - design @ prior) / NOISE_SD**2)
        penalty = float(np.sum(((beta - prior) / spread)[1:] ** 2))
        beta[0] += center
        return beta, penalty

    def _parametric(self, rows: Array) -> Array:
        assert self._beta is not None
        rate = self._clipped(self._design(rows) @ self._beta)
        return cast(Array, np.round(np.logaddexp(self._log_overhead, rate), 9))

    def _fit_residual(self, rows: Array, residual: Array) -> None:
        data = Data(rows, Noise.independent(len(rows)), self.features.stationary_layout)
        target = residual / self._residual_sd
        start = self._hyper or Hyperparameters.prior(self.features.stationary_layout, noise=0.1)
        if self._hyper is None or is_refit_due(len(self._rows)):
            subset: NDArray[np.int64] = representative(np.zeros(len(target)), COST_FIT_ROWS)
            self._hyper = fit(data.rows(subset), target[subset], start, max_iterations=15)
        self._gp = GaussianProcess.condition(data, self._hyper or start)
        self._gp.set_targets(target)
