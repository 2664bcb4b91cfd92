"""The acquisitions, a class each: the best score, the whole front, a target, and the original Protein rule."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from searchers.acquisition import (
    SCEPTICAL_EVERY,
    Acquisition,
    Belief,
    Outlook,
    beyond_reach,
    cost_target,
    improvement_margin,
)
from searchers.acquisition_functions import (
    front_values,
    log_expected_improvement,
    log_probability_above,
    naive_rating,
)
from searchers.config import ProteinConfig
from searchers.distributions import Array
from searchers.surrogate_models import SurrogateModels

FRONT_WIDTH = 0.2  # how far from its cost target a front suggestion may lie, as a share of the front's range; not tuned
MIN_FRONT_RANGE = 0.3  # log cost, about a factor of 1.35: a front of one point has a width too; not tuned


@dataclass(frozen=True, slots=True)
class ExpectedImprovement(Acquisition):
    """log of the larger of: improvement on the incumbent by this run; improvement of the best full-length prediction by
    what it teaches; per cost.
    """

    def value(self, outlook: Outlook, belief: Belief) -> Array:
        margin = self.margin
        improves = log_expected_improvement(outlook.mean, outlook.std, belief.best + margin)
        teaches = log_expected_improvement(outlook.longest_mean, outlook.longest_std, belief.best_longest + margin)
        return np.maximum(improves, teaches) - self.cost_exponent * outlook.log_cost

    @property
    def margin(self) -> float:
        """z by which a run must beat the incumbent to count as an improvement."""
        return improvement_margin(self.models, self.number)

    def what(self) -> str:
        text = f"promising for its price (expected improvement per cost^{self.cost_exponent:.2f})"
        return text + (f", by at least {self.margin:.2f} standard deviations of the scores" if self.margin else "")


@dataclass(frozen=True, slots=True)
class UpperEndImprovement(ExpectedImprovement):
    """Improvement of the front's upper end, from where it grows, no further than `expansion_rate` says."""

    def value(self, outlook: Outlook, belief: Belief) -> Array:
        value = ExpectedImprovement.value(self, outlook, belief)
        return value - beyond_reach(self.models, self.config, outlook.log_cost)


@dataclass(frozen=True, slots=True)
class FrontImprovement(Acquisition):
    """Improvement on the front at the candidate's own cost, near this suggestion's cost target."""

    def value(self, outlook: Outlook, belief: Belief) -> Array:
        evaluated = self.models.evaluated
        front = evaluated.front
        floor = float(evaluated.mean[front[0]])
        known = front_values(evaluated.log_cost[front], evaluated.mean[front], outlook.log_cost, floor)
        width = FRONT_WIDTH * max(np.ptp(evaluated.log_cost[front]), MIN_FRONT_RANGE)
        distance = (outlook.log_cost - self.log_cost_target) / width
        value = log_expected_improvement(outlook.mean, outlook.std, known) - 0.5 * np.minimum(distance**2, 1e6)
        return value - beyond_reach(self.models, self.config, outlook.log_cost)

    @property
    def log_cost_target(self) -> float:
        """The cost that this suggestion aims at."""
        return cost_target(self.models, self.config, self.number)

    def what(self) -> str:
        return f"promising at a cost near {math.exp(self.log_cost_target):.4g} (expected improvement of the front)"


@dataclass(frozen=True, slots=True)
class TargetChance(Acquisition):
    """Chance of reaching the target per cost; once it is reached, only cheaper points count."""

    def value(self, outlook: Outlook, belief: Belief) -> Array:
        evaluated, wanted = self.models.evaluated, self._target_z()
        chance = log_probability_above(outlook.mean, outlook.std, wanted)
        reached = evaluated.mean >= wanted
        if not reached.any():
            teaches = log_probability_above(outlook.longest_mean, outlook.longest_std, wanted)
            return np.maximum(chance - outlook.log_cost, teaches - 1.5 * outlook.log_cost)
        saved = float(evaluated.log_cost[reached].min()) - outlook.log_cost
        return np.where(saved > 0, chance + np.log(np.maximum(saved, 1e-9)), -1e6 + saved)

    def _target_z(self) -> float:
        assert self.config.target_score is not None
        return float(self.models.score.warp.forward(np.array([self.models.sign * self.config.target_score]))[0])

    def what(self) -> str:
        return f"best chance for its price to reach {self.config.target_score}"


@dataclass(frozen=True, slots=True)
class OriginalRule(Acquisition):
    """The original Protein rule on our models.

    Attributes:
        share: of the seen range of costs that this suggestion aims at; above 1 beyond it.
    """

    share: float
    refines: ClassVar[bool] = False

    def value(self, outlook: Outlook, belief: Belief) -> Array:
        evaluated = self.models.evaluated
        bounds = float(evaluated.log_cost.min()), float(evaluated.log_cost.max())
        seen = float(evaluated.mean.min()), float(evaluated.mean.max())
        return naive_rating(outlook.mean, outlook.log_cost, self.share, bounds, seen)

    def rate(self, points: Array) -> Array:
        """(m,) value of candidates: by means alone, and failures are not looked at."""
        rows = self.models.features.full(points)
        mean, none = self.belief.gp.mean(rows), np.zeros(len(rows))
        return self.value(Outlook(mean, none, mean, none, self.models.log_cost(rows)), self.belief)

    def what(self) -> str:
        return "largest predicted score, weighted by closeness to a random cost target"


def acquisition_of(
    models: SurrogateModels, config: ProteinConfig, number: int, pending_rows: Array, rng: np.random.Generator
) -> Acquisition:
    """The acquisition of the suggestion with this number; `pending_rows` (k, p) are of runs that are not back yet."""
    gp = models.score.gp
    assert gp is not None
    if config.acquisition == "naive":
        share = (1.0 + config.expansion_rate) * rng.random()
        return OriginalRule(models, config, number, Belief.of(gp, models, config), False, share)
    is_sceptical = number % SCEPTICAL_EVERY == 0 and models.score.sceptic is not None
    gp = models.score.sceptic if is_sceptical else gp
    assert gp is not None
    if len(pending_rows):
        gp = gp.believe(pending_rows)
    return _kind(config, number)(models, config, number, Belief.of(gp, models, config), is_sceptical)


def _kind(config: ProteinConfig, number: int) -> type[ExpectedImprovement | FrontImprovement | TargetChance]:
    """The class in force. For the front, every other suggestion improves its upper end, where all of it grows from."""
    if config.acquisition == "front" or (config.acquisition == "auto" and config.objective == "pareto" and number % 2):
        return FrontImprovement
    if config.acquisition == "auto" and config.objective != "best":
        return TargetChance if config.objective == "target" else UpperEndImprovement
    return ExpectedImprovement
