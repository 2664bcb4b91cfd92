"""`model.learn(steps, callback=StableBaselinesReport())`: stable-baselines3 reports to a sweep."""

from __future__ import annotations

import math

from stable_baselines3.common.callbacks import BaseCallback, EvalCallback

from trainables.report import report


class StableBaselinesReport(BaseCallback):  # type: ignore[misc]  # the library is not typed for us
    """Reports the mean return of the last episodes in training.

    As `EvalCallback(env, callback_after_eval=StableBaselinesReport())` it reports each evaluation instead.

    Args:
        every: environment steps between reports of training.
    """

    def __init__(self, every: int = 1000) -> None:
        super().__init__()
        self._every, self._reported = every, 0

    def _on_step(self) -> bool:
        if isinstance(self.parent, EvalCallback):
            self._report(float(self.parent.last_mean_reward))
        elif self.num_timesteps - self._reported >= self._every:
            self._report(self._mean_return())
        return True

    def _on_training_end(self) -> None:
        if not isinstance(self.parent, EvalCallback):
            self._report(self._mean_return())

    def _mean_return(self) -> float:
        """NaN before the first episode ended."""
        returns = [episode["r"] for episode in self.model.ep_info_buffer or ()]
        return sum(returns) / len(returns) if returns else math.nan

    def _report(self, score: float) -> None:
        if math.isfinite(score):
            self._reported = self.num_timesteps
            report(score=score, step=self.num_timesteps)
