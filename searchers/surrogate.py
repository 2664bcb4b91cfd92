"""The models that learn from observations in order: score, cost, success.

What they know depends on the history alone.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from searchers.distributions import Array
from searchers.features import Features, noise_scale
from searchers.gp import Data, GaussianProcess, fit
from searchers.kernel import Hyperparameters
from searchers.noise import Noise
from searchers.observation import CurvePoint, FailureKind, Observation, Outcome
from searchers.warm_start import Earlier, Trend
from searchers.warp import Warp

logger = logging.getLogger(__name__)

MAX_FINAL_ROWS = 1500  # bounds the factorisation: more runs are represented by these; a round number, not tuned
MAX_ROWS_WITH_CURVES = 1000  # curve points give way first, as a final score says more
# Hyperparameters are fitted on so many: each step of the fit factorises once; a round number, not tuned
SCORE_FIT_ROWS = 250
SUCCESS_ROWS = 400  # failures come first in them, and a boundary needs few; a round number, not tuned
FAILURE_RUNS = 5.0  # as many runs weigh as much as what earlier sweeps know of failures; not tuned
LATEST_RUNS = 20  # whose failures count as recent; a round number, not tuned
# A model of few runs is too sure of itself: its lengthscales are one guess of many. With 1 + WIDENING * d / n times the
# variance 90 % intervals cover 0.91 of left-out runs of the benchmark (0.90 on seeds that did not choose it); without
# it 0.60 of 5 runs, 0.77 of 40
WIDENING = 10.0
WIDEST = 2.0  # deviations of all scores: it is not widened beyond them, where coverage is the same; chosen with it
LARGEST_KNOWN = 100.0  # variances of all scores: such a score says next to nothing; bounds what a wild report may do
SCEPTIC_LENGTHS = 0.5  # half the fitted ones; README, `no-sceptic`; its size was not tuned


def is_refit_due(count: int) -> bool:
    """Whether the hyperparameters are fitted again at the `count`-th row: every one at first, then every 5 %."""
    step = max(1, count // 20)
    return count % step == 0


def representative(scores: Array, limit: int) -> NDArray[np.int64]:
    """(<= limit,) indices, sorted: a third the best, a third the latest, the rest evenly over time.

    Never the best only.
    """
    count = len(scores)
    if count <= limit:
        return np.arange(count)
    third = limit // 3
    best = np.argsort(-scores, kind="stable")[:third]
    latest = np.arange(count - third, count)
    rest = np.setdiff1d(np.arange(count), np.union1d(best, latest))
    evenly = rest[np.linspace(0, len(rest) - 1, limit - 2 * third).astype(int)]
    return np.unique(np.concatenate([best, latest, evenly]))


@dataclass
class ScoreModel:
    """Posterior of the noiseless score over (x, T), from final scores and learning curves.

    Attributes:
        features: rows.
        trend: what earlier sweeps taught; None without them.
        hyper: last fitted hyperparameters.
        gp: posterior over `z`; None before there is a score.
        sceptic: the same with shorter lengthscales. Fitted ones are a point estimate and can be too sure of themselves:
            sweeps were seen to settle beside the optimum. Choices keep theirs, for there is nothing between them.
            Source: Berkenkamp, Schoellig and Krause 2019 (arXiv 1901.03357), who shrink lengthscales over time.
        warp: scores to z and back.
    """

    features: Features
    trend: Trend | None = None
    hyper: Hyperparameters = field(init=False)
    gp: GaussianProcess | None = None
    sceptic: GaussianProcess | None = None
    warp: Warp = field(default_factory=lambda: Warp(0.0, 1.0, 0.0, 1.0))
    _rows: list[Array] = field(default_factory=list)
    _scores: list[float] = field(default_factory=list)
    _errors: list[float] = field(default_factory=list)
    _noise: list[float] = field(default_factory=list)
    _run: list[int] = field(default_factory=list)
    _is_final: list[bool] = field(default_factory=list)
    _used: list[int] = field(default_factory=list)
    _num_finals: int = 0
    _totals: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.hyper = Hyperparameters.prior(self.features.layout)

    @property
    def num_finals(self) -> int:
        """Scores of ended runs so far."""
        return self._num_finals

    def observe(self, index: int, observation: Observation, point_unit: Array) -> None:
        """Learn from a run that has a score (larger is better).

        Args:
            index: of the observation in the history.
            observation: with its direction applied.
            point_unit: (d,) its point.
        """
        self.observe_all([(index, observation, point_unit)])

    def observe_all(self, runs: Sequence[tuple[int, Observation, Array]]) -> None:
        """Learn from several runs at once, at the price of one; arguments as of `observe`."""
        before = len(self._rows)
        for run in runs:
            self._add_rows(*run)
        is_full = len(self._used) >= MAX_ROWS_WITH_CURVES
        new = [row for row in range(before, len(self._rows)) if self._is_final[row] or not is_full]
        self._set_warp()
        try:
            self._update(new)
        except np.linalg.LinAlgError:
            # The next fit takes all rows; until then the model knows what it knew.
            logger.warning("observation %d: the model could not be factorised; it stays as it was", runs[-1][0])
        self._set_targets()

    def _set_warp(self) -> None:
        scores, finals = np.array(self._scores), np.array(self._is_final)
        self.warp = Warp.of(scores[finals], scores[~finals])

    def _set_targets(self) -> None:
        for gp in (self.gp, self.sceptic):
            if gp is not None:
                gp.set_targets(self._targets(self._used))

    def _update(self, new: list[int]) -> None:
        """The posteriors with new rows, from scratch when a fit is due."""
        if self.gp is None or is_refit_due(self.num_finals):
            self._refit(self._active_rows())
            return
        data = self._data(new)
        self.gp, self.sceptic = (
            self.gp.grown(data.x, data.noise),
            None if self.sceptic is None else self.sceptic.grown(data.x, data.noise),
        )
        self._used = self._used + new

    def fitted(self) -> tuple[NDArray[np.int64], Array]:
        """(k,) history indices of the completed runs among the active rows, and their posterior means: K alpha = y -
        noise N alpha.
        """
        if self.gp is None:
            return np.zeros(0, dtype=np.int64), np.zeros(0)
        means = self._targets(self._used) - self.gp.data.noise.times(self.gp.alpha, self.gp.hyper.noise)
        runs = np.array(self._run)[self._used]
        completed = np.array(self._is_final)[self._used] & (self.gp.data.noise.scale == 1.0)
        return runs[completed], means[completed]

    def _add_rows(self, index: int, observation: Observation, point_unit: Array) -> None:
        assert observation.score is not None
        row = self.features.row(observation.params, point_unit)
        total = self._total_steps(observation)
        share = self.features.completed_share(observation, total)
        if total and self.features.curve_points:
            for part, point in self.features.curve_rows(observation, total):
                if part < share - 1e-9:
                    told = (point.score, point.score_se)
                    self._append(self.features.partial(row, part), told, noise_scale(part), index, is_final=False)
        told = (observation.score, observation.score_se)
        self._append(self.features.partial(row, share), told, noise_scale(share), index, is_final=True)

    def _append(self, row: Array, told: tuple[float, float | None], noise: float, run: int, *, is_final: bool) -> None:
        score, error = told
        self._rows.append(row)
        self._scores.append(score)
        self._errors.append(math.nan if error is None else error)
        self._noise.append(noise)
        self._run.append(run)
        self._is_final.append(is_final)
        self._num_finals += is_final

    def _total_steps(self, observation: Observation) -> float | None:
        total = self.features.total_steps(observation.params)
        if total is None and observation.outcome is Outcome.COMPLETED and observation.curve:
            total = float(observation.curve[-1].env_steps)
            self._totals.append(total)
        if total is None and self._totals:
            total = float(np.median(self._totals))
        return total

    def _active_rows(self) -> list[int]:
        """Final rows up to `MAX_FINAL_ROWS`, then the latest curve rows while there is room."""
        final = np.flatnonzero(self._is_final)
        scores = np.array(self._scores)
        chosen = final[representative(scores[final], MAX_FINAL_ROWS)]
        curves = np.flatnonzero(~np.array(self._is_final))
        room = max(0, MAX_ROWS_WITH_CURVES - len(chosen))
        return sorted([*chosen.tolist(), *(curves[-room:].tolist() if room else [])])

    def _refit(self, used: list[int]) -> None:
        data = self._data(used)
        targets = self._targets(used)
        subset = representative(targets, SCORE_FIT_ROWS)
        if self.trend is not None:
            self.trend = self.trend.reweighted(data, targets, self.hyper)
        if self.num_finals >= 4:
            residual = targets if self.trend is None else targets - self.trend(data.x)
            self.hyper = fit(data.rows(subset), residual[subset], self.hyper)
            if self.trend is not None:
                self.trend = self.trend.reweighted(data, targets, self.hyper)
        gp, sceptic = GaussianProcess.condition(data, self.hyper, self.trend), None
        if not self.features.is_choice.all():
            shorter = self.hyper.lengths * np.where(self.features.is_choice, 1.0, SCEPTIC_LENGTHS)
            sceptic = GaussianProcess.condition(data, replace(self.hyper, lengths=shorter), self.trend)
        self.gp, self.sceptic, self._used = gp, sceptic, used

    def _data(self, rows: list[int]) -> Data:
        noise = Noise(np.array(self._noise)[rows], np.array(self._run)[rows], self._known_variances(rows))
        return Data(np.array([self._rows[i] for i in rows]), noise, self.features.layout)

    def curve_variances(self, points: Sequence[CurvePoint], sign: float) -> Array:
        """(n,) known variances of a running run's points, z; 0 where none was reported."""
        errors = np.array([point.score_se or 0.0 for point in points])
        slope = self.warp.slope(sign * np.array([point.score for point in points]))
        return np.minimum(errors * slope, math.sqrt(LARGEST_KNOWN)) ** 2

    def widened(self, std: Array) -> Array:
        """(m,) deviations of the noiseless score with what the model's own guesses add, for whoever reads an interval.

        Suggestions use them as they are: they compare points, and this changes all alike.
        """
        wide = std * math.sqrt(1.0 + WIDENING * self.features.space.dimension / max(self.num_finals, 1))
        return np.maximum(std, np.minimum(wide, WIDEST))

    def interval(self, mean: Array, std: Array, width: float) -> tuple[Array, Array]:
        """(m,) low and (m,) high ends of `width` widened deviations to each side, as scores of which larger is better.

        Bad scores lose their distances, so that a wide interval of z may reach far below every score that was seen:
        what is added to the model's own interval reaches as far beyond the seen scores as these lie apart, at most.
        """
        finals, half = np.array(self._scores)[self._is_final], width * self.widened(std)
        with np.errstate(over="ignore"):
            reach = np.ptp(finals) or np.inf
            lowest, highest = finals.min() - reach, finals.max() + reach
        lowest = np.minimum(self.warp.inverse(mean - width * std), lowest)
        highest = np.maximum(self.warp.inverse(mean + width * std), highest)
        return np.maximum(self.warp.inverse(mean - half), lowest), np.minimum(self.warp.inverse(mean + half), highest)

    def _known_variances(self, rows: list[int]) -> Array:
        """(n,) of the rows' evaluations, z; where none was reported the median of the others' of its kind."""
        errors, finals = np.array(self._errors), np.array(self._is_final)
        for kind in (finals, ~finals):
            known = errors[kind & ~np.isnan(errors)]
            errors[kind & np.isnan(errors)] = np.median(known) if len(known) else 0.0
        slope = self.warp.slope(np.array(self._scores)[rows])
        return np.minimum(errors[rows] * slope, math.sqrt(LARGEST_KNOWN)) ** 2

    def _targets(self, rows: list[int]) -> Array:
        return self.warp.forward(np.array(self._scores)[rows])


@dataclass
class SuccessModel:
    """Probability that a run does not fail by its hyperparameters: a GP on labels +1 and -1, squashed (least-squares
    classification).
    """

    features: Features
    earlier: tuple[Earlier, ...] = ()
    num_failures: int = 0
    _rows: list[Array] = field(default_factory=list)
    _labels: list[float] = field(default_factory=list)
    _gp: GaussianProcess | None = None
    _hyper: Hyperparameters | None = None
    _base: float = 0.0

    def observe(self, observation: Observation, point_unit: Array) -> None:
        """Learn from a run; infrastructure and code failures must not come here."""
        self.observe_all([(observation, point_unit)])

    def observe_all(self, runs: Sequence[tuple[Observation, Array]]) -> None:
        """Learn from several runs at once."""
        for observation, point_unit in runs:
            self._rows.append(self.features.row(observation.params, point_unit))
            self._labels.append(-1.0 if observation.failure is FailureKind.HYPERPARAMETERS else 1.0)
            self.num_failures += observation.failure is FailureKind.HYPERPARAMETERS
        if self.num_failures:
            self._update()

    def _update(self) -> None:
        labels = np.array(self._labels)
        used = representative(-labels, SUCCESS_ROWS)
        data = Data(np.array(self._rows)[used], Noise.independent(len(used)), self.features.stationary_layout)
        # Two virtual successes: one early failure must not condemn the whole space.
        self._base = float((labels.sum() + 2.0) / (len(labels) + 2.0))
        start = self._hyper or Hyperparameters.prior(self.features.stationary_layout, noise=0.1)
        if self._hyper is None or is_refit_due(len(labels)):
            subset = representative(-labels[used], SCORE_FIT_ROWS)
            self._hyper = fit(data.rows(subset), labels[used][subset] - self._base, start, max_iterations=15)
        self._gp = GaussianProcess.condition(data, self._hyper or start)
        self._gp.set_targets(labels[used] - self._base)

    @property
    def required(self) -> float:
        """Probability below which a point is not suggested: rises from 0.6 with the share of failures among the latest
        runs.

        However promising the far side of a cliff looks, a sweep that keeps falling keeps a growing distance from the
        edge.
        """
        latest = self._labels[-LATEST_RUNS:]
        failed = sum(label < 0 for label in latest) / max(len(latest), LATEST_RUNS // 2)
        return min(0.98, 0.6 + 4.0 * failed)

    def probability(self, rows: Array) -> Array:
        """(m,) probability of success; 1 while nothing has failed, here or in earlier sweeps."""
        before = np.ones(len(rows))
        for known in self.earlier:  # what they know of failures fades as this sweep finds out for itself
            before *= known.success(rows) ** (FAILURE_RUNS / (FAILURE_RUNS + len(self._labels)) / len(self.earlier))
        if self._gp is None:
            return before
        mean, std = self._gp.mean_std(rows)
        spread = np.sqrt(std**2 + self._gp.hyper.noise + 0.01)
        return np.clip(ndtr((mean + self._base) / spread), 1e-6, 1.0) * before
