"""Atari games at the speed of the emulator's own C++ vector, which also does the usual preprocessing: 84 x 84 grey, 4
frames stacked and skipped.

Needs `ale-py` (GPL-2.0), which is not installed with this package: `pip install "metta_sweep[atari]"`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from trainables.environments.interface import NEEDS_ALE, BlockOptions, Buffers
from trainables.errors import Problem, SpecError


class AtariBlock:
    """N copies of one game in one process; see `EnvironmentBlock`.

    The score is the game's own, training rewards are their signs.
    """

    def __init__(self, game: str, settings: Mapping[str, Any], options: BlockOptions, buffers: Buffers) -> None:
        self._options, self._buffers = options, buffers
        self._env = make_games(game, settings, options.num_envs)
        self._scores, self._shaped = np.zeros((2, options.num_envs))
        self._lengths = np.zeros(options.num_envs, dtype=np.int64)

    def reset(self) -> None:
        self._buffers.clear()
        seeds = np.array(self._options.first_seeds(), dtype=np.int32)
        self._buffers.observations[...], _ = self._env.reset(seed=seeds)
        for counter in (self._scores, self._shaped, self._lengths):
            counter[:] = 0

    def step(self) -> None:
        buffers = self._buffers
        resetting = buffers.terminals | buffers.truncations
        observations, rewards, terminals, truncations, _ = self._env.step(buffers.actions.astype(np.int64))
        buffers.observations[...] = observations
        buffers.final_observations[...] = observations  # the reset comes with the next step
        buffers.terminals[:], buffers.truncations[:] = terminals, truncations & ~terminals
        np.logical_not(resetting, out=buffers.valid)
        buffers.rewards[:] = np.sign(rewards)
        self._count_episodes(rewards)

    def _count_episodes(self, rewards: np.ndarray) -> None:
        buffers = self._buffers
        self._scores += rewards
        self._shaped += buffers.rewards
        self._lengths += buffers.valid
        for env in np.flatnonzero(buffers.terminals | buffers.truncations):
            buffers.note_episode(
                int(env),
                num_steps=int(self._lengths[env]),
                score=float(self._scores[env]),
                shaped_return=float(self._shaped[env]),
            )
            self._scores[env], self._shaped[env], self._lengths[env] = 0.0, 0.0, 0

    def take_stats(self) -> Mapping[int, Mapping[str, float]]:
        return {}

    def close(self) -> None:
        self._env.close()


def make_games(game: str, settings: Mapping[str, Any], num_envs: int) -> Any:
    """The emulator's vector. One thread each: several processes step several blocks.

    Raises:
        SpecError: the emulator is not installed.
    """
    try:
        from ale_py.vector_env import AtariVectorEnv
    except ImportError as error:
        raise SpecError(Problem("trainer.curriculum", NEEDS_ALE)) from error
    # Rewards are clipped by us and not there, so that the score can be counted.
    return AtariVectorEnv(game, num_envs=num_envs, num_threads=1, reward_clipping=False, **settings)
