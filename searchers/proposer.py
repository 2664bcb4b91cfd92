"""From the models to one suggestion: which rule is due, candidates, rating, pick."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
from numpy.typing import NDArray

from searchers.acquisition import Acquisition
from searchers.acquisition_functions import pick
from searchers.belief import PriorWeights
from searchers.candidates import global_candidates, initial_design, local_candidates
from searchers.config import ProteinConfig
from searchers.distributions import Array
from searchers.kernel import squared_distances
from searchers.objectives import acquisition_of
from searchers.observation import Explanation, Origin, Suggestion
from searchers.surrogate_models import SurrogateModels

logger = logging.getLogger(__name__)

CENTRES = 8  # leaders, and points of the front, that local candidates lie around; not tuned
PRESELECTED = 192  # candidates that get a variance, which costs far more than a mean; not tuned
# Radii of the two rounds around the best, as shares of the local one: wide, then close; not tuned
REFINEMENTS = (0.3, 0.1)
REFINED = 8  # best candidates that each round starts from; not tuned
REFINED_EACH = 16  # new candidates around each of them; not tuned
# The centre is run at full length, too, for so much of the budget at most. On the choosing half of the recorded RL
# landscapes regret over the budget falls by 0.065 +- 0.030 with it, on the reporting half it does not change
LONG_CENTRE_SHARE = 0.05
LONG_CENTRE_TIMES = 4.0  # what the centre costs, at most, when no budget is known; not tuned
MIN_SCORED = 2  # a spread of scores needs two
SEED_DESIGN = 2**31  # far from any number of a suggestion, which is the other word of a stream
MIN_DISTANCE = 0.02  # from a pending point, root mean square over coordinates: 1 % of each range; not tuned
# Reason of a suggestion; people read it
NOTHING_NEW = "every candidate was tried or is close to a pending run; a random new point instead"


@dataclass(frozen=True, slots=True)
class Chosen:
    """A picked point and why."""

    point_unit: Array
    origin: Origin
    reason: str
    acquisition: float | None = None


@dataclass(frozen=True, slots=True)
class Proposer:
    """One suggestion at a time from models that are not changed.

    Attributes:
        models: from all observations.
        config: settings.
        seed: of the sweep.
        weights: of the written search centres.
    """

    models: SurrogateModels
    config: ProteinConfig
    seed: int
    weights: PriorWeights

    def suggest(self, number: int, pending_unit: Array, pending_rows: Array) -> Suggestion:
        """The suggestion with this number.

        Args:
            number: its generator is `default_rng([seed, number])`.
            pending_unit: (k, d) points that are not back yet.
            pending_rows: (k, p) their rows, see `Features.row`.
        """
        rng = np.random.default_rng([self.seed, number])
        choice = self._choose(number, pending_unit, pending_rows, rng)
        return Suggestion(self.models.space.from_unit(choice.point_unit), number, self._explain(choice))

    def _choose(self, number: int, pending: Array, pending_rows: Array, rng: np.random.Generator) -> Chosen:
        config = self.config
        is_initial = (
            number < config.num_random_samples or self.models.num_scored < MIN_SCORED or not self.models.has_completed
        )
        if is_initial:
            return self._initial(number, pending, rng)
        is_due = config.resample_frequency and number % config.resample_frequency == 0
        why = f"repeats the least repeated point of the front (every {config.resample_frequency} suggestions)"
        if is_due and (choice := self._replicate(pending, why)):
            return choice
        try:
            return self._exploit(acquisition_of(self.models, config, number, pending_rows, rng), pending, rng)
        except np.linalg.LinAlgError:
            logger.warning(
                "suggestion %d: the model could not be factorised; a random affordable point instead", number
            )
            return self._random(pending, rng, "the model could not be factorised; a random affordable point")

    def _initial(self, number: int, pending: Array, rng: np.random.Generator) -> Chosen:
        """Centre first, then what earlier sweeps recommend, the centre once more for longer, and a fixed Sobol design;
        affordable points as soon as a cost is known.
        """
        space = self.models.space
        inherited = self.models.inherited_points()
        if number == 0 and self.config.seed_with_search_center:
            return Chosen(space.center_unit, Origin.CENTER, "the search centre comes first")
        count = max(self.config.num_random_samples, number + 1)
        scale = self.config.global_search_scale
        design = initial_design(space, count, scale, np.random.default_rng([self.seed, SEED_DESIGN]))[
            number : number + 1
        ]
        if self.weights:  # a wrong centre is found out by comparison
            design = np.concatenate([space.middle_unit[None], design])
        design = self.weights.banded(design)
        longer = self._longer_centre(pending)
        fresh = self._fresh(np.concatenate([inherited, longer, design, self._spread(64, rng)]), pending)
        if not len(fresh):
            return self._random(pending, rng, NOTHING_NEW)
        affordable = self._affordable(fresh)
        if not affordable.any():
            return self._cheapest(fresh)
        chosen = fresh[int(np.argmax(affordable))]
        named = ((inherited, "recommended by earlier sweeps"), (longer, "the search centre, trained longer"))
        found = (why for points, why in named if (points == chosen).all(axis=1).any())
        return Chosen(chosen, Origin.INITIAL, next(found, f"initial design, point {number} of {count}"))

    def _longer_centre(self, pending: Array) -> Array:
        """(<= 1, d) the search centre at the longest training length that is worth a try at once, where the best score
        is wanted; none once it was suggested.

        Longer training hardly ever hurts, ranges lie around what is known to work, and short runs tell little of long
        ones: one long run at the centre is hard to beat for a while.
        """
        models, config, centre = self.models, self.config, self.models.space.center_unit[None]
        index = models.features.length_index
        wants_best = config.objective == "best" and config.acquisition in ("auto", "logei")
        if not (wants_best and config.seed_with_search_center and models.cost.is_ready):
            return centre[:0]
        if index is None or self.weights.is_held[index]:
            return centre[:0]
        known = np.concatenate([np.array(models.points_unit), pending])
        is_centre = (np.delete(known, index, axis=1) == np.delete(centre, index, axis=1)).all(axis=1)
        if (known[is_centre, index] > centre[0, index]).any():
            return centre[:0]
        times = LONG_CENTRE_TIMES * math.exp(float(models.log_cost(models.features.full(centre))[0]))
        limit = times if config.budget is None else LONG_CENTRE_SHARE * config.budget
        longer = models.longest(centre, config.max_suggestion_cost, limit)
        return longer[longer[:, index] > centre[:, index]]

    def _replicate(self, pending: Array, reason: str) -> Chosen | None:
        """The least repeated point of the front; None when all of it was run in another phase's space and cannot be
        repeated here.
        """
        evaluated = self.models.evaluated
        front = evaluated.front[evaluated.is_here[evaluated.front]]
        if not len(front):
            return None
        affordable = front[self._affordable(evaluated.points_unit[front])]
        options = affordable if len(affordable) else front[:1]
        open_runs = [
            sum(point.tobytes() == other.tobytes() for other in pending) for point in evaluated.points_unit[options]
        ]
        chosen = options[int(np.lexsort((-evaluated.mean[options], evaluated.runs[options] + np.array(open_runs)))[0])]
        return Chosen(evaluated.points_unit[chosen], Origin.REPLICATE, reason)

    def _exploit(self, acquisition: Acquisition, pending: Array, rng: np.random.Generator) -> Chosen:
        points = self._candidates(rng)
        points = self._without_pending(points, pending)
        if not len(points):
            return self._random(pending, rng, NOTHING_NEW)
        affordable = self._affordable(points)
        if not affordable.any():
            return self._cheapest(points)
        points = self._likely(points[affordable])
        in_band = self.weights.is_in_band(points)
        points = points[in_band] if in_band.any() else points
        points = points[self._preselect(acquisition, points, rng)]
        rating = self._rate(acquisition, points)
        for radius in REFINEMENTS if acquisition.refines else ():
            points, rating = self._refine(acquisition, points, rating, pending, radius, rng)
        if not np.isfinite(rating).any():
            return self._random(pending, rng, "no candidate has a finite rating")
        best = pick(rating, np.ones(len(points), dtype=bool))
        return Chosen(points[best], Origin.EXPLOIT, acquisition.reason + self.weights.reason, float(rating[best]))

    def _refine(
        self,
        acquisition: Acquisition,
        points: Array,
        rating: Array,
        pending: Array,
        radius: float,
        rng: np.random.Generator,
    ) -> tuple[Array, Array]:
        """The candidates and new ones around the best of them."""
        top = points[np.argsort(-rating, kind="stable")[: acquisition.effort(REFINED)]]
        each = acquisition.effort(REFINED_EACH)
        near = local_candidates(self.models.space, top, each, radius * self.config.global_search_scale, rng)
        near = np.concatenate([near, acquisition.other_lengths(top[: max(2, REFINED * each // REFINED_EACH)])])
        near = self._fresh(near, pending)
        near = near[self._affordable(near)]
        near = near[self._success(near) >= self.models.success.required]
        near = near[self.weights.is_in_band(near)]
        if not len(near):
            return points, rating
        return np.concatenate([points, near]), np.concatenate([rating, self._rate(acquisition, near)])

    def _rate(self, acquisition: Acquisition, points: Array) -> Array:
        """The acquisition, weighed by what is believed; the original rule is not weighed."""
        rating = acquisition.rate(points)
        return rating + self.weights.log_weight(points) if acquisition.refines else rating

    def _preselect(self, acquisition: Acquisition, points: Array, rng: np.random.Generator) -> NDArray[np.int64]:
        """Candidates that deserve a variance: the acquisition's own, and the likeliest to the belief."""
        count = acquisition.effort(PRESELECTED)
        chosen = acquisition.preselect(points, count, rng)
        if not self.weights:
            return chosen
        believed = np.argsort(-self.weights.log_weight(points), kind="stable")[: count // 2]
        return np.union1d(chosen, believed)

    def _candidates(self, rng: np.random.Generator) -> Array:
        """New ones: global, local around front and leaders, moved to what is believed. A repeat is no candidate, for it
        gained nothing over them; README, `repeats`.
        """
        space, config, evaluated = self.models.space, self.config, self.models.evaluated
        leaders = np.argsort(-evaluated.mean, kind="stable")[:CENTRES]
        front = evaluated.front[-CENTRES:]
        centers = evaluated.points_unit[np.unique(np.concatenate([leaders, front]))]
        local = local_candidates(space, centers, config.suggestions_per_pareto, config.global_search_scale, rng)
        spread = self._spread(config.random_suggestions, rng)
        return self._unseen(np.concatenate([spread, local, self.weights.near(centers, rng)]))

    def _spread(self, count: int, rng: np.random.Generator) -> Array:
        return global_candidates(self.models.space, count, self.config.global_search_scale, rng, self.weights.strength)

    def _cheapest(self, points: Array) -> Chosen:
        """Nothing is affordable: the least expensive candidate, and a plain word about it."""
        log_wall = self.models.log_wall(self.models.features.full(points))
        best = int(np.argmin(log_wall))
        cap, cost = self.config.max_suggestion_cost, math.exp(float(log_wall[best]))
        reason = (
            f"no candidate is predicted to take at most max_suggestion_cost = {cap:g} s; the cheapest one, "
            f"{cost:.4g} s, instead"
        )
        logger.warning("%s", reason)
        return Chosen(points[best], Origin.FALLBACK, reason)

    def _random(self, pending: Array, rng: np.random.Generator, reason: str) -> Chosen:
        """A new affordable point, a global candidate or, when none is new, any point of the space; else a repeat."""
        points = self._spread(256, rng)
        fresh = self._fresh(points, pending)
        if not len(fresh):
            every_point = self.models.space.every_point
            rest = without(self.models.space.stock if every_point is None else every_point, pending)
            fresh = select(rest, [not self.models.is_repeat(point) for point in rest])
            if not len(fresh):
                return self._repeat(points, pending, "candidate" if every_point is None else "point of the space")
        affordable = self._affordable(fresh)
        return (
            Chosen(fresh[int(np.argmax(affordable))], Origin.FALLBACK, reason)
            if affordable.any()
            else self._cheapest(fresh)
        )

    def _repeat(self, points: Array, pending: Array, every: str) -> Chosen:
        """Nothing is new: the least repeated point of the front; without one any of the points, one that is not pending
        if there is one.

        Args:
            points: (n, d) candidates, n >= 1.
            pending: (k, d).
            every: what was looked through, for the reason.
        """
        reason = f"every {every} was tried{' or is pending' if len(pending) else ''}; a repeat"
        affordable = points[self._affordable(points)]
        if not len(affordable):
            cheapest = self._cheapest(points)
            return Chosen(cheapest.point_unit, Origin.REPLICATE, f"{reason}, and {cheapest.reason}")
        if self.models.has_completed and (of_the_front := self._replicate(pending, f"{reason} of the front")):
            return of_the_front
        options = without(affordable, pending)
        return Chosen((options if len(options) else affordable)[0], Origin.REPLICATE, reason)

    def _fresh(self, points: Array, pending: Array) -> Array:
        points = self._without_pending(points, pending)
        return self._unseen(points)

    def _unseen(self, points: Array) -> Array:
        return select(points, [self.models.times_run(point) == 0 for point in points])

    @staticmethod
    def _without_pending(points: Array, pending: Array) -> Array:
        """The points that keep a small distance from all pending ones: runs at once that hardly differ are wasted."""
        if not len(pending) or not len(points):
            return points
        squared = squared_distances(points, pending).min(axis=1)
        return select(points, (squared > MIN_DISTANCE**2 * points.shape[1]).tolist())

    def _success(self, points: Array) -> Array:
        return self.models.success.probability(self.models.features.full(points))

    def _likely(self, points: Array) -> Array:
        """The points that are likely enough to work; the likeliest ones when none is."""
        chance = self._success(points)
        enough = chance >= min(self.models.success.required, float(chance.max()))
        return select(points, enough.tolist())

    def _affordable(self, points: Array) -> NDArray[np.bool_]:
        cap = self.config.max_suggestion_cost
        if cap is None or not len(points):
            return np.ones(len(points), dtype=bool)
        return self.models.log_wall(self.models.features.full(points)) <= math.log(cap)

    def _explain(self, choice: Chosen) -> Explanation:
        models, point = self.models, choice.point_unit[None]
        predictions = models.predict(point)
        has_score = models.num_scored > 0
        return Explanation(
            origin=choice.origin,
            reason=choice.reason,
            predicted_score=models.score_intervals(predictions.mean, predictions.std)[0] if has_score else None,
            predicted_cost=models.cost_interval(point),
            success_probability=float(predictions.success[0]),
            acquisition=choice.acquisition,
            nearest=models.nearest(choice.point_unit, 3),
            observations=len(models.observations),
        )


def without(points: Array, pending: Array) -> Array:
    """The points (n, d) that are none of the pending ones."""
    known = {point.tobytes() for point in pending}
    return select(points, [point.tobytes() not in known for point in points])


def select(points: Array, keep: Sequence[bool]) -> Array:
    """The points (n, d) whose flag is true."""
    return cast(Array, points[np.array(keep, dtype=bool)])
