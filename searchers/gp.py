"""Exact Gaussian process: Matern-5/2 with one lengthscale per parameter, learned noise, analytic gradients.

Notation: n training rows, p features in g groups (one lengthscale each), m query rows;
    X (n, p) features, y (n,) targets near zero mean and unit variance, noise_scale (n,) factor on the noise variance per row,
    K = k(X, X) + noise * diag(noise_scale) = L L^T, alpha = K^-1 y.
Prior on the lengthscales: Hvarfner, Hellsten and Nardi 2024 (arXiv 2402.02229), log-normal around sqrt(d), doubled as our
coordinates span [-1, 1].
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import cast

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_solve, lapack, solve_triangular

from searchers.distributions import Array

logger = logging.getLogger(__name__)

SQRT5 = math.sqrt(5.0)
JITTERS = (1e-10, 1e-8, 1e-6, 1e-4)
LOG_LENGTH_SD = 1.0
LOG_VARIANCE_SD = 1.0
LOG_NOISE_MEAN = math.log(0.02)
LOG_NOISE_SD = 1.5
BOUNDS_LENGTH = (math.log(0.05), math.log(200.0))
BOUNDS_VARIANCE = (math.log(0.05), math.log(20.0))
BOUNDS_NOISE = (math.log(1e-5), math.log(2.0))


@dataclass(frozen=True, slots=True)
class Hyperparameters:
    """What the fit learns.

    Attributes:
        lengths: (g,) lengthscales.
        variance: of the signal.
        noise: variance of one observation's noise.
    """

    lengths: Array
    variance: float
    noise: float

    @classmethod
    def prior(cls, groups: NDArray[np.int64], noise: float = 0.02) -> Hyperparameters:
        """The prior's centre for g groups."""
        count = int(groups.max()) + 1 if groups.size else 0
        return cls(np.full(count, math.exp(_log_length_mean(count))), 1.0, noise)

    def to_vector(self) -> Array:
        """(g + 2,) logarithms."""
        return cast(Array, np.log(np.concatenate([self.lengths, [self.variance, self.noise]])))

    @classmethod
    def from_vector(cls, vector: Array) -> Hyperparameters:
        natural = np.exp(vector)
        return cls(natural[:-2], float(natural[-2]), float(natural[-1]))


def _log_length_mean(count: int) -> float:
    """Mode-like centre of the prior: about one range for a few parameters, growing with sqrt(d)."""
    return math.log(2.0) + 0.5 * math.log(max(count, 1) / 4.0)


def squared_distances(a: Array, b: Array) -> Array:
    """(n, m) squared Euclidean distances of scaled features, never negative."""
    squared = (a * a).sum(axis=1)[:, None] + (b * b).sum(axis=1)[None, :] - 2.0 * (a @ b.T)
    return cast(Array, np.maximum(squared, 0.0))


def matern(squared: Array, variance: float) -> Array:
    """k(r) = variance (1 + sqrt(5) r + 5 r^2 / 3) exp(-sqrt(5) r), given r^2."""
    r = np.sqrt(squared)
    r *= SQRT5
    value = np.exp(-r)
    value *= 1.0 + r + r * r / 3.0
    value *= variance
    return value


def kernel(a: Array, b: Array, hyper: Hyperparameters, groups: NDArray[np.int64]) -> Array:
    """(n, m) covariances between two sets of rows."""
    lengths = hyper.lengths[groups]
    return matern(squared_distances(a / lengths, b / lengths), hyper.variance)


def cholesky(matrix: Array) -> Array:
    """Lower Cholesky factor; retries with more jitter and says so.

    Raises:
        numpy.linalg.LinAlgError: not positive definite even with jitter 1e-4.
    """
    for jitter in (0.0, *JITTERS):
        try:
            return cast(Array, np.linalg.cholesky(matrix if jitter == 0.0 else matrix + jitter * np.eye(len(matrix))))
        except np.linalg.LinAlgError:
            logger.debug("covariance of %d rows is not positive definite with jitter %g", len(matrix), jitter)
    raise np.linalg.LinAlgError(f"covariance of {len(matrix)} rows is not positive definite with jitter {JITTERS[-1]}")


@dataclass(frozen=True, slots=True)
class Data:
    """Training rows.

    Attributes:
        x: (n, p) features.
        noise_scale: (n,) factor on the noise variance of each row, >= 1 for rows that are less certain.
        groups: (p,) lengthscale of each feature.
    """

    x: Array
    noise_scale: Array
    groups: NDArray[np.int64]

    def rows(self, index: NDArray[np.int64]) -> Data:
        return Data(self.x[index], self.noise_scale[index], self.groups)


def negative_log_posterior(vector: Array, data: Data, y: Array) -> tuple[float, Array]:
    """Minus log marginal likelihood minus log prior, and its gradient, at logarithms of the hyperparameters.

    The sum over pairs of A_ab (x_a - x_b)^2 is 2 (rowsum(A) . x^2 - x^T A x): all lengthscales cost one product A X.
    """
    hyper = Hyperparameters.from_vector(vector)
    scaled = data.x / hyper.lengths[data.groups]
    r = SQRT5 * np.sqrt(squared_distances(scaled, scaled))
    decay = np.exp(-r) * hyper.variance
    signal = decay * (1.0 + r + r * r / 3.0)
    covariance = signal.copy()
    covariance[np.diag_indices_from(covariance)] += hyper.noise * data.noise_scale + 1e-10
    factor = cholesky(covariance)
    alpha = cho_solve((factor, True), y)
    inverse, _ = lapack.dpotri(factor, lower=1)
    inverse = np.tril(inverse) + np.tril(inverse, -1).T
    outer = np.outer(alpha, alpha) - inverse
    value = 0.5 * float(y @ alpha) + float(np.log(np.diag(factor)).sum()) + 0.5 * len(y) * math.log(2 * math.pi)
    weights = outer * decay * (1.0 + r) * (5.0 / 3.0)
    per_feature = (weights.sum(axis=1) @ (scaled * scaled)) - np.einsum("ij,ij->j", scaled, weights @ scaled)
    gradient = np.empty_like(vector)
    gradient[:-2] = -np.bincount(data.groups, per_feature, minlength=len(hyper.lengths))
    gradient[-2] = -0.5 * float((outer * signal).sum())
    gradient[-1] = -0.5 * hyper.noise * float(np.diag(outer) @ data.noise_scale)
    prior, prior_gradient = _negative_log_prior(vector)
    return value + prior, gradient + prior_gradient


def _negative_log_prior(vector: Array) -> tuple[float, Array]:
    count = len(vector) - 2
    mean = np.concatenate([np.full(count, _log_length_mean(count)), [0.0, LOG_NOISE_MEAN]])
    spread = np.concatenate([np.full(count, LOG_LENGTH_SD), [LOG_VARIANCE_SD, LOG_NOISE_SD]])
    z = (vector - mean) / spread
    return 0.5 * float(z @ z), z / spread


def fit(data: Data, y: Array, start: Hyperparameters, max_iterations: int = 30) -> Hyperparameters:
    """Most probable hyperparameters, from a warm start; the start itself when the likelihood cannot be computed.

    Args:
        data: at least one row.
        y: (n,) targets, standardised.
        start: where the search begins.
        max_iterations: of L-BFGS.
    """
    from scipy.optimize import minimize  # half a second to import: on the first fit only

    bounds = [BOUNDS_LENGTH] * len(start.lengths) + [BOUNDS_VARIANCE, BOUNDS_NOISE]
    low, high = np.array(bounds).T
    try:
        result = minimize(
            negative_log_posterior,
            np.clip(start.to_vector(), low, high),
            args=(data, y),
            jac=True,
            method="L-BFGS-B",
            bounds=bounds,
            options={"maxiter": max_iterations, "ftol": 1e-5, "gtol": 1e-3},
        )
    except np.linalg.LinAlgError:
        logger.warning("fit of %d rows failed; keeping the last hyperparameters", len(y))
        return start
    return Hyperparameters.from_vector(result.x)


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
    def condition(cls, data: Data, hyper: Hyperparameters, trend: Callable[[Array], Array] | None = None) -> GaussianProcess:
        """The posterior from scratch, O(n^3)."""
        covariance = kernel(data.x, data.x, hyper, data.groups)
        covariance[np.diag_indices_from(covariance)] += hyper.noise * data.noise_scale + 1e-10
        return cls(hyper, data, cholesky(covariance), trend)

    def set_targets(self, y: Array) -> None:
        """Give the rows their targets (n,), O(n^2)."""
        residual = y if self.trend is None else y - self.trend(self.data.x)
        self.alpha = cho_solve((self.factor, True), residual, check_finite=False)

    def extended(self, x: Array, noise_scale: Array) -> GaussianProcess:
        """The posterior with m more rows, O(n^2 m); targets have to be set again."""
        cross = kernel(self.data.x, x, self.hyper, self.data.groups)
        below = solve_triangular(self.factor, cross, lower=True, check_finite=False).T
        corner = kernel(x, x, self.hyper, self.data.groups)
        corner[np.diag_indices_from(corner)] += self.hyper.noise * noise_scale + 1e-10
        old, new = len(self.data.x), len(x)
        factor = np.zeros((old + new, old + new))
        factor[:old, :old] = self.factor
        factor[old:, :old] = below
        factor[old:, old:] = cholesky(corner - below @ below.T)
        data = Data(np.vstack([self.data.x, x]), np.concatenate([self.data.noise_scale, noise_scale]), self.data.groups)
        return GaussianProcess(self.hyper, data, factor, self.trend)

    def believe(self, x: Array, noise_scale: Array) -> GaussianProcess:
        """The posterior as if rows `x` had come back with their predicted values: same mean everywhere, less variance nearby."""
        grown = self.extended(x, noise_scale)
        grown.alpha = np.concatenate([self.alpha, np.zeros(len(x))])
        return grown

    def informed(self, x: Array, noise_scale: Array, y: Array) -> GaussianProcess:
        """The posterior with m more rows and their targets."""
        targets = self.factor @ (self.factor.T @ self.alpha)
        if self.trend is not None:
            targets = targets + self.trend(self.data.x)
        grown = self.extended(x, noise_scale)
        grown.set_targets(np.concatenate([targets, y]))
        return grown

    def cross(self, x: Array) -> Array:
        """(n, m) covariances between training and query rows."""
        return kernel(self.data.x, x, self.hyper, self.data.groups)

    def mean(self, x: Array) -> Array:
        """(m,) posterior mean."""
        return self._with_trend(self.alpha @ self.cross(x), x)

    def mean_std(self, x: Array) -> tuple[Array, Array]:
        """(m,) posterior mean and standard deviation of the noiseless function."""
        cross = self.cross(x)
        return self._with_trend(self.alpha @ cross, x), self._std(self.whiten(cross))

    def _with_trend(self, mean: Array, x: Array) -> Array:
        return mean if self.trend is None else mean + self.trend(x)

    def whiten(self, cross: Array) -> Array:
        """(n, m) L^-1 k(X, x)."""
        return cast(Array, solve_triangular(self.factor, cross, lower=True, check_finite=False))

    def _std(self, white: Array) -> Array:
        return cast(Array, np.sqrt(np.maximum(self.hyper.variance - np.einsum("ij,ij->j", white, white), 1e-12)))

    def paired(self, x: Array, other: Array) -> tuple[Array, Array, Array]:
        """(m,) posterior covariance of x_i with other_i, and the variances of each."""
        white, white_other = self.whiten(self.cross(x)), self.whiten(self.cross(other))
        lengths = self.hyper.lengths[self.data.groups]
        prior = matern((((x - other) / lengths) ** 2).sum(axis=1), self.hyper.variance)
        covariance = prior - np.einsum("ij,ij->j", white, white_other)
        return covariance, self._std(white) ** 2, self._std(white_other) ** 2
