"""What a single value far from all others may do: it keeps its place in the order, and loses its distance."""

from __future__ import annotations

from typing import cast

import numpy as np

from searchers.distributions import Array


def squash(values: Array, limit: float, center: float = 0.0) -> Array:
    """Values within `limit` of the centre as they are, to the last bit; beyond it their excess as log(1 + excess).

    Increasing, elementwise.

    Args:
        values: finite.
        limit: > 0; far beyond what ordinary values reach, so that those are not touched.
        center: of the ordinary values.
    """
    offset = values - center
    excess = np.log1p(np.maximum(np.abs(offset) - limit, 0.0))
    return cast(Array, np.where(np.abs(offset) > limit, center + np.copysign(limit + excess, offset), values))
