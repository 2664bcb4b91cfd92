"""An environment of one's own: an agent on a line moves to a target. Importing this module registers it."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np

Observed = tuple[np.ndarray, dict[str, Any]]


class TargetEnv(gymnasium.Env[np.ndarray, np.int64]):
    """Left, stay or right; the reward is 1 on the target.

    Args:
        step_size: how far one step goes.
    """

    observation_space = gymnasium.spaces.Box(-1.0, 1.0, (2,), np.float32)
    action_space = gymnasium.spaces.Discrete(3)

    def __init__(self, step_size: float = 0.1) -> None:
        self._step_size = step_size
        self._place = self._target = 0.0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Observed:
        super().reset(seed=seed, options=options)
        self._place, self._target = self.np_random.uniform(-1.0, 1.0, 2)
        return self._seen(), {}

    def step(self, action: np.int64) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        self._place = float(np.clip(self._place + (int(action) - 1) * self._step_size, -1.0, 1.0))
        return self._seen(), float(abs(self._place - self._target) < self._step_size), False, False, {}

    def _seen(self) -> np.ndarray:
        return np.array([self._place, self._target], np.float32)


gymnasium.register("Target-v0", entry_point=TargetEnv, max_episode_steps=40)
