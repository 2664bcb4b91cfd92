"""Advice to stop a run early. Conservative: a rule on the scores of comparable runs and the model must both agree.

Never before 20 % of the run; until half of it only the worst 30 % are in danger, then the worse half. What a stopped
run showed stays evidence: it enters the model as a partial observation, not as a failure.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr

from searchers.acquisition_functions import front_values
from searchers.config import ProteinConfig
from searchers.distributions import Array
from searchers.features import noise_scale
from searchers.noise import Noise
from searchers.observation import LARGEST, CurvePoint, Params
from searchers.surrogate_models import SurrogateModels

FIRST_SHARE = 0.2  # earlier a learning rate has hardly fallen and few episodes ended; a round number, not tuned
HALF = 0.5  # where the milder quantile ends; a round number, not tuned
QUANTILE_BEFORE_HALF = 0.3  # milder than the median, since runs may still cross; not tuned
QUANTILE_AFTER_HALF = 0.5  # the median stopping rule (Golovin et al. 2017, Google Vizier)
MIN_COMPARABLE = 5  # fewer give no quantile worth the name; a round number, not tuned
COMPARABLE_FACTOR = 2.0  # runs of half to twice the length are compared; not tuned
MIN_PROBABILITY = 0.05  # a stopped run is wrong in at most 5 % by the model; a round number, not tuned


@dataclass(frozen=True, slots=True)
class RunningCurve:
    """What a running run showed so far.

    Attributes:
        params: its point.
        points: its learning curve so far, increasing in `env_steps`.
        total_env_steps: steps that it will train; 0 = nobody knows.
    """

    params: Params
    points: tuple[CurvePoint, ...]
    total_env_steps: int


@dataclass(frozen=True, slots=True)
class Advice:
    """Whether to stop, and what that rests on.

    Attributes:
        stop: stop the run.
        rule: "nan", "unknown_length", "too_early", "at_its_end", "too_few_runs", "quantile_0.3" or "quantile_0.5".
        share: part of the run that is done.
        threshold: score that the rule asks for; nan when it asks for none.
        value: latest score of the run; nan when there is none.
        probability: that the run ends on the front, by the model; 1 when it was not asked.
        reason: one sentence for the log.
    """

    stop: bool
    rule: str
    share: float
    threshold: float
    value: float
    probability: float
    reason: str


def advise(models: SurrogateModels, config: ProteinConfig, curve: RunningCurve) -> Advice:
    """See the module's text.

    Args:
        models: from the runs that ended.
        config: not used by the rule; the model's settings are in theirs.
        curve: the run in question.
    """
    total = curve.total_env_steps
    share = curve.points[-1].env_steps / total if curve.points and total else 0.0
    value = curve.points[-1].score if curve.points else math.nan
    if curve.points and not abs(value) <= LARGEST:
        return Advice(True, "nan", share, math.nan, value, 0.0, f"score is {value} at {share:.0%} of the run")
    if untimely := _untimely(share, total):
        return Advice(False, untimely[0], share, math.nan, value, 1.0, untimely[1])
    comparable = comparable_scores(models, curve)
    if len(comparable) < MIN_COMPARABLE:
        text = f"{len(comparable)} comparable runs; the rule needs {MIN_COMPARABLE}"
        return Advice(False, "too_few_runs", share, math.nan, value, 1.0, text)
    quantile = QUANTILE_BEFORE_HALF if share < HALF else QUANTILE_AFTER_HALF
    threshold = float(np.quantile(comparable, quantile))
    probability = probability_on_front(models, curve)
    stop = models.sign * value < threshold and probability < MIN_PROBABILITY
    shown = models.sign * threshold
    reason = (
        f"score {value:.4g} at {share:.0%}, threshold {shown:.4g} ({quantile:g} quantile of {len(comparable)} runs), "
        f"chance to end on the front {probability:.1%} (stops below {MIN_PROBABILITY:.0%} if both agree)"
    )
    return Advice(stop, f"quantile_{quantile:g}", share, shown, value, probability, reason)


def _untimely(share: float, total_env_steps: int) -> tuple[str, str] | None:
    """Rule and reason where it is no time to stop anything."""
    if not total_env_steps:
        return "unknown_length", "nobody knows how long the run is"
    if share < FIRST_SHARE:
        return "too_early", f"only {share:.0%} of the run is done; no advice before {FIRST_SHARE:.0%}"
    if share >= 1:  # its last report: to stop it would save nothing, and lose what it does after that
        return "at_its_end", f"{share:.0%} of the run is done; there is nothing left to stop"
    return None


def comparable_scores(models: SurrogateModels, curve: RunningCurve) -> Array:
    """Scores (larger is better) of runs of similar length when they had trained as many steps."""
    steps = curve.points[-1].env_steps
    found = []
    for observation in models.observations:
        total = models.features.total_steps(observation.params) or (
            observation.curve[-1].env_steps if observation.curve else None
        )
        if not observation.curve or not total or observation.curve[-1].env_steps < steps:
            continue
        if 1 / COMPARABLE_FACTOR <= total / curve.total_env_steps <= COMPARABLE_FACTOR:
            points = observation.curve
            found.append(
                models.sign * float(np.interp(steps, [p.env_steps for p in points], [p.score for p in points]))
            )
    return np.array(found)


def probability_on_front(models: SurrogateModels, curve: RunningCurve) -> float:
    """Chance that the finished run beats the front at its own predicted cost, given its curve so far; 1 without a
    model.
    """
    gp = models.score.gp
    if gp is None or not models.has_completed:
        return 1.0
    point = models.space.embed(curve.params)[None]
    full = models.features.full(point)
    shares = [p.env_steps / curve.total_env_steps for p in curve.points]
    useful = [
        i for i, share in enumerate(shares) if share >= FIRST_SHARE / 2 and abs(curve.points[i].score) <= LARGEST
    ][-4:]
    if useful and models.features.curve_points:
        rows = np.array([models.features.partial(full[0], shares[i]) for i in useful])
        scores = models.score.warp.forward(models.sign * np.array([curve.points[i].score for i in useful]))
        scale = np.array([noise_scale(shares[i]) for i in useful])
        known = models.score.curve_variances([curve.points[i] for i in useful], models.sign)
        noise = Noise(scale, np.zeros(len(useful), dtype=np.int64), known)
        gp = gp.informed(rows, noise, scores)
    mean, std = gp.mean_std(full)
    evaluated = models.evaluated
    front = evaluated.front
    # A run cheaper than every other is on the front whatever its score: then only the cheapest point's score is asked
    # of it.
    best = front_values(
        evaluated.log_cost[front], evaluated.mean[front], models.log_cost(full), float(evaluated.mean[front][0])
    )
    return float(ndtr((mean[0] - best[0]) / std[0]))
