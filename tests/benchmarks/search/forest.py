"""Extremely randomised trees, read fast: one point goes down all trees at once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from searchers.distributions import Array

TREES = 200
SAMPLES_A_LEAF = 2
BLOCK = 256  # rows at a time: 4 MB of leaves


@dataclass(frozen=True)
class Forest:
    """The nodes of all trees in one table.

    Attributes:
        roots: (trees,) node of each tree's root.
        feature, threshold: (nodes,) what a node asks.
        children: (nodes, 2) where it goes when the feature is at most, or above, the threshold; a leaf leads to itself.
        values: (nodes, outputs).
    """

    roots: NDArray[np.int64]
    feature: NDArray[np.int64]
    threshold: Array
    children: NDArray[np.int64]
    values: Array

    @classmethod
    def fit(cls, inputs: Array, outputs: Array) -> Forest:
        """(n, d) and (n, outputs); needs `pip install .[bench]`."""
        from sklearn.ensemble import ExtraTreesRegressor

        model = ExtraTreesRegressor(n_estimators=TREES, min_samples_leaf=SAMPLES_A_LEAF, random_state=0)
        trees = [tree.tree_ for tree in model.fit(inputs, outputs).estimators_]
        roots = np.cumsum([0, *(tree.node_count for tree in trees)])[:-1]
        children = []
        for root, tree in zip(roots, trees, strict=True):
            pair = np.column_stack([tree.children_left, tree.children_right])
            children.append(root + np.where(pair < 0, np.arange(tree.node_count)[:, None], pair))
        return cls(
            roots,
            np.concatenate([np.maximum(tree.feature, 0) for tree in trees]),
            np.concatenate([tree.threshold for tree in trees]),
            np.concatenate(children),
            np.concatenate([tree.value[:, :, 0] for tree in trees]),
        )

    def predict(self, inputs: Array) -> Array:
        """(n, d) -> (n, outputs), the mean over trees."""
        return np.concatenate([self._block(inputs[i : i + BLOCK]) for i in range(0, len(inputs), BLOCK)])

    def _block(self, inputs: Array) -> Array:
        rows = inputs.astype(np.float32)  # as the trees were grown
        nodes = np.repeat(self.roots[None], len(rows), axis=0)
        while True:
            is_above = np.take_along_axis(rows, self.feature[nodes], axis=1) > self.threshold[nodes]
            below = self.children[nodes, is_above.astype(int)]
            if np.array_equal(below, nodes):
                mean: Array = self.values[nodes].mean(axis=1)
                return mean
            nodes = below
