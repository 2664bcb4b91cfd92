"""What a candidate is worth under each objective, per suggestion."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from searchers.acquisition_functions import (
    front_values,
    gittins_index,
    log_expected_improvement,
    log_probability_above,
    naive_rating,
)
from searchers.config import ProteinConfig
from searchers.distributions import Array
from searchers.gp import GaussianProcess, Paired
from searchers.surrogate_models import Predictions, SurrogateModels

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
FRONT_WIDTH = 0.2  # how far from its cost target a front suggestion may lie, as a share of the front's range; not tuned
MIN_FRONT_RANGE = 0.3  # log cost, about a factor of 1.35: a front of one point has a width too; not tuned
COOLING_WITHOUT_BUDGET = 0.5  # halfway between cost counts fully and not at all
# Prices of a run, from dear to next to nothing by halves: the first at which something still pays counts
GITTINS_SHARES = tuple(0.1 * 0.5**k for k in range(12))


@dataclass(frozen=True, slots=True)
class Acquisition:
    """Rates candidates for one suggestion.

    Attributes:
        models: from all observations.
        gp: score posterior, with pending points believed.
        config: settings.
        rule: logei, gittins, front, target or naive.
        is_sceptical: whether `gp` is the posterior with shorter lengthscales.
        best: z of the incumbent.
        best_longest: best z that any run point is predicted to reach at full length.
        cost_exponent: how strongly cost counts, 0 to 1.
        log_cost_target: for the front, the cost that this suggestion aims at.
        margin: z by which a run must beat the incumbent to count as an improvement.
    """

    models: SurrogateModels
    gp: GaussianProcess
    config: ProteinConfig
    rule: str
    is_sceptical: bool
    best: float
    best_longest: float
    cost_exponent: float
    log_cost_target: float
    margin: float

    @classmethod
    def of(
        cls, models: SurrogateModels, config: ProteinConfig, number: int, pending_rows: Array, rng: np.random.Generator
    ) -> Acquisition:
        """Prepare one suggestion; `pending_rows` (k, p) are of runs that are not back yet."""
        rule = rule_of(config, number)
        is_sceptical = number % SCEPTICAL_EVERY == 0 and rule != "naive" and models.score.sceptic is not None
        gp = models.score.sceptic if is_sceptical else models.score.gp
        assert gp is not None
        if len(pending_rows) and rule != "naive":
            gp = gp.believe(pending_rows)
        evaluated = models.evaluated
        leaders = evaluated.points_unit[np.argsort(-evaluated.mean, kind="stable")[:CONTENDERS]]
        longest = models.longest(leaders, config.max_suggestion_cost)
        best = float(gp.mean(models.features.full(leaders)).max())
        best_longest = max(best, float(gp.mean(models.features.full(longest)).max()))
        target = cost_target(models, config, number, rng)
        exponent, margin = cost_exponent(models, config), improvement_margin(models, number)
        return cls(models, gp, config, rule, is_sceptical, best, best_longest, exponent, target, margin)

    @property
    def refines(self) -> bool:
        """Whether candidates near the best are tried as well; the original rule does not."""
        return self.rule != "naive"

    def effort(self, count: int) -> int:
        """`count` while the model is small; less as rows make each rating dearer, so that a suggestion takes about the
        same time.
        """
        return max(4, int(count * min(1.0, FULL_EFFORT_ROWS / len(self.gp.data.x)) ** EFFORT_DECAY))

    def preselect(self, points: Array, count: int, rng: np.random.Generator) -> NDArray[np.int64]:
        """Indices of at most `count` candidates that deserve a variance: most by mean (less cost), a quarter at
        random.
        """
        if len(points) <= count:
            return np.arange(len(points))
        rows = self.models.features.full(points)
        value = self.gp.rough_mean(rows) - 0.5 * self.cost_exponent * self.models.log_cost(rows)
        order = np.argsort(-value, kind="stable")
        kept = count * 3 // 4
        return np.concatenate([order[:kept], rng.permutation(order[kept:])[: count - kept]])

    def rate(self, points: Array) -> Array:
        """(m,) value of candidates; larger is better, never nan."""
        features = self.models.features
        rows = features.full(points)
        log_cost, success = self.models.log_cost(rows), self.models.success.probability(rows)
        if self.rule == "naive":
            return self._naive(self.gp.mean(rows), log_cost)
        mean, std, longest_mean, informed_std = self._look_ahead(points, rows)
        predictions = Predictions(mean, std, log_cost, np.zeros(0), success)
        value = {"logei": self._logei, "gittins": self._gittins, "front": self._front, "target": self._target}[
            self.rule
        ](predictions, longest_mean, informed_std)
        return np.where(np.isfinite(value), value + 2.0 * np.log(success), -np.inf)

    def _look_ahead(self, points: Array, rows: Array) -> tuple[Array, Array, Array, Array]:
        """Mean and deviation of what a run would change: of its own posterior mean, and of the posterior mean at full
        length.

        One observation with noise s2 moves the posterior mean at z by a normal with deviation |cov(z, x)| / sqrt(var(x)
        + s2). At z = x that is nearly std when the point is new and nearly 0 when it was often repeated: repeats
        compete like any other candidate.
        """
        noise = self.gp.hyper.noise
        if self.models.features.length_index is None:
            mean, std = self.gp.mean_std(rows)
            own = np.maximum(std**2 / np.sqrt(std**2 + noise), 1e-9)
            return mean, own, mean, own
        longest = self.models.features.full(self.models.longest(points, self.config.max_suggestion_cost))
        shorter = (longest != rows).any(axis=1)
        pair = self._pairs(rows, longest, shorter)
        scale = np.sqrt(pair.variance + noise)
        own, other = np.maximum(pair.variance / scale, 1e-9), np.maximum(np.abs(pair.covariance) / scale, 1e-9)
        return pair.mean, own, pair.other_mean, other

    def _pairs(self, rows: Array, longest: Array, shorter: NDArray[np.bool_]) -> Paired:
        """Each row with its full-length twin; rows of full length, which are their own twins, take half the work."""
        full = rows[~shorter]
        parts = [self.gp.paired(rows[shorter], longest[shorter]), self.gp.paired(full, full)]
        order = np.argsort(np.concatenate([np.flatnonzero(shorter), np.flatnonzero(~shorter)]), kind="stable")
        return Paired(
            *(np.concatenate([getattr(part, field.name) for part in parts])[order] for field in fields(Paired))
        )

    def _logei(self, own: Predictions, longest_mean: Array, informed_std: Array) -> Array:
        """log of the larger of: improvement on the incumbent by this run; improvement of the best full-length
        prediction by what it teaches.
        """
        improves = log_expected_improvement(own.mean, own.std, self.best + self.margin)
        teaches = log_expected_improvement(longest_mean, informed_std, self.best_longest + self.margin)
        return np.maximum(improves, teaches) - self.cost_exponent * own.log_cost

    def _gittins(self, own: Predictions, longest_mean: Array, informed_std: Array) -> Array:
        """Gittins index with the largest price of time at which some candidate still pays."""
        middle = float(np.median(self.models.evaluated.log_cost))
        relative = np.exp(np.clip(own.log_cost - middle, -20.0, 20.0))
        index = np.full(len(own.mean), -np.inf)
        for share in GITTINS_SHARES:
            index = gittins_index(own.mean, own.std, share * relative)
            if index.max() > self.best:
                break
        return index

    def _front(self, own: Predictions, longest_mean: Array, informed_std: Array) -> Array:
        """Improvement on the front at the candidate's own cost, near this suggestion's cost target."""
        evaluated = self.models.evaluated
        front = evaluated.front
        floor = float(evaluated.mean[front[0]])
        known = front_values(evaluated.log_cost[front], evaluated.mean[front], own.log_cost, floor)
        distance = (
            (own.log_cost - self.log_cost_target)
            / FRONT_WIDTH
            / max(np.ptp(evaluated.log_cost[front]), MIN_FRONT_RANGE)
        )
        return log_expected_improvement(own.mean, own.std, known) - 0.5 * np.minimum(distance**2, 1e6)

    def _target(self, own: Predictions, longest_mean: Array, informed_std: Array) -> Array:
        """Chance of reaching the target per cost; once it is reached, only cheaper points count."""
        evaluated = self.models.evaluated
        wanted = self._target_z()
        value = log_probability_above(own.mean, own.std, wanted) - own.log_cost
        reached = evaluated.mean >= wanted
        if not reached.any():
            return np.maximum(value, log_probability_above(longest_mean, informed_std, wanted) - 1.5 * own.log_cost)
        saved = float(evaluated.log_cost[reached].min()) - own.log_cost
        return np.where(
            saved > 0, log_probability_above(own.mean, own.std, wanted) + np.log(np.maximum(saved, 1e-9)), -1e6 + saved
        )

    def _target_z(self) -> float:
        assert self.config.target_score is not None
        return float(self.models.score.warp.forward(np.array([self.models.sign * self.config.target_score]))[0])

    def _naive(self, mean: Array, log_cost: Array) -> Array:
        evaluated = self.models.evaluated
        bounds = float(evaluated.log_cost.min()), float(evaluated.log_cost.max())
        seen = float(evaluated.mean.min()), float(evaluated.mean.max())
        return naive_rating(mean, log_cost, self.log_cost_target, bounds, seen)

    def ignorance(self, points: Array) -> Array:
        """(m,) log deviation of the score less half the log cost: where a run teaches most for its price."""
        rows = self.models.features.full(points)
        _, std = self.gp.mean_std(rows)
        return np.log(std) - 0.5 * self.models.log_cost(rows) + 2.0 * np.log(self.models.success.probability(rows))

    def other_lengths(self, points: Array) -> Array:
        """(LENGTHS * m, d) the same hyperparameters at other training lengths."""
        index = self.models.features.length_index
        if index is None:
            return points[:0]
        repeated = np.repeat(points, LENGTHS, axis=0)
        repeated[:, index] = np.tile(np.linspace(-1.0, 1.0, LENGTHS), len(points))
        snapped = self.models.space.snap(repeated)
        return snapped[self.models.space.feasible(snapped)]

    def reason(self, is_repeat: bool) -> str:
        """One sentence on what was maximised."""
        text = {
            "logei": f"largest expected improvement per cost^{self.cost_exponent:.2f}",
            "gittins": "largest Gittins index at the highest price of time that still pays",
            "front": f"largest expected improvement on the front near a cost of {math.exp(self.log_cost_target):.4g}",
            "target": f"best chance per cost to reach {self.config.target_score}",
            "naive": "largest predicted score, weighted by closeness to a random cost target",
        }[self.rule]
        if self.rule == "logei" and self.margin:
            text += f", by at least {self.margin:.2f} standard deviations of the scores"
        text += ", with the model's lengthscales halved" if self.is_sceptical else ""
        return f"{text}; a repeat pays more than a new point" if is_repeat else text


def rule_of(config: ProteinConfig, number: int) -> str:
    """The acquisition in force.

    For the front, every other suggestion improves its upper end, where all of it grows from.
    """
    if config.acquisition != "auto":
        return config.acquisition
    if config.objective == "pareto":
        return "front" if number % 2 else "logei"
    return {"best": "logei", "target": "target"}[config.objective]


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


def cost_target(models: SurrogateModels, config: ProteinConfig, number: int, rng: np.random.Generator) -> float:
    """Log cost that this suggestion aims at: evenly over the front's range and `expansion_rate` beyond; for `naive` its
    share of the seen range.
    """
    evaluated = models.evaluated
    if config.acquisition == "naive":
        return float((1.0 + config.expansion_rate) * rng.random())
    front = evaluated.log_cost[evaluated.front]
    low, high = float(front[0]), float(front[-1]) + math.log1p(config.expansion_rate)
    if config.max_suggestion_cost is not None:
        high = max(low, min(high, math.log(config.max_suggestion_cost)))
    return float(low + (high - low) * van_der_corput(number // 2))


def van_der_corput(number: int) -> float:
    """Evenly filling sequence on [0, 1): the bits of `number` mirrored at the point."""
    bits = f"{number:b}"
    return float(int(bits[::-1], 2)) / float(1 << len(bits))
