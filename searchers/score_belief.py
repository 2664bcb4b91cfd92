"""What all scores of a sweep together say about its points: one fit, whatever order they came in.

The optimiser's own models also depend on the phase that they serve and on the order of the history; a verdict on a
sweep must not.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr

from searchers.acquisition_functions import expected_improvement
from searchers.distributions import Array
from searchers.features import Features
from searchers.observation import Interval, Observation, Outcome, Params
from searchers.protein import Goal
from searchers.space import Space
from searchers.surrogate_models import SurrogateModels

logger = logging.getLogger(__name__)

SMALLEST_VARIANCE = 1e-12  # of a difference, z: what rounding leaves of two points that are one


@dataclass(frozen=True, slots=True)
class Lead:
    """One point against m others; all (m,).

    Attributes:
        chance: that the other is better.
        gain: what is expected to be won by knowing which is, z.
        variance: of the difference, z.
    """

    chance: Array
    gain: Array
    variance: Array


@dataclass(frozen=True)
class ScoreBelief:
    """Posterior of the noiseless score over a space.

    Attributes:
        models: fitted to the completed runs at once.
    """

    models: SurrogateModels

    @classmethod
    def of(
        cls, space: Space, goal: Goal, observations: Sequence[Observation], fidelity: str | None = None
    ) -> ScoreBelief | None:
        """Fit to the completed runs among `observations`; None without one, without a free parameter, or when the
        model cannot be factorised.

        Args:
            space: where the runs lie; what they lack takes the search centre's value.
            goal: direction of the score.
            observations: in the order of the history.
            fidelity: parameter that sets the training length; None = `trainer.total_timesteps` when it is searched.
        """
        done = [one for one in observations if one.outcome is Outcome.COMPLETED]
        if not done or not space.dimension:
            return None
        models = SurrogateModels(space, Features.of(space, fidelity, 0), 1.0 if goal == "maximize" else -1.0)
        try:
            models.learn_scores(done)
        except np.linalg.LinAlgError:
            logger.warning("the model of %d scores could not be factorised", len(done))
            return None
        return cls(models)

    def intervals(self, points: Sequence[Params]) -> list[Interval]:
        """Noiseless score of each point with its central 90 % interval, in the sweep's own direction."""
        gp = self.models.score.gp
        if gp is None or not points:
            return []
        return self.models.score_intervals(*gp.mean_std(self._rows(points)))

    def lead(self, first: Params, others: Sequence[Params]) -> Lead:
        """How surely the first point is better than each of m others."""
        gp = self.models.score.gp
        assert gp is not None  # `of` made it
        rows = self._rows(others)
        pair = gp.paired(np.repeat(self._rows([first]), len(rows), axis=0), rows)
        mean, std = gp.mean_std(rows)
        variance = np.maximum(pair.variance + std**2 - 2.0 * pair.covariance, SMALLEST_VARIANCE)
        ahead, spread = mean - pair.mean, self.models.score.widened(np.sqrt(variance))
        return Lead(ndtr(ahead / spread), expected_improvement(ahead, spread, 0.0), spread**2)

    @property
    def noise_variance(self) -> float:
        """Variance between runs of one point: what seeds add and what evaluations do; z."""
        gp = self.models.score.gp
        assert gp is not None
        return gp.run_noise

    def _rows(self, points: Sequence[Params]) -> Array:
        space = self.models.space
        return self.models.features.full(np.array([space.embed(params) for params in points]))
