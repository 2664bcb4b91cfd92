"""Exact Gaussian process with learned noise and analytic gradients; the covariance is in `kernel.py`.

Notation: n training rows, p features in g groups (one lengthscale each), m query rows;
    X (n, p) features, y (n,) targets near zero mean and unit variance, N (n, n) noise covariance in units of the noise
    variance, V their known variances, K = k(X, X) + noise * N + diag(V) = L L^T, alpha = K^-1 y.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import cast

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_solve, lapack, solve_triangular

from searchers.distributions import Array
from searchers.kernel import (
    Hyperparameters,
    Layout,
    bounds,
    kernel,
    negative_log_prior,
    paired_kernel,
    prior_variance,
    signal_and_gradient,
)
from searchers.noise import Noise

logger = logging.getLogger(__name__)

# Added to the diagonal until the factorisation holds, the least that does: from rounding up to a little noise
JITTERS = (1e-10, 1e-8, 1e-6, 1e-4)
# Shares of the largest variance: rows far outside the space have variances beside which an absolute jitter is no digit.
RELATIVE_JITTERS = (1e-12, 1e-10, 1e-8)


def cholesky(matrix: Array, relative: Sequence[float] = ()) -> Array:
    """Lower Cholesky factor; retries with more jitter and says so.

    Args:
        matrix: (n, n) symmetric.
        relative: shares of the largest variance to try when no jitter of `JITTERS` is enough.

    Raises:
        numpy.linalg.LinAlgError: not positive definite even with the last jitter.
    """
    jitters = (*JITTERS, *(share * float(np.diag(matrix).max()) for share in relative))
    for jitter in (0.0, *jitters):
        try:
            return cast(Array, np.linalg.cholesky(matrix if jitter == 0.0 else matrix + jitter * np.eye(len(matrix))))
        except np.linalg.LinAlgError:
            logger.debug("covariance of %d rows is not positive definite with jitter %g", len(matrix), jitter)
    raise np.linalg.LinAlgError(
        f"covariance of {len(matrix)} rows is not positive definite with jitter {jitters[-1]:g}"
    )


@dataclass(frozen=True, slots=True)
class Data:
    """Training rows.

    Attributes:
        x: (n, p) features.
        noise: of the rows.
        layout: what the columns are.
    """

    x: Array
    noise: Noise
    layout: Layout

    def rows(self, index: NDArray[np.int64]) -> Data:
        return Data(self.x[index], self.noise.rows(index), self.layout)


def observed(x: Array, noise: Noise, hyper: Hyperparameters, layout: Layout) -> Array:
    """(n, n) covariance of noisy observations at rows x."""
    covariance = kernel(x, x, hyper, layout)
    covariance += hyper.noise * noise.covariance()
    covariance[np.diag_indices_from(covariance)] += noise.known + 1e-10
    return covariance


def negative_log_posterior(vector: Array, data: Data, y: Array) -> tuple[float, Array]:
    """Minus log marginal likelihood minus log prior, and its gradient, at `Hyperparameters.to_vector`."""
    hyper = Hyperparameters.from_vector(vector)
    covariance, signal_gradient = signal_and_gradient(data.x, hyper, data.layout)
    noise = hyper.noise * data.noise.covariance()
    factor = cholesky(covariance + noise + np.diag(data.noise.known + 1e-10))
    alpha = cho_solve((factor, True), y)
    inverse, _ = lapack.dpotri(factor, lower=1)
    inverse = np.tril(inverse) + np.tril(inverse, -1).T
    weights = np.outer(alpha, alpha) - inverse
    value = 0.5 * float(y @ alpha) + float(np.log(np.diag(factor)).sum()) + 0.5 * len(y) * math.log(2 * math.pi)
    noise_gradient = float((weights * noise).sum())
    gradient = -0.5 * np.append(signal_gradient.of(weights), noise_gradient)
    prior, prior_gradient = negative_log_prior(vector, data.layout)
    return value + prior, gradient + prior_gradient


def fit(data: Data, y: Array, start: Hyperparameters, max_iterations: int = 30) -> Hyperparameters:
    """Most probable hyperparameters, from a warm start; the start itself when the likelihood cannot be computed.

    Args:
        data: at least one row.
        y: (n,) targets, standardised.
        start: where the search begins.
        max_iterations: of L-BFGS.
    """
    from scipy.optimize import minimize  # half a second to import: on the first fit only

    limits = bounds(data.layout)
    low, high = np.array(limits).T
    try:
        result = minimize(
            negative_log_posterior,
            np.clip(start.to_vector(), low, high),
            args=(data, y),
            jac=True,
            method="L-BFGS-B",
            bounds=limits,
            options={"maxiter": max_iterations, "ftol": 1e-5, "gtol": 1e-3},
        )
    except np.linalg.LinAlgError:
        logger.warning("fit of %d rows failed; keeping the last hyperparameters", len(y))
        return start
    return Hyperparameters.from_vector(result.x)


@dataclass(frozen=True, slots=True)
class Paired:
    """Posterior of pairs of rows; all (m,).

    Attributes:
        mean: of the first.
        other_mean: of the second.
        variance: of the first, without noise.
        covariance: between them.
    """

    mean: Array
    other_mean: Array
    variance: Array
    covariance: Array


@dataclass(slots=True)
class GaussianProcess:
    """Posterior given rows; grows row by row without a new factorisation.

    Attributes:
        hyper: hyperparameters.
        data: training rows.
        factor: (n, n) lower Cholesky factor of K.
        alpha: (n,) K^-1 (y - trend), set by `set_targets`.
        trend: prior mean, rows -> (m,); None = 0.
    """

    hyper: Hyperparameters
    data: Data
    factor: Array
    trend: Callable[[Array], Array] | None = None
    alpha: Array = field(init=False)

    @classmethod
    def condition(
        cls, data: Data, hyper: Hyperparameters, trend: Callable[[Array], Array] | None = None
    ) -> GaussianProcess:
        """The posterior from scratch, O(n^3)."""
        return cls(hyper, data, cholesky(observed(data.x, data.noise, hyper, data.layout), RELATIVE_JITTERS), trend)

    def set_targets(self, y: Array) -> None:
        """Give the rows their targets (n,), O(n^2)."""
        residual = y if self.trend is None else y - self.trend(self.data.x)
        self.alpha = cho_solve((self.factor, True), residual, check_finite=False)

    def extended(self, x: Array, noise: Noise) -> GaussianProcess:
        """The posterior with m more rows, of other runs, O(n^2 m); targets have to be set again."""
        cross = kernel(self.data.x, x, self.hyper, self.data.layout)
        below = solve_triangular(self.factor, cross, lower=True, check_finite=False).T
        corner = observed(x, noise, self.hyper, self.data.layout)
        old, new = len(self.data.x), len(x)
        factor = np.zeros((old + new, old + new))
        factor[:old, :old] = self.factor
        factor[old:, :old] = below
        factor[old:, old:] = cholesky(corner - below @ below.T)
        data = Data(np.vstack([self.data.x, x]), self.data.noise.joined(noise), self.data.layout)
        return GaussianProcess(self.hyper, data, factor, self.trend)

    def grown(self, x: Array, noise: Noise) -> GaussianProcess:
        """Like `extended`; from scratch when rounding errors have made the new rows look known already."""
        try:
            return self.extended(x, noise)
        except np.linalg.LinAlgError:
            data = Data(np.vstack([self.data.x, x]), self.data.noise.joined(noise), self.data.layout)
            return GaussianProcess.condition(data, self.hyper, self.trend)

    def believe(self, x: Array) -> GaussianProcess:
        """The posterior as if finished runs `x` had come back with their predicted values: same mean everywhere, less
        variance nearby.
        """
        grown = self.extended(x, Noise.independent(len(x), self.data.noise.typical))
        grown.alpha = np.concatenate([self.alpha, np.zeros(len(x))])
        return grown

    def informed(self, x: Array, noise: Noise, y: Array) -> GaussianProcess:
        """The posterior with m more rows and their targets."""
        targets = self.factor @ (self.factor.T @ self.alpha)
        if self.trend is not None:
            targets = targets + self.trend(self.data.x)
        grown = self.extended(x, noise)
        grown.set_targets(np.concatenate([targets, y]))
        return grown

    @property
    def run_noise(self) -> float:
        """Variance of the score of one more finished run: what seeds add, and what its evaluation is likely to."""
        return self.hyper.noise + self.data.noise.typical

    def cross(self, x: Array) -> Array:
        """(n, m) covariances between training and query rows."""
        return kernel(self.data.x, x, self.hyper, self.data.layout)

    def mean(self, x: Array) -> Array:
        """(m,) posterior mean."""
        return self._with_trend(self.alpha @ self.cross(x), x)

    def rough_mean(self, x: Array) -> Array:
        """(m,) posterior mean in single precision: enough to leave out hopeless candidates, at half the time."""
        single = np.float32
        cross = kernel(self.data.x.astype(single), x.astype(single), self.hyper.as_type(single), self.data.layout)
        return self._with_trend((self.alpha.astype(single) @ cross).astype(np.float64), x)

    def mean_std(self, x: Array) -> tuple[Array, Array]:
        """(m,) posterior mean and standard deviation of the noiseless function."""
        cross = self.cross(x)
        return self._with_trend(self.alpha @ cross, x), self._std(self.whiten(cross), x)

    def _with_trend(self, mean: Array, x: Array) -> Array:
        return mean if self.trend is None else mean + self.trend(x)

    def whiten(self, cross: Array) -> Array:
        """(n, m) L^-1 k(X, x)."""
        return cast(Array, solve_triangular(self.factor, cross, lower=True, check_finite=False))

    def _std(self, white: Array, x: Array) -> Array:
        prior = prior_variance(x, self.hyper, self.data.layout)
        return cast(Array, np.sqrt(np.maximum(prior - np.einsum("ij,ij->j", white, white), 1e-12)))

    def paired(self, x: Array, other: Array) -> Paired:
        """Posterior of x_i and other_i together, for rows x and other (m, p)."""
        cross = self.cross(x)
        white = self.whiten(cross)
        mean, variance = self._with_trend(self.alpha @ cross, x), self._std(white, x) ** 2
        if x is other:
            return Paired(mean, mean, variance, variance)
        cross_other = self.cross(other)
        # k(x, other) - w_x . w_other needs L^-1 of one side only: w_x . w_other = (L^-T w_x) . k(X, other).
        back = solve_triangular(self.factor, white, lower=True, trans="T", check_finite=False)
        prior = paired_kernel(x, other, self.hyper, self.data.layout)
        covariance = prior - np.einsum("ij,ij->j", back, cross_other)
        return Paired(mean, self._with_trend(self.alpha @ cross_other, other), variance, covariance)
