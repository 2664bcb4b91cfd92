"""Any gymnasium environment by id, behind the flat buffers of `VectorEnvironment`: one agent per environment.

Uses the environment's own vectorised implementation where gymnasium has one (CartPole: ten times faster), else a loop
in this process.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

import gymnasium
import numpy as np
import torch
from gymnasium.vector import AutoresetMode

from trainables.environments.interface import ActionSpace, Continuous, Discrete, Encoder, Episode, GridShape
from trainables.errors import Problem, SpecError
from trainables.seeding import EpisodeSeeds


class FlatEncoder:
    """Observations as flat float32 vectors; a discrete observation becomes one-hot; images stay uint8, channels
    first.
    """

    grid: GridShape | None = None

    def __init__(self, space: gymnasium.Space[Any]) -> None:
        self._one_hot = int(space.n) if isinstance(space, gymnasium.spaces.Discrete) else 0
        if self._one_hot:
            self.shape: tuple[int, ...] = (self._one_hot,)
        elif isinstance(space, gymnasium.spaces.Box):
            self.shape = (int(np.prod(space.shape)),)
        else:
            raise SpecError(
                Problem(
                    "env", f"observation space {space} is not supported; use an environment with a Box or Discrete one"
                )
            )
        self._image = isinstance(space, gymnasium.spaces.Box) and space.dtype == np.uint8 and len(space.shape) == 3
        self.dtype = torch.uint8 if self._image else torch.float32
        if self._image:
            height, width, channels = space.shape
            self.shape = (channels, height, width)

    def encode(self, observations: torch.Tensor) -> torch.Tensor:
        if self._one_hot:
            return torch.nn.functional.one_hot(observations.long(), self._one_hot).float()
        if self._image:
            return observations.permute(0, 3, 1, 2)
        return observations.reshape(observations.shape[0], -1).float()


class GymnasiumVector:
    """N copies of one environment; see `VectorEnvironment`.

    `seeds` gives each copy its first stream, from which it draws all its episodes.
    """

    agents_per_env = 1

    def __init__(self, env_id: str, options: Mapping[str, Any], num_envs: int, seeds: EpisodeSeeds) -> None:
        self.num_envs = num_envs
        self._id, self._seeds = env_id, seeds
        self._env = _make(env_id, options, num_envs)
        self._resets_in_same_step = self._env.metadata.get("autoreset_mode") == AutoresetMode.SAME_STEP
        self.action_space = action_space(self._env.single_action_space)
        self.encoder: Encoder = FlatEncoder(self._env.single_observation_space)
        space = self._env.single_observation_space
        shape, dtype = ((), np.int64) if isinstance(space, gymnasium.spaces.Discrete) else (space.shape, space.dtype)
        self.observations = np.zeros((num_envs, *(shape or ())), dtype=dtype)
        self._final = np.zeros_like(self.observations)
        self.rewards = np.zeros(num_envs, dtype=np.float32)
        self.terminals = np.zeros(num_envs, dtype=bool)
        self.truncations = np.zeros(num_envs, dtype=bool)
        self.valid = np.ones(num_envs, dtype=bool)
        self._returns = np.zeros(num_envs)
        self._lengths = np.zeros(num_envs, dtype=np.int64)
        self._numbers = np.zeros(num_envs, dtype=np.int64)
        self._finished: list[Episode] = []

    def reset(self) -> None:
        words = [int(self._seeds(env, 0).generate_state(1)[0] >> np.uint32(1)) for env in range(self.num_envs)]
        # A vectorised implementation has one generator for all copies and takes one number.
        seed: Any = (
            words if isinstance(self._env, gymnasium.vector.SyncVectorEnv) else int(np.bitwise_xor.reduce(words))
        )
        self.observations[...], _ = self._env.reset(seed=seed)
        self._returns[:], self._lengths[:], self._numbers[:] = 0.0, 0, 0
        self.terminals[:], self.truncations[:], self.valid[:] = False, False, True

    def step(self, actions: np.ndarray) -> None:
        if isinstance(self.action_space, Continuous):
            space = self._env.single_action_space
            actions = np.clip(actions, space.low.reshape(-1), space.high.reshape(-1)).reshape(
                self.num_envs, *space.shape
            )
        resetting = self.terminals | self.truncations
        observations, rewards, terminals, truncations, infos = self._env.step(actions)
        self.observations[...] = observations
        self.rewards[:] = rewards
        self.terminals[:] = terminals
        self.truncations[:] = truncations & ~terminals
        if self._resets_in_same_step:
            if "final_obs" in infos:
                for env in np.flatnonzero(self.truncations):
                    self._final[env] = infos["final_obs"][env]
        else:
            self._final[...] = observations  # the reset comes with the next step
            np.logical_not(resetting, out=self.valid)
        self._count_episodes()

    def _count_episodes(self) -> None:
        self._returns += self.rewards
        self._lengths += self.valid
        for env in np.flatnonzero(self.terminals | self.truncations):
            total, length, number = float(self._returns[env]), int(self._lengths[env]), int(self._numbers[env])
            self._finished.append(
                Episode(env=int(env), number=number, task=self._id, num_steps=length, score=total, shaped_return=total)
            )
            self._returns[env], self._lengths[env] = 0.0, 0
            self._numbers[env] += 1

    def final_observations(self) -> np.ndarray:
        return self._final

    def drain_episodes(self) -> list[Episode]:
        finished, self._finished = self._finished, []
        return finished

    def close(self) -> None:
        self._env.close()


def step_limit(env_id: str) -> int | None:
    """The time limit that an environment was registered with, in steps of an episode."""
    limit: int | None = gymnasium.spec(_registered(env_id)).max_episode_steps
    return limit


def _registered(env_id: str) -> str:
    """The id without its module: `package.module:Id-v0` says which module registers the environment."""
    module, _, env_id = env_id.rpartition(":")
    if module:
        importlib.import_module(module)
    return env_id


def _make(env_id: str, options: Mapping[str, Any], num_envs: int) -> gymnasium.vector.VectorEnv[Any, Any, Any]:
    env_id = _registered(env_id)
    if not options and gymnasium.spec(env_id).vector_entry_point is not None:
        return gymnasium.make_vec(env_id, num_envs, vectorization_mode="vector_entry_point")
    return gymnasium.make_vec(
        env_id,
        num_envs,
        vectorization_mode="sync",
        vector_kwargs={"autoreset_mode": AutoresetMode.SAME_STEP},
        **options,
    )


def action_space(space: gymnasium.Space[Any]) -> ActionSpace:
    """Our description of a gymnasium action space.

    Raises:
        SpecError: neither Discrete (from 0) nor a Box.
    """
    if isinstance(space, gymnasium.spaces.Discrete) and space.start == 0:
        return Discrete(int(space.n))
    if isinstance(space, gymnasium.spaces.Box):
        return Continuous(int(np.prod(space.shape)))
    raise SpecError(
        Problem("env", f"action space {space} is not supported; use an environment with a Box or Discrete one")
    )
