"""Rating of candidates: pure functions of predictions.

Larger is better; what may not be picked is -inf, never a small number.
"""

from __future__ import annotations

from typing import cast

import numpy as np
from numpy.typing import NDArray
from scipy.special import erfcx, log_ndtr, ndtr

from searchers.distributions import Array
from searchers.errors import NoAffordableCandidate

LOG_SQRT_2PI = 0.5 * np.log(2 * np.pi)  # of the normal density
SQRT_PI_OVER_2 = np.sqrt(np.pi / 2)  # of Mills' ratio, by which the log form goes on where the plain one underflows


def expected_improvement(mean: Array, std: Array, best: Array | float) -> Array:
    """EI(x) = std * (u * Phi(u) + phi(u)), u = (mean - best) / std, for a Gaussian posterior; larger is better.

    Args:
        mean: (n,) posterior mean.
        std: (n,) posterior standard deviation, > 0.
        best: what is to be improved on, a number or (n,).

    Returns:
        (n,) expected improvement, >= 0. Underflows for u below -38.5; rank with `log_expected_improvement`.

    Source: Jones, Schonlau and Welch 1998, J. Global Optimization 13, 455-492.
    """
    u = (mean - best) / std
    return cast(Array, std * (u * ndtr(u) + np.exp(-0.5 * u * u - LOG_SQRT_2PI)))


def log_expected_improvement(mean: Array, std: Array, best: Array | float) -> Array:
    """log EI, exact far below the point where EI underflows.

    For u < -1: log(phi(u) + u Phi(u)) = log phi(u) + log(1 - |u| sqrt(pi/2) erfcx(|u| / sqrt 2)); below -1e3 by its
    expansion 1/u^2.

    Source: Ament et al. 2023, arXiv 2310.20708.
    """
    u = (mean - best) / std
    safe = np.clip(u, -1e3, None)
    upper = np.log(np.maximum(safe * ndtr(safe) + np.exp(-0.5 * safe * safe - LOG_SQRT_2PI), 1e-300))
    magnitude = np.maximum(-safe, 1.0)
    tail = 1.0 - magnitude * SQRT_PI_OVER_2 * erfcx(magnitude / np.sqrt(2.0))
    lower = (
        -0.5 * u * u
        - LOG_SQRT_2PI
        + np.where(u < -50.0, -2.0 * np.log(np.maximum(-u, 1.0)), np.log(np.maximum(tail, 1e-300)))
    )
    return cast(Array, np.log(std) + np.where(u < -1.0, lower, upper))


def naive_rating(
    mean: Array, log_cost: Array, target: float, bounds: tuple[float, float], seen: tuple[float, float]
) -> Array:
    """The original Protein rule: scaled mean score times closeness of the predicted cost to a random target.

    Args:
        mean: (n,) predicted score.
        log_cost: (n,) predicted log cost.
        target: cost target on [0, 1 + expansion_rate] of the seen log-cost range.
        bounds: smallest and largest log cost seen.
        seen: smallest and largest score seen.
    """
    scaled_cost = (log_cost - bounds[0]) / max(bounds[1] - bounds[0], 1e-9)
    scaled_score = (mean - seen[0]) / max(seen[1] - seen[0], 1e-9)
    return scaled_score * (1.0 - np.abs(target - scaled_cost))


def log_probability_above(mean: Array, std: Array, threshold: float) -> Array:
    """(n,) log P(score >= threshold)."""
    return log_ndtr((mean - threshold) / std)


def front_values(front_log_costs: Array, front_means: Array, log_cost: Array, floor: float) -> Array:
    """Best score already known at each cost: the front as a step function.

    Args:
        front_log_costs: (k,) increasing.
        front_means: (k,) increasing.
        log_cost: (n,) where to read it.
        floor: value below the cheapest point of the front.
    """
    position = np.searchsorted(front_log_costs, log_cost, side="right")
    return np.concatenate([[floor], front_means])[position]


def pick(acquisition: Array, affordable: NDArray[np.bool_]) -> int:
    """Index of the best candidate whose predicted cost fits `max_suggestion_cost`; both arrays are (n,).

    Raises:
        NoAffordableCandidate: none fits.
    """
    if not affordable.any():
        raise NoAffordableCandidate(
            f"0 of {affordable.size} candidates fit; raise max_suggestion_cost or lower the max of the parameters "
            "that drive cost"
        )
    # -inf and not a product with the mask: a product gives rejected points 0, which beats negative scores.
    return int(np.argmax(np.where(affordable, acquisition, -np.inf)))
