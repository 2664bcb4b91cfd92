"""Atari games at the speed of the emulator's own C++ vector, which also does the usual preprocessing: 84 x 84 grey, 4
frames stacked and skipped.

Needs `ale-py` (GPL-2.0), which is not installed with this package: `pip install "metta_sweep[atari]"`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from trainables.environments.interface import NEEDS_ALE, ActionSpace, Discrete, Encoder, Episode, GridShape
from trainables.errors import Problem, SpecError
from trainables.seeding import EpisodeSeeds


class ImageEncoder:
    """Images stay as they are: the network scales them."""

    dtype = torch.uint8
    grid: GridShape | None = None

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.shape = shape

    def encode(self, observations: torch.Tensor) -> torch.Tensor:
        return observations


class AtariVector:
    """N copies of one game; see `VectorEnvironment`. The score is the game's own, training rewards are their signs."""

    agents_per_env = 1

    def __init__(
        self, game: str, options: Mapping[str, Any], num_envs: int, seeds: EpisodeSeeds, num_threads: int
    ) -> None:
        vector = _vector_class()
        self.num_envs, self._seeds, self._game = num_envs, seeds, game
        # Rewards are clipped here and not there, so that the score can be counted.
        self._env = vector(game, num_envs=num_envs, num_threads=num_threads, reward_clipping=False, **options)
        self.action_space: ActionSpace = Discrete(int(self._env.single_action_space.n))
        shape = tuple(self._env.single_observation_space.shape)
        self.encoder: Encoder = ImageEncoder(shape)
        self.observations = np.zeros((num_envs, *shape), dtype=np.uint8)
        self._final = np.zeros_like(self.observations)
        self.rewards = np.zeros(num_envs, dtype=np.float32)
        self.terminals = np.zeros(num_envs, dtype=bool)
        self.truncations = np.zeros(num_envs, dtype=bool)
        self.valid = np.ones(num_envs, dtype=bool)
        self._scores = np.zeros(num_envs)
        self._shaped = np.zeros(num_envs)
        self._lengths = np.zeros(num_envs, dtype=np.int64)
        self._numbers = np.zeros(num_envs, dtype=np.int64)
        self._finished: list[Episode] = []

    def reset(self) -> None:
        words = np.array(
            [int(self._seeds(env, 0).generate_state(1)[0] >> np.uint32(1)) for env in range(self.num_envs)],
            dtype=np.int32,
        )
        self.observations[...], _ = self._env.reset(seed=words)
        for counter in (self._scores, self._shaped, self._lengths, self._numbers):
            counter[:] = 0
        self.terminals[:], self.truncations[:], self.valid[:] = False, False, True

    def step(self, actions: np.ndarray) -> None:
        resetting = self.terminals | self.truncations
        observations, rewards, terminals, truncations, _ = self._env.step(np.asarray(actions, dtype=np.int64))
        self.observations[...] = observations
        self._final[...] = observations  # the reset comes with the next step
        self.terminals[:], self.truncations[:] = terminals, truncations & ~terminals
        np.logical_not(resetting, out=self.valid)
        self.rewards[:] = np.sign(rewards)
        self._count_episodes(rewards)

    def _count_episodes(self, rewards: np.ndarray) -> None:
        self._scores += rewards
        self._shaped += self.rewards
        self._lengths += self.valid
        for env in np.flatnonzero(self.terminals | self.truncations):
            self._finished.append(
                Episode(
                    env=int(env),
                    number=int(self._numbers[env]),
                    task=self._game,
                    num_steps=int(self._lengths[env]),
                    score=float(self._scores[env]),
                    shaped_return=float(self._shaped[env]),
                )
            )
            self._scores[env], self._shaped[env], self._lengths[env] = 0.0, 0.0, 0
            self._numbers[env] += 1

    def final_observations(self) -> np.ndarray:
        return self._final

    def drain_episodes(self) -> list[Episode]:
        finished, self._finished = self._finished, []
        return finished

    def close(self) -> None:
        self._env.close()


def _vector_class() -> Any:
    try:
        from ale_py.vector_env import AtariVectorEnv
    except ImportError as error:
        raise SpecError(Problem("trainer.curriculum", NEEDS_ALE)) from error
    return AtariVectorEnv
