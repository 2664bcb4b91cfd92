"""Where to look: the initial design, global and local candidates. All points are feasible and snapped."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from searchers.distributions import Array
from searchers.sobol import sobol_draws
from searchers.space import Space
from searchers.space_config import AUTO_SCALE

# Standard deviations of the design in prior scales: wider than the belief, so that it is tested; not tuned
DESIGN_SPREAD = 2.0
RADII = (0.02, 1.0)  # in prior scales: from a step that only refines to as far as the prior reaches; not tuned


def truncated_normal(uniform: Array, center: Array, spread: Array) -> Array:
    """Uniform numbers -> normal around `center`, cut at [-1, 1]; all (n, d).

    Wide spreads are nearly uniform: all of the range is reached.
    """
    low, high = ndtr((-1.0 - center) / spread), ndtr((1.0 - center) / spread)
    return np.clip(center + spread * ndtri(np.clip(low + uniform * (high - low), 1e-12, 1 - 1e-12)), -1.0, 1.0)


def spread_out(space: Space, uniform: Array, scale: float, follows: NDArray[np.bool_] | bool) -> Array:
    """Uniform numbers (n, d) -> proposals; choices stay uniform.

    Args:
        follows: whether a coordinate lies around its written centre, broadcastable to (n, d); if not, it lies where it
            would lie if nobody had written one.
    """
    ignores = space.is_believed & ~np.asarray(follows)
    center = np.where(ignores, 0.0, space.center_unit)
    scales = np.where(ignores, np.maximum(space.scales_unit, AUTO_SCALE), space.scales_unit)
    spread = np.maximum(DESIGN_SPREAD * scale * scales, 1e-3)
    shaped = truncated_normal(uniform, *np.broadcast_arrays(center, spread, uniform)[:2])
    return np.where(space.is_choice, 2 * uniform - 1, shaped)


def initial_design(space: Space, count: int, scale: float, rng: np.random.Generator) -> Array:
    """(count, d) scrambled Sobol points, wherever the written centres lie: a wrong one is found out by comparison."""
    if not space.dimension:
        return np.zeros((count, 0))
    draw = sobol_draws(space.dimension, rng)
    return space.sample(count, lambda number: spread_out(space, draw(number), scale, follows=False))


def global_candidates(space: Space, count: int, scale: float, rng: np.random.Generator, strength: Array) -> Array:
    """(count, d) points around the search centre as far as that counts, `strength` (d,), and all over the range."""

    def draw(number: int) -> Array:
        uniform = rng.random((number, space.dimension))
        follows = rng.random(uniform.shape) < strength if space.is_believed.any() else False
        return spread_out(space, uniform, scale, follows)

    return space.sample(count, draw)


def local_candidates(space: Space, centers: Array, each: int, scale: float, rng: np.random.Generator) -> Array:
    """Points around each centre at radii from small to large, most coordinates of each unchanged in high dimensions.

    Args:
        centers: (k, d) points of the front and leaders.
        each: candidates per centre.
        scale: factor on every radius.

    Returns:
        (<= k * each, d) feasible points.

    Source: sparse perturbation as in Regis and Shoemaker 2013 and TuRBO (arXiv 1910.01739): about min(1, 20/d) of the
    coordinates.
    """
    repeated = np.repeat(centers, each, axis=0)
    count, dimension = repeated.shape
    if not dimension or not count:
        return repeated
    share = rng.choice([min(1.0, 2.0 / dimension), min(1.0, 20.0 / dimension)], size=(count, 1))
    moved = rng.random((count, dimension)) < share
    moved[np.arange(count), rng.integers(dimension, size=count)] = True
    radius = scale * np.exp(rng.uniform(np.log(RADII[0]), np.log(RADII[1]), size=(count, 1)))
    step = np.maximum(radius * space.scales_unit, space.cell_widths) * rng.standard_normal((count, dimension))
    proposals = np.where(moved, reflect(repeated + step), repeated)
    proposals = np.where(moved & space.is_choice, rng.uniform(-1, 1, size=(count, dimension)), proposals)
    snapped = space.snap(proposals)
    return snapped[space.feasible(snapped)]


def reflect(points_unit: Array) -> Array:
    """Fold back what stepped over the bounds: clipping would pile candidates up on them."""
    folded = np.mod(points_unit + 1.0, 4.0)
    return np.where(folded > 2.0, 4.0 - folded, folded) - 1.0
