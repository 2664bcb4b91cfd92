"""What an earlier sweep taught, in terms of a new sweep's rows, whatever it searched, held fixed and left out.

Its models live in a wider space: the new sweep's parameters, then those that only the earlier sweep searched. Runs of
the earlier sweep lie there with everything that they had; runs of the new one lie where its own fixed values are. So
bounds may differ, parameters may be missing on either side, and runs may be shorter or longer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from searchers.distributions import Array, CategoricalParameter, NumericParameter, Parameter
from searchers.features import Features
from searchers.observation import Observation, Outcome, Params, ParamValue
from searchers.space import Space
from searchers.surrogate import representative
from searchers.surrogate_models import SurrogateModels

MAX_EARLIER = 80  # runs fix a prior mean well enough, and five sweeps then cost a suggestion some 10 ms; not tuned
MAX_WITH_CURVES = 40  # runs whose curves are learned from, too, for they make four rows of one; not tuned


@dataclass(frozen=True, slots=True)
class EarlierSweep:
    """An earlier sweep, as a new one may learn from it.

    Attributes:
        observations: in order; their parameters hold what was fixed there and is searched now, too.
        further: parameters that it searched and the new sweep does not.
        held: the values of those, and of the training length, in runs of the new sweep; a further parameter without one
            is passed over.
        name: for people.
    """

    observations: tuple[Observation, ...]
    further: tuple[Parameter, ...] = ()
    held: Mapping[str, ParamValue] = field(default_factory=dict)
    name: str = ""


@dataclass(frozen=True)
class LearnedSweep:
    """Models of an earlier sweep, which take the new sweep's points and rows.

    Attributes:
        name: of the sweep.
        features: of the new sweep.
        models: over the wider space.
        template: (q,) row of the wider space with the values that the new sweep's runs hold.
        source: (q,) column of the new sweep's rows that each column takes; -1 = the template's.
        range: lowest and highest posterior mean of its runs, z.
        shift: what is added to the coordinate of the training length.
    """

    name: str
    features: Features
    models: SurrogateModels
    template: Array
    source: NDArray[np.int64]
    shift: float
    range: tuple[float, float]

    @classmethod
    def of(cls, earlier: EarlierSweep, features: Features, sign: float) -> LearnedSweep:
        """Fit everything once.

        Args:
            earlier: its runs with choices that the new space does not have are passed over.
            features: of the new sweep.
            sign: +1 to maximise, -1 to minimise; the same for both sweeps.
        """
        wide = _wider(features.space, earlier)
        inside = Features(wide, features.fidelity, features.curve_points)
        models = SurrogateModels(wide, inside, sign)
        models.observe_all([one for one in _chosen(earlier.observations, sign) if _is_known(wide, one.params)])
        held = {**features.space.center(), **earlier.held}
        template, source = inside.row(held, wide.embed(held)), _columns(features, inside)
        length = inside.length_column
        # Where only the earlier sweep searched the length, runs of full length are as long as the new sweep holds it.
        is_moved = length is not None and source[length] >= 0 and features.length_index is None
        shift = float(template[length]) - 1.0 if is_moved else 0.0
        seen = models.score.fitted()[1] if models.score.gp is not None else np.zeros(1)
        ends = (float(seen.min(initial=0.0)), float(seen.max(initial=0.0)))
        return cls(earlier.name, features, models, template, source, shift, ends)

    @property
    def has_scores(self) -> bool:
        """Whether it taught anything about scores."""
        return self.models.score.gp is not None

    def mean(self, rows: Array) -> Array:
        """(m,) predicted score of the new sweep's rows (m, p), in the earlier sweep's z; never beyond what it saw."""
        assert self.models.score.gp is not None
        return np.clip(self.models.score.gp.mean(self._rows(rows)), *self.range)

    def log_cost(self, rows: Array) -> Array:
        """(m,) predicted log cost, in the earlier sweep's unit."""
        return self.models.log_cost(self._rows(rows))

    def success(self, rows: Array) -> Array:
        """(m,) probability that a run does not fail there."""
        return self.models.success.probability(self._rows(rows))

    def points(self) -> Array:
        """(k, d) what it ran, the best by posterior mean first, as points of the new space."""
        if not self.models.has_completed:
            return np.zeros((0, self.features.space.dimension))
        evaluated = self.models.evaluated
        index = [self.models.space.names.index(name) for name in self.features.space.names]
        best: Array = evaluated.points_unit[np.argsort(-evaluated.mean, kind="stable")][:, index]
        return best

    def _rows(self, rows: Array) -> Array:
        """(m, q) the new sweep's rows in the wider space."""
        wide = np.repeat(self.template[None], len(rows), axis=0)
        wide[:, self.source >= 0] = rows[:, self.source[self.source >= 0]]
        if self.shift and self.models.features.length_column is not None:
            wide[:, self.models.features.length_column] += self.shift
        return wide


def _wider(space: Space, earlier: EarlierSweep) -> Space:
    """The new space with the further parameters whose values in the new sweep are known."""
    further = [one for one in earlier.further if one.name not in space.names and _holds(one, earlier.held)]
    parameters = sorted([*space.parameters, *(replace(one, when="") for one in further)], key=lambda one: one.name)
    names = {one.name for one in parameters}
    fixed = {name: value for name, value in {**earlier.held, **space.fixed}.items() if name not in names}
    return Space(tuple(parameters), fixed, (), space.conditions)


def _holds(parameter: Parameter, held: Mapping[str, ParamValue]) -> bool:
    """Whether the new sweep's value of a parameter is known, and one that the parameter may have."""
    is_choice = isinstance(parameter, CategoricalParameter)
    return parameter.name in held and not (is_choice and parameter.problem(held[parameter.name]))


def _chosen(observations: Sequence[Observation], sign: float) -> list[Observation]:
    """At most `MAX_EARLIER` of them, in order: the best, the latest, and some of all times."""
    lowest = -np.inf  # failures are kept evenly
    scores = np.array([lowest if one.score is None else sign * one.score for one in observations])
    chosen = [observations[index] for index in representative(scores, MAX_EARLIER)]
    return chosen if len(chosen) <= MAX_WITH_CURVES else [_without_curve(one) for one in chosen]


def _without_curve(observation: Observation) -> Observation:
    """The same, unless its curve says how far it came."""
    return replace(observation, curve=()) if observation.outcome is Outcome.COMPLETED else observation


def _is_known(space: Space, params: Params) -> bool:
    """Whether the run can be placed: a choice that the new space lacks lies nowhere in it."""
    given = [one for one in space.parameters if one.name in params]
    return all(not isinstance(one, CategoricalParameter) or params[one.name] in one.choices for one in given) and all(
        not isinstance(one, NumericParameter) or not isinstance(params[one.name], str) for one in given
    )


def _columns(new: Features, wide: Features) -> NDArray[np.int64]:
    """(q,) column of the new rows for each column of the wide ones; -1 where the new sweep has none."""
    source = np.full(len(wide.groups), -1)
    new_groups, wide_groups = new.space.feature_groups, wide.space.feature_groups
    for index, name in enumerate(new.space.names):
        source[np.flatnonzero(wide_groups == wide.space.names.index(name))] = np.flatnonzero(new_groups == index)
    if new.curve_points:
        source[-1] = len(new.groups) - 1  # the share that was left
        assert new.length_column is not None
        assert wide.length_column is not None
        source[wide.length_column] = new.length_column
    return source
