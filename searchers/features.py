"""From points and training lengths to the rows that the models see.

A run is (x, T): its hyperparameters and its training length in env steps. Its learning curve at step t is evidence
about shorter runs, but no short run: with a learning-rate schedule a run of length T at step t = uT is not yet
annealed. So a row is (x, log t, 1 - u), and predictions are made at u = 1; where schedules do not matter the model
learns a long lengthscale for 1 - u, and a curve point counts as a short run.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from searchers.distributions import Array, CategoricalParameter, NumericParameter
from searchers.kernel import Layout
from searchers.observation import LARGEST, CurvePoint, Observation, Outcome, Params, number_of
from searchers.outliers import squash
from searchers.space import Space

DEFAULT_FIDELITY = "trainer.total_timesteps"  # what a training run of ours calls its length
# A factor of 30 in length spans as much of the model as the range of any other parameter; not tuned
LOG_RANGE = math.log(30.0)
EARLIEST_SHARE = 0.15  # points before it say more about the start than about the point; not tuned
LATEST_SHARE = 0.95  # later ones repeat the final score
CURVE_NOISE = 4.0  # a point at the start has five times the variance of a final score; its size was not tuned
# Coordinate of a training length 150,000 times the longest one: what a model makes of a length grows exponentially with
# It.
FARTHEST_LENGTH = 8.0


@dataclass(frozen=True)
class Features:
    """Rows of the models over one search space.

    Attributes:
        space: the space of the candidates.
        fidelity: name of the parameter that sets the training length, in or outside the space.
        curve_points: curve rows per run.
    """

    space: Space
    fidelity: str
    curve_points: int

    @classmethod
    def of(cls, space: Space, fidelity: str | None, curve_points: int) -> Features:
        return cls(space, fidelity or DEFAULT_FIDELITY, curve_points)

    @cached_property
    def length_parameter(self) -> NumericParameter | None:
        """The training length, if it is searched and positive."""
        for parameter in self.space.parameters:
            if parameter.name == self.fidelity and isinstance(parameter, NumericParameter) and parameter.low > 0:
                return parameter
        return None

    @cached_property
    def length_index(self) -> int | None:
        """Index of the training length among the free parameters."""
        return self.space.names.index(self.fidelity) if self.length_parameter else None

    @cached_property
    def length_column(self) -> int | None:
        """Column of log t among the features."""
        if self.length_index is not None:
            return int(np.flatnonzero(self.space.feature_groups == self.length_index)[0])
        return len(self.space.feature_groups) if self.curve_points else None

    @cached_property
    def groups(self) -> NDArray[np.int64]:
        """(p,) lengthscale of each column: the space's, then log t unless it is there already, then 1 - u."""
        groups = self.space.feature_groups
        extra = 0 if not self.curve_points else (1 if self.length_index is not None else 2)
        return np.concatenate([groups, self.space.dimension + np.arange(extra)]).astype(np.int64)

    @cached_property
    def layout(self) -> Layout:
        """Of the rows, where hyperparameters tell more apart the longer a run is."""
        return Layout(self.groups, self.length_column)

    @cached_property
    def is_choice(self) -> NDArray[np.bool_]:
        """(g,) whether each lengthscale belongs to a choice."""
        choices = [isinstance(parameter, CategoricalParameter) for parameter in self.space.parameters]
        return np.array(choices + [False] * (self.layout.num_lengths - len(choices)), dtype=bool)

    @cached_property
    def stationary_layout(self) -> Layout:
        """Of the rows, for what does not grow with training."""
        return Layout(self.groups)

    def full(self, points_unit: Array) -> Array:
        """(n, p) rows of completed runs at points of the space."""
        rows = np.zeros((len(points_unit), len(self.groups)))
        encoded = self.space.encode(points_unit)
        rows[:, : encoded.shape[1]] = encoded
        if self.length_column is not None:
            rows[:, self.length_column] = 1.0  # runs whose length is not searched are all of full length
        if self.length_parameter is not None and self.length_index is not None:
            steps = self.length_parameter.from_unit(points_unit[:, self.length_index])
            rows[:, self.length_column] = self._coordinate(steps / self.length_parameter.high)
        return rows

    def row(self, params: Params, point_unit: Array) -> Array:
        """(p,) row of a run that was asked for.

        Its training length may lie outside the space: a phase also learns from the runs of the others.
        """
        row: Array = self.full(point_unit[None])[0]
        total, longest = self.total_steps(params), self.longest_steps
        if self.length_column is not None and total and longest:
            row[self.length_column] = squash(self._coordinate(np.array(total / longest)), self._longest_coordinate)
        return row

    @cached_property
    def _longest_coordinate(self) -> float:
        """Beyond which the lengths of runs outside the space are squashed."""
        length = self.length_parameter
        return (
            FARTHEST_LENGTH
            if length is None
            else max(FARTHEST_LENGTH, -float(self._coordinate(np.array(length.low / length.high))))
        )

    @cached_property
    def longest_steps(self) -> float | None:
        """Training length of a run of full length, if the space says."""
        return self.length_parameter.high if self.length_parameter else self.total_steps(self.space.fixed)

    def total_steps(self, params: Params) -> float | None:
        """Training length that a run was asked for, if its parameters say."""
        value = number_of(params.get(self.fidelity))
        return value if 0 < value <= LARGEST else None

    def partial(self, full_row: Array, share: float) -> Array:
        """(p,) row of the same run at a share u of its length."""
        row = full_row.copy()
        if self.curve_points and self.length_column is not None:
            row[self.length_column] += float(self._coordinate(np.array(share)) - self._coordinate(np.array(1.0)))
            row[-1] = 1.0 - share
        return row

    def curve_rows(self, observation: Observation, total_steps: float) -> list[tuple[float, CurvePoint]]:
        """(share, point) of the few curve points that are evidence, evenly chosen; the earliest ones mislead."""
        useful = [(point.env_steps / total_steps, point) for point in observation.curve if math.isfinite(point.score)]
        useful = [(share, point) for share, point in useful if EARLIEST_SHARE <= share < LATEST_SHARE]
        if len(useful) <= self.curve_points:
            return useful
        chosen = np.unique(np.linspace(0, len(useful) - 1, self.curve_points).round().astype(int))
        return [useful[i] for i in chosen]

    def completed_share(self, observation: Observation, total_steps: float | None) -> float:
        """How much of its length a run trained: 1 unless it was stopped early."""
        if observation.outcome is not Outcome.STOPPED_EARLY or not total_steps or not observation.curve:
            return 1.0
        return float(np.clip(observation.curve[-1].env_steps / total_steps, 0.01, 1.0))

    @staticmethod
    def _coordinate(ratio: Array) -> Array:
        """Log training length, 2 per factor of 30, so that a range of 30x spans as much as any other parameter."""
        return np.round(2.0 * np.log(np.clip(ratio, 1e-300, 1e300)) / LOG_RANGE + 1.0, 12)


def noise_scale(share: float) -> float:
    """Factor on the noise variance of a score at a share of its run: few episodes, an unannealed policy."""
    return 1.0 + CURVE_NOISE * (1.0 - share)
