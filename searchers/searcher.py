"""The contract that every optimiser keeps, the plain ones for comparison, and the way to make one by name."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Protocol, cast

import numpy as np

from searchers.config import ProteinConfig
from searchers.distributions import Array, CategoricalParameter
from searchers.earlier import EarlierSweep
from searchers.errors import SpaceError
from searchers.observation import Explanation, Observation, Origin, Params, Suggestion
from searchers.protein import Goal, Protein
from searchers.sobol import sobol_draws
from searchers.space import Space

METHODS = ("bayes", "random", "sobol", "grid")  # what `sweep.method` may be
GRID_LEVELS = 5  # of a number that names no step; a round number, not tuned
GRID_LIMIT = 200_000  # more points than anybody means to run; not tuned


class Searcher(Protocol):
    """Suggests points and learns from observations."""

    def observe(self, observation: Observation) -> None:
        """Learn from one run."""

    def suggest(self, pending: Sequence[Params] = (), number: int | None = None) -> Suggestion:
        """The next point; same seed, number, history and pending points: same suggestion."""


def make_searcher(  # noqa: PLR0913 - what a searcher may know of a sweep, by name
    method: str,
    space: Space,
    config: ProteinConfig,
    *,
    goal: Goal,
    seed: int,
    earlier: Sequence[EarlierSweep] = (),
    since: Mapping[str, int] = MappingProxyType({}),
) -> Protein | Baseline:
    """An optimiser by its name in the sweep file: bayes, random, sobol or grid; only bayes learns from earlier sweeps.

    Args:
        since: number of the run from which each search centre counts, by parameter; see `belief.since_of`.

    Raises:
        ValueError: unknown method.
    """
    if method == "bayes":
        return Protein(space, config, goal, rng=np.random.default_rng(seed), earlier=earlier, since=since)
    if method not in METHODS:
        raise ValueError(f"method: need one of {', '.join(METHODS)}, got {method!r}")
    return Baseline(method, space, goal, seed)


class Baseline:
    """Search that learns nothing: random, sobol or grid, over feasible points."""

    def __init__(self, method: str, space: Space, goal: Goal, seed: int) -> None:
        self.space = space
        self.method = method
        self.goal = goal
        self._seed = seed
        self._next_number = 0
        self._observations: list[Observation] = []
        self._seen: Counter[bytes] = Counter()
        self._grid = grid_points(space) if method == "grid" else None

    @property
    def observations(self) -> tuple[Observation, ...]:
        """The history, in order."""
        return tuple(self._observations)

    def observe(self, observation: Observation) -> None:
        """Remember the run, for `incumbent`."""
        self._observations.append(observation)
        self._seen[self.space.embed(observation.params).tobytes()] += 1

    def suggest(self, pending: Sequence[Params] = (), number: int | None = None) -> Suggestion:
        """The point with this number; the next free one when it is pending or was run already."""
        number = self._next_number if number is None else number
        self._next_number = number + 1
        taken = set(self._seen) | {self.space.embed(params).tobytes() for params in pending}
        point = self._first_free(number, taken)
        explanation = Explanation(
            Origin.BASELINE, f"{self.method} search, point {number}", observations=len(self._observations)
        )
        return Suggestion(self.space.from_unit(point), number, explanation)

    def incumbent(self) -> Observation | None:
        """The best single observation; a search without a model knows no better."""
        sign = 1.0 if self.goal == "maximize" else -1.0
        scored = [observation for observation in self._observations if observation.score is not None]
        return max(scored, key=lambda observation: sign * (observation.score or 0.0), default=None)

    def with_phase(self, space: Space, config: ProteinConfig) -> Baseline:
        """The same search over another space."""
        other = Baseline(self.method, space, self.goal, self._seed)
        other._next_number = self._next_number
        for observation in self._observations:
            other.observe(observation)
        return other

    def _first_free(self, number: int, taken: set[bytes]) -> Array:
        if self._grid is not None:
            ahead = (self._grid[(number + k) % len(self._grid)] for k in range(len(self._grid)))
            return next(
                (point for point in ahead if point.tobytes() not in taken),
                cast(Array, self._grid[number % len(self._grid)]),
            )
        options = self._options(number)
        return next((option for option in options if option.tobytes() not in taken), cast(Array, options[0]))

    def _options(self, number: int) -> Array:
        """Points to try for this number, best first."""
        rng = np.random.default_rng([self._seed, number])
        dimension = self.space.dimension
        spare = self.space.sample(16, lambda count: rng.uniform(-1, 1, (count, dimension)))
        if self.method == "random" or not dimension:
            return spare
        draw = sobol_draws(dimension, np.random.default_rng(self._seed))
        points = self.space.sample(number + 1, lambda count: 2 * draw(count) - 1)
        return np.concatenate([points[number : number + 1], spare])


def grid_points(space: Space) -> Array:
    """(n, d) the feasible grid: every choice, five levels of every number (all of them when there are fewer).

    Raises:
        SpaceError: the grid is too large to be anyone's intention.
    """
    levels = []
    for parameter, width in zip(space.parameters, space.cell_widths, strict=True):
        count = round(2.0 / width) if width else GRID_LEVELS
        if not isinstance(parameter, CategoricalParameter):
            count = min(count, GRID_LEVELS)
        levels.append(np.linspace(-1.0 + width / 2, 1.0 - width / 2, count))
    total = math.prod(map(len, levels))
    if total > GRID_LIMIT:
        raise SpaceError(
            (
                "method",
                f"grid has {total} points over {space.dimension} parameters; fix some of them or use method: sobol",
            )
        )
    positions = np.unravel_index(np.arange(total), [len(level) for level in levels]) if levels else ()
    points = np.array([level[position] for level, position in zip(levels, positions, strict=True)]).T.reshape(
        total, space.dimension
    )
    snapped = np.unique(space.snap(points), axis=0)
    feasible = snapped[space.feasible(snapped)]
    return feasible if len(feasible) else space.center_unit[None]
