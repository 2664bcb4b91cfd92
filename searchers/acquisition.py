"""What a candidate is worth, per suggestion: what all acquisitions share. The classes are in `objectives.py`."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, fields
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from searchers.config import ProteinConfig
from searchers.distributions import Array
from searchers.gp import GaussianProcess, Paired
from searchers.surrogate_models import SurrogateModels

# Best runs by mean, one of which is the incumbent at full length too; a look at all costs more; not tuned
CONTENDERS = 50
LENGTHS = 6  # training lengths tried for each of the best candidates, evenly in log; not tuned
# With a start after four runs: cost to 95 % from 0.60 to 0.49 of TPE on 14 tasks; README, `no-sceptic`
SCEPTICAL_EVERY = 3
# Standard deviations of the scores; with it 16 of 195 sweeps stayed below 95 %, without it 25 (README)
CLEARLY_BETTER = 0.3
AS_GOOD = 0.1  # standard deviations: a run this close was no step backwards; not tuned
PATIENCE = 10  # runs without progress until the whole margin is asked; a round number, not tuned
FULL_EFFORT_ROWS = 450  # above it fewer candidates: about 50 ms for a suggestion at 1,000 observations of 15 parameters
EFFORT_DECAY = 2.0  # a variance costs rows squared, so the time of a suggestion stays about the same
# Log cost beyond the front's reach that costs half a nat: a third. At a tenth a sweep that began cheap grew by half in
# twelve suggestions at the default rate; wider, the rate is hardly seen
REACH_WIDTH = 0.3
COOLING_WITHOUT_BUDGET = 0.5  # halfway between cost counts fully and not at all


@dataclass(frozen=True, slots=True)
class Belief:
    """One posterior of the score, with what is best under it.

    Attributes:
        gp: score posterior, with pending points believed.
        best: z of the incumbent.
        best_longest: best z that any run point is predicted to reach at full length.
    """

    gp: GaussianProcess
    best: float
    best_longest: float

    @classmethod
    def of(cls, gp: GaussianProcess, models: SurrogateModels, config: ProteinConfig) -> Belief:
        evaluated = models.evaluated
        leaders = evaluated.points_unit[np.argsort(-evaluated.mean, kind="stable")[:CONTENDERS]]
        longest = models.longest(leaders, config.max_suggestion_cost)
        best = float(gp.mean(models.features.full(leaders)).max())
        return cls(gp, best, max(best, float(gp.mean(models.features.full(longest)).max())))


@dataclass(frozen=True, slots=True)
class Outlook:
    """What one run at each of m candidates is believed to do; all (m,), scores as z.

    Attributes:
        mean: score of the candidate.
        std: deviation of what the run changes of its own posterior mean.
        longest_mean: score of the candidate at full length.
        longest_std: deviation of what the run changes of that.
        log_cost: mean log cost.
    """

    mean: Array
    std: Array
    longest_mean: Array
    longest_std: Array
    log_cost: Array


@dataclass(frozen=True, slots=True)
class Acquisition(ABC):
    """Rates candidates for one suggestion.

    Attributes:
        models: from all observations.
        config: settings.
        number: of the suggestion.
        belief: posterior that candidates are rated by.
        is_sceptical: whether it is the one with shorter lengthscales.
    """

    models: SurrogateModels
    config: ProteinConfig
    number: int
    belief: Belief
    is_sceptical: bool

    # Whether candidates near the best are tried as well
    refines: ClassVar[bool] = True

    @abstractmethod
    def value(self, outlook: Outlook, belief: Belief) -> Array:
        """(m,) log of what the candidates are worth; nan for what has no value."""

    @abstractmethod
    def what(self) -> str:
        """What is maximised, in a few words."""

    @property
    def cost_exponent(self) -> float:
        """How strongly cost counts, 0 to 1."""
        return cost_exponent(self.models, self.config)

    def effort(self, count: int) -> int:
        """`count` while the model is small; less as rows make each rating dearer, so that a suggestion takes about the
        same time.
        """
        return max(4, int(count * min(1.0, FULL_EFFORT_ROWS / len(self.belief.gp.data.x)) ** EFFORT_DECAY))

    def preselect(self, points: Array, count: int, rng: np.random.Generator) -> NDArray[np.int64]:
        """Indices of at most `count` candidates that deserve a variance: most by mean (less cost), a quarter at
        random.
        """
        if len(points) <= count:
            return np.arange(len(points))
        rows = self.models.features.full(points)
        value = self.belief.gp.rough_mean(rows) - 0.5 * self.cost_exponent * self.models.log_cost(rows)
        order = np.argsort(-value, kind="stable")
        kept = count * 3 // 4
        return np.concatenate([order[:kept], rng.permutation(order[kept:])[: count - kept]])

    def rate(self, points: Array) -> Array:
        """(m,) value of candidates; larger is better, never nan."""
        rows = self.models.features.full(points)
        value = self.value(self._outlook(points, rows, self.belief.gp), self.belief)
        success = self.models.success.probability(rows)
        return np.where(np.isfinite(value), value + 2.0 * np.log(success), -np.inf)

    def _outlook(self, points: Array, rows: Array, gp: GaussianProcess) -> Outlook:
        """One observation with noise s2 moves the posterior mean at z by a normal with deviation |cov(z, x)| /
        sqrt(var(x) + s2).
        """
        noise, log_cost = gp.run_noise, self.models.log_cost(rows)
        if self.models.features.length_index is None:
            mean, std = gp.mean_std(rows)
            own = np.maximum(std**2 / np.sqrt(std**2 + noise), 1e-9)
            return Outlook(mean, own, mean, own, log_cost)
        longest = self.models.features.full(self.models.longest(points, self.config.max_suggestion_cost))
        pair = _pairs(gp, rows, longest, (longest != rows).any(axis=1))
        scale = np.sqrt(pair.variance + noise)
        own, other = np.maximum(pair.variance / scale, 1e-9), np.maximum(np.abs(pair.covariance) / scale, 1e-9)
        return Outlook(pair.mean, own, pair.other_mean, other, log_cost)

    def other_lengths(self, points: Array) -> Array:
        """(LENGTHS * m, d) the same hyperparameters at other training lengths."""
        index = self.models.features.length_index
        if index is None:
            return points[:0]
        repeated = np.repeat(points, LENGTHS, axis=0)
        repeated[:, index] = np.tile(np.linspace(-1.0, 1.0, LENGTHS), len(points))
        snapped = self.models.space.snap(repeated)
        return snapped[self.models.space.feasible(snapped)]

    @property
    def reason(self) -> str:
        """One sentence on what was maximised."""
        return self.what() + (", with the model's lengthscales halved" if self.is_sceptical else "")


def _pairs(gp: GaussianProcess, rows: Array, longest: Array, shorter: NDArray[np.bool_]) -> Paired:
    """Each row with its full-length twin; rows of full length, which are their own twins, take half the work."""
    full = rows[~shorter]
    parts = [gp.paired(rows[shorter], longest[shorter]), gp.paired(full, full)]
    order = np.argsort(np.concatenate([np.flatnonzero(shorter), np.flatnonzero(~shorter)]), kind="stable")
    return Paired(*(np.concatenate([getattr(part, field.name) for part in parts])[order] for field in fields(Paired)))


def improvement_margin(models: SurrogateModels, number: int) -> float:
    """z by which a run must beat the incumbent: 0 for every other pair of suggestions, for the rest the more the longer
    nothing was better.

    Without it a sweep can spend all of its budget on the slope of a local optimum, where a little is always to be
    gained.
    """
    if number % 4 in (0, 3):
        return 0.0
    evaluated = models.evaluated
    first = int(evaluated.observation[evaluated.mean >= evaluated.mean.max() - AS_GOOD].min())
    return CLEARLY_BETTER * min(1.0, (len(models.observations) - first) / PATIENCE)


def cost_exponent(models: SurrogateModels, config: ProteinConfig) -> float:
    """Cost cooling: 1 at the start of the budget, 0 at its end (CArBO, arXiv 2003.10870); a constant when no budget is
    known.
    """
    if config.budget is None:
        return COOLING_WITHOUT_BUDGET
    return float(np.clip(1.0 - models.spent / config.budget, 0.0, 1.0))


def cost_target(models: SurrogateModels, config: ProteinConfig, number: int) -> float:
    """Log cost that this suggestion aims at: evenly over the front's range and `expansion_rate` beyond."""
    evaluated = models.evaluated
    low, high = float(evaluated.log_cost[evaluated.front[0]]), log_reach(models, config)
    if config.max_suggestion_cost is not None:
        high = max(low, min(high, math.log(config.max_suggestion_cost)))
    return float(low + (high - low) * van_der_corput(number // 2))


def log_reach(models: SurrogateModels, config: ProteinConfig) -> float:
    """Log cost that the front may grow to with one suggestion: `expansion_rate` beyond its highest."""
    evaluated = models.evaluated
    return float(evaluated.log_cost[evaluated.front[-1]]) + math.log1p(config.expansion_rate)


def beyond_reach(models: SurrogateModels, config: ProteinConfig, log_cost: Array) -> Array:
    """(m,) what candidates lose, in log value, that cost more than the front may grow to."""
    excess = np.maximum(log_cost - log_reach(models, config), 0.0) / REACH_WIDTH
    lost: Array = 0.5 * np.minimum(excess**2, 1e6)
    return lost


def van_der_corput(number: int) -> float:
    """Evenly filling sequence on [0, 1): the bits of `number` mirrored at the point."""
    bits = f"{number:b}"
    return float(int(bits[::-1], 2)) / float(1 << len(bits))
