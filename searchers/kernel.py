"""Covariance of scores over hyperparameters and training length, and its gradient.

    k((x, t), (x', t')) = base(t, t') + a(t) a(t') [ matern(x, t; x', t') + trend q(x) . q(x') ]

* `matern` is Matern-5/2 with one lengthscale per parameter (t is one of them), `q` holds the coordinates and their
  squares over the lengthscales: most hyperparameters have one good region, and a parabola finds it with a few runs
  where a stationary kernel needs many.
* a(t) = exp(growth (t - 1)), t = 1 at the longest training: what hyperparameters change grows with training, noise does
  not. Short runs all look alike, so that they are cheap and say little; without this factor a model takes them for
  cheap and telling.
* base(t, t') is the level that all runs of one length share.

Without a training length a = 1 and base = 0.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from searchers.distributions import Array

SQRT5 = math.sqrt(5.0)  # of the Matern kernel with smoothness 5/2
LEVEL_VARIANCE = 1.0  # of the mean level: scores are standardised
LOG_LENGTH_SD = 1.0  # prior: lengthscales within a factor of e of their mean; not tuned
LOG_VARIANCE_SD = 1.0  # prior: variance within a factor of e of 1, as scores are standardised; not tuned
LOG_TREND_MEAN = 0.0  # prior: the trend explains about as much as the rest; not tuned
LOG_TREND_SD = 1.5  # wide: there are tasks without a trend and tasks with nothing else; not tuned
# Prior: what hyperparameters change grows by e over the range of lengths (a coordinate from -1 to 1); not tuned
GROWTH_MEAN = 0.5
GROWTH_SD = 0.5  # none and twice as much growth are within two deviations; not tuned
LOG_NOISE_MEAN = math.log(0.02)  # prior: 2 % of the variance is noise; the data soon say more; not tuned
LOG_NOISE_SD = 1.5  # wide: from simulators without noise to little else; not tuned
# From a twentieth of half a range to a parameter that does nothing; the matrix stays regular
BOUNDS_LENGTH = (math.log(0.05), math.log(200.0))
BOUNDS_VARIANCE = (math.log(0.05), math.log(20.0))  # a factor of 20 around 1, where it is by standardisation
BOUNDS_TREND = (math.log(1e-4), math.log(50.0))  # from no trend to nothing else
BOUNDS_GROWTH = (0.0, 2.5)  # from none to five prior means
BOUNDS_NOISE = (math.log(1e-5), math.log(2.0))  # from a simulator without noise to nothing but noise


@dataclass(frozen=True, slots=True)
class Layout:
    """What the columns of the rows are.

    Attributes:
        groups: (p,) which lengthscale each column has; g lengthscales.
        length: column of the training length t; None without one.
    """

    groups: NDArray[np.int64]
    length: int | None = None

    @property
    def num_lengths(self) -> int:
        """g, the number of lengthscales."""
        return int(self.groups.max()) + 1 if self.groups.size else 0


@dataclass(frozen=True, slots=True)
class Hyperparameters:
    """What the fit learns.

    Attributes:
        lengths: (g,) lengthscales.
        variance: of the Matern part.
        trend: variance of the trend's coefficients.
        growth: g in a(t) = exp(g (t - 1)), >= 0.
        noise: variance of one observation's noise.
    """

    lengths: Array
    variance: float
    trend: float
    growth: float
    noise: float

    @classmethod
    def prior(cls, layout: Layout, noise: float = 0.02) -> Hyperparameters:
        """The prior's centre."""
        lengths = np.full(layout.num_lengths, math.exp(log_length_mean(layout.num_lengths)))
        return cls(lengths, 1.0, math.exp(LOG_TREND_MEAN), GROWTH_MEAN if layout.length is not None else 0.0, noise)

    def to_vector(self) -> Array:
        """(g + 4,): all as logarithms but growth."""
        return np.concatenate(
            [np.log(self.lengths), [math.log(self.variance), math.log(self.trend), self.growth, math.log(self.noise)]]
        )

    @classmethod
    def from_vector(cls, vector: Array) -> Hyperparameters:
        variance, trend, noise = np.exp(vector[[-4, -3, -1]])
        return cls(np.exp(vector[:-4]), float(variance), float(trend), float(vector[-2]), float(noise))

    def as_type(self, kind: type[np.floating[Any]]) -> Hyperparameters:
        """The same with lengthscales of another precision, for rows of that precision."""
        return replace(self, lengths=self.lengths.astype(kind))

    def amplitude(self, x: Array, layout: Layout) -> Array:
        """(n,) a(t) of rows."""
        return np.ones(len(x), x.dtype) if layout.length is None else np.exp(self.growth * (x[:, layout.length] - 1.0))


def log_length_mean(count: int) -> float:
    """Centre of the lengthscales' prior: about one range for a few parameters, growing with sqrt(d).

    The growth is that of Hvarfner, Hellsten and Nardi 2024 (arXiv 2402.02229); their centre would be eight times as
    long on our [-1, 1], with a wider prior, which was not tried.
    """
    return math.log(2.0) + 0.5 * math.log(max(count, 1) / 4.0)


def squared_distances(a: Array, b: Array) -> Array:
    """(n, m) squared Euclidean distances of scaled features, never negative."""
    squared = (-2.0 * a) @ b.T
    squared += (a * a).sum(axis=1)[:, None]
    squared += (b * b).sum(axis=1)[None, :]
    return cast(Array, np.maximum(squared, 0.0, out=squared))


def matern(squared: Array, variance: float) -> Array:
    """k(r) = variance (1 + sqrt(5) r + 5 r^2 / 3) exp(-sqrt(5) r), given r^2."""
    r = np.sqrt(squared)
    r *= SQRT5
    value = r * (1.0 / 3.0)  # (r / 3 + 1) r + 1, in place: these arrays are what a suggestion spends its time on
    value += 1.0
    value *= r
    value += 1.0
    np.negative(r, out=r)
    np.exp(r, out=r)
    value *= r
    value *= variance
    return value


def basis(scaled: Array, lengths: Array) -> Array:
    """(n, 2p) q(x): coordinates and squares over lengthscales; `scaled` = x / lengths, lengths (p,)."""
    return np.concatenate([scaled, scaled * scaled * lengths], axis=1)


def kernel(a: Array, b: Array, hyper: Hyperparameters, layout: Layout) -> Array:
    """(n, m) covariances between two sets of rows."""
    lengths = hyper.lengths[layout.groups]
    scaled_a, scaled_b = a / lengths, b / lengths
    value = matern(squared_distances(scaled_a, scaled_b), hyper.variance)
    value += (hyper.trend * basis(scaled_a, lengths)) @ basis(scaled_b, lengths).T
    if layout.length is not None:
        value *= hyper.amplitude(a, layout)[:, None]
        value *= hyper.amplitude(b, layout)[None, :]
        value += LEVEL_VARIANCE * (1.0 + np.outer(a[:, layout.length], b[:, layout.length]))
    return value


def paired_kernel(a: Array, b: Array, hyper: Hyperparameters, layout: Layout) -> Array:
    """(n,) covariance of row i of `a` with row i of `b`."""
    lengths = hyper.lengths[layout.groups]
    scaled_a, scaled_b = a / lengths, b / lengths
    value = matern(((scaled_a - scaled_b) ** 2).sum(axis=1), hyper.variance)
    value += hyper.trend * (basis(scaled_a, lengths) * basis(scaled_b, lengths)).sum(axis=1)
    if layout.length is not None:
        value *= hyper.amplitude(a, layout) * hyper.amplitude(b, layout)
        value += LEVEL_VARIANCE * (1.0 + a[:, layout.length] * b[:, layout.length])
    return value


def prior_variance(x: Array, hyper: Hyperparameters, layout: Layout) -> Array:
    """(n,) variance of each row before anything is known."""
    return paired_kernel(x, x, hyper, layout)


def signal_and_gradient(x: Array, hyper: Hyperparameters, layout: Layout) -> tuple[Array, SignalGradient]:
    """(n, n) covariance of rows without noise, and what its gradient needs."""
    lengths = hyper.lengths[layout.groups]
    scaled = x / lengths
    r = SQRT5 * np.sqrt(squared_distances(scaled, scaled))
    decay = np.exp(-r) * hyper.variance
    stationary = decay * (1.0 + r + r * r / 3.0)
    features = basis(scaled, lengths)
    scale = hyper.amplitude(x, layout)
    outer_scale = np.outer(scale, scale)
    growing = (stationary + hyper.trend * (features @ features.T)) * outer_scale
    signal = growing.copy()
    if layout.length is not None:
        signal += LEVEL_VARIANCE * (1.0 + np.outer(x[:, layout.length], x[:, layout.length]))
    return signal, SignalGradient(
        x,
        layout,
        hyper,
        scaled,
        stationary * outer_scale,
        decay * (1.0 + r) * outer_scale,
        features * scale[:, None],
        growing,
    )


@dataclass(frozen=True, slots=True)
class SignalGradient:
    """Gradient of sum(W * signal) for a weight matrix W, in the order of `Hyperparameters.to_vector` without noise."""

    x: Array
    layout: Layout
    hyper: Hyperparameters
    scaled: Array
    stationary: Array
    slope: Array
    features: Array
    growing: Array

    def of(self, weights: Array) -> Array:
        """(g + 3,) for a symmetric W (n, n).

        The sum over pairs of A_ab (x_a - x_b)^2 is 2 (rowsum(A) . x^2 - x^T A x): all lengthscales cost one product A
        X.
        """
        pulled = weights * self.slope * (5.0 / 3.0)
        per_feature = pulled.sum(axis=1) @ (self.scaled * self.scaled) - np.einsum(
            "ij,ij->j", self.scaled, pulled @ self.scaled
        )
        explained = self.hyper.trend * np.einsum("ij,ij->j", self.features, weights @ self.features)
        count = len(self.layout.groups)
        gradient = np.zeros(len(self.hyper.lengths) + 3)
        gradient[:-3] = 2.0 * np.bincount(
            self.layout.groups, per_feature - explained[:count] - explained[count:], minlength=len(self.hyper.lengths)
        )
        gradient[-3] = float((weights * self.stationary).sum())
        gradient[-2] = float(explained.sum())
        if self.layout.length is not None:
            gradient[-1] = 2.0 * float((self.x[:, self.layout.length] - 1.0) @ (weights * self.growing).sum(axis=1))
        return gradient


def negative_log_prior(vector: Array, layout: Layout) -> tuple[float, Array]:
    """Minus the log density (up to a constant) of `Hyperparameters.to_vector`, and its gradient."""
    count = layout.num_lengths
    growth = GROWTH_MEAN if layout.length is not None else 0.0
    mean = np.concatenate([np.full(count, log_length_mean(count)), [0.0, LOG_TREND_MEAN, growth, LOG_NOISE_MEAN]])
    spread = np.concatenate([np.full(count, LOG_LENGTH_SD), [LOG_VARIANCE_SD, LOG_TREND_SD, GROWTH_SD, LOG_NOISE_SD]])
    z = (vector - mean) / spread
    return 0.5 * float(z @ z), z / spread


def bounds(layout: Layout) -> list[tuple[float, float]]:
    """Of each entry of `Hyperparameters.to_vector`."""
    growth = BOUNDS_GROWTH if layout.length is not None else (0.0, 0.0)
    return [BOUNDS_LENGTH] * layout.num_lengths + [BOUNDS_VARIANCE, BOUNDS_TREND, growth, BOUNDS_NOISE]
