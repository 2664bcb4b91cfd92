"""The front: points that no other point beats in both score and cost."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from searchers.distributions import Array


def front_indices(scores: Array, costs: Array) -> NDArray[np.int64]:
    """Indices of the Pareto front, by increasing cost (and so increasing score).

    Args:
        scores: (n,) larger is better.
        costs: (n,) smaller is better.

    Returns:
        (k,) indices. Of points that are equal in both only the first is on the front.
    """
    order = np.lexsort((np.arange(len(scores)), -scores, costs))
    front: list[int] = []
    best = -np.inf
    for index in order:
        if scores[index] > best:
            front.append(int(index))
            best = scores[index]
    return np.array(front, dtype=np.int64)
