"""Where somebody thinks the optimum is: a written `mean` and `scale` weigh the search, the less the more is known.

The acquisition is multiplied by a prior to a power that falls with the number of runs (piBO). In log space the prior of
a parameter is a well around its `mean`, as wide as its `scale` says, and of limited depth: far away it does not matter
how far, so that what the model has found out about a bad centre soon outweighs it. Runs that score the worse the
closer they lie to the centres take away from the weight at once.

A phase that moves a centre moves it afresh, and is taken at its word: its first runs stay close to that centre,
whatever was found before. In the first phase of a schedule that holds for the training length, which says what its runs
may cost, and which an acquisition per cost would leave at once. A centre that nobody wrote weighs nothing.

Source: Hvarfner et al. 2022, piBO: Augmenting Acquisition Functions with User Beliefs for Bayesian Optimization, arXiv
2204.11051.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import cast

import numpy as np
from numpy.typing import NDArray

from searchers.distributions import Array, CategoricalParameter, Parameter
from searchers.space import Space
from searchers.surrogate_models import EvaluatedPoints, SurrogateModels

PHASE_RUNS = 10  # that follow a phase's own centre fully, as a phase of the Metta page is read; not tuned
# That follow the other centres fully. With ten a centre 0.4 (standard deviation, of a range of 2) off, and one in a
# corner, cost 1.05 +- 0.05 and 1.16 +- 0.11 as much, one 0.15 off 0.94 +- 0.05 (four tasks, eight seeds)
FRESH_RUNS = 4
FADE = 2.0  # then the weight falls with the square of the number of runs: a quarter at twice as many; not tuned
NEGLIGIBLE = 0.01  # below it a centre weighs nothing, and costs no time
PULL = 4.0  # with 1 and a depth of 2 a good centre of a bowl in five dimensions saved nothing, with these a quarter
DEPTH = 8.0  # log acquisition that one parameter may cost at most: two scales away it hardly matters how far
BAND = 0.3  # scales: how close held parameters stay to their centres, 7 % of the range with `auto`; not tuned
DOUBT_RUNS = 1.0  # as many runs without order weigh as much as the belief; not tuned
NEAR = 0.3  # scales: spread of candidates around the centres; not tuned
NEAR_EACH = 16  # candidates there for each leader; not tuned


@dataclass(frozen=True, slots=True)
class PriorWeights:
    """What the centres of a space weigh in one suggestion.

    Attributes:
        space: with the centres.
        strength: (d,) how much each centre counts, from 0 to 1.
        is_held: (d,) whether each parameter stays close to its centre.
    """

    space: Space
    strength: Array
    is_held: NDArray[np.bool_]

    def __bool__(self) -> bool:
        return bool(self.strength.any())

    def log_weight(self, points_unit: Array) -> Array:
        """(m,) log weight of candidates (m, d): 0 at the centres, less elsewhere."""
        well = DEPTH * -np.expm1(-0.5 * PULL * self._distance(points_unit) ** 2 / DEPTH)
        return cast(Array, -(self.strength * well).sum(axis=1))

    def is_in_band(self, points_unit: Array) -> NDArray[np.bool_]:
        """(m,) whether each candidate is close to the centres that are held."""
        return np.asarray((self._distance(points_unit)[:, self.is_held] <= BAND).all(axis=1))

    def banded(self, points_unit: Array) -> Array:
        """(m, d) points squeezed into the bands of the centres that are held."""
        means = self.space.means_unit
        share = np.minimum(BAND * self.space.scales_unit / (1.0 + np.abs(means)), 1.0)
        squeezed = np.clip(means + share * (points_unit - means), -1.0, 1.0)
        snapped = self.space.snap(np.where(self.is_held & ~self.space.is_choice, squeezed, points_unit))
        return np.where(self.space.feasible(snapped)[:, None], snapped, points_unit)

    def near(self, points_unit: Array, rng: np.random.Generator) -> Array:
        """Candidates: points (k, d) with some coordinates at the centres, the more the more these count."""
        if not self:
            return points_unit[:0]
        repeated = np.repeat(points_unit, NEAR_EACH, axis=0)
        step = np.where(self.space.is_choice, 0.0, NEAR * self.space.scales_unit) * rng.standard_normal(repeated.shape)
        moved = rng.random(repeated.shape) < self.strength
        proposals = np.where(moved, np.clip(self.space.means_unit + step, -1.0, 1.0), repeated)
        snapped = self.space.snap(proposals)
        return snapped[self.space.feasible(snapped)]

    @property
    def reason(self) -> str:
        """What to add to the reason of a suggestion."""
        return f"; the written centres count {self.strength.max():.0%}" if self else ""

    def _distance(self, points_unit: Array) -> Array:
        """(m, d) from the centres in scales; another choice lies one scale away."""
        away = np.abs(points_unit - self.space.means_unit)
        return np.where(self.space.is_choice, away > 0, away / self.space.scales_unit)


@dataclass(frozen=True)
class CentrePrior:
    """The centres of a space, and since when they count.

    Attributes:
        space: with the centres.
        length: name of the training length.
        since: number of the run from which each centre counts, by parameter; empty without a schedule.
    """

    space: Space
    length: str = ""
    since: Mapping[str, int] = field(default_factory=dict)

    def weights(self, models: SurrogateModels, number: int) -> PriorWeights:
        """What the centres weigh in the suggestion with this number."""
        since = np.array([self.since.get(name, 0) for name in self.space.names])
        age = max(number, len(models.observations)) - since
        is_stated = (since > 0) | (self._is_length & bool(self.since))
        fading = np.minimum(1.0, (np.where(is_stated, PHASE_RUNS, FRESH_RUNS) / np.maximum(age, 1)) ** FADE)
        trust = self._trust(models.evaluated) if models.has_completed else 1.0
        strength = np.where(self.space.is_believed, fading * np.where(since > 0, 1.0, trust), 0.0)
        is_held = self.space.is_believed & is_stated & (fading >= 1.0)
        return PriorWeights(self.space, np.where(strength < NEGLIGIBLE, 0.0, strength), is_held)

    def moved(self, space: Space, now: int) -> dict[str, int]:
        """`since` of another phase's space that is entered when `now` runs were suggested."""
        before = dict(zip(self.space.names, map(stated, self.space.parameters), strict=True))
        stays = {one.name for one in space.parameters if before.get(one.name) == stated(one)}
        return {name: self.since.get(name, 0) if name in stays else now for name in space.names}

    def _trust(self, evaluated: EvaluatedPoints) -> float:
        """How far the runs agree: 1 where they score the better the closer they lie to the centres, a half without any
        order. Longer runs score higher anyway.
        """
        is_counted = self.space.is_believed & ~self._is_length
        count = len(evaluated.mean)
        if count < 2 or not is_counted.any():
            return 1.0
        prior = PriorWeights(self.space, is_counted.astype(float), np.zeros_like(is_counted))
        agreement = kendall(prior.log_weight(evaluated.points_unit), evaluated.mean)
        return float(np.clip((DOUBT_RUNS + count * (0.5 + agreement)) / (DOUBT_RUNS + count), 0.0, 1.0))

    @cached_property
    def _is_length(self) -> NDArray[np.bool_]:
        return np.array([name == self.length for name in self.space.names], dtype=bool)


def since_of(phases: Sequence[tuple[Space, int]], first: int) -> dict[str, int]:
    """Number of the run from which each centre of a phase counts: the first one of the earliest phase that says so.

    Args:
        phases: space and number of the first run of each phase, in order.
        first: number of the phase's first run.
    """
    (space, start), *later = phases
    if not later:
        return {}
    belief = CentrePrior(space, since=dict.fromkeys(space.names, start))
    for space, begins in later:
        if begins <= first:
            belief = CentrePrior(space, since=belief.moved(space, begins))
    return dict(belief.since)


def stated(parameter: Parameter) -> tuple[object, ...]:
    """What somebody said of the optimum; nothing where nobody did."""
    if not parameter.is_believed:
        return ()
    return (parameter.mean,) if isinstance(parameter, CategoricalParameter) else (parameter.mean, parameter.scale)


def kendall(a: Array, b: Array) -> float:
    """Kendall's tau of two rankings (n,): pairs in the same order minus pairs in opposite order, over all pairs; 0 for
    n < 2.
    """
    upper = np.triu_indices(len(a), k=1)
    if not len(upper[0]):
        return 0.0
    products = np.sign(np.subtract.outer(a, a)[upper]) * np.sign(np.subtract.outer(b, b)[upper])
    return float(products.mean())
