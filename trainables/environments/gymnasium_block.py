"""Any gymnasium environment by id in flat buffers: one agent per environment.

Uses the environment's own vectorised implementation where gymnasium has one (CartPole: ten times faster), else a loop
in this process.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

import gymnasium
import numpy as np
from gymnasium.vector import AutoresetMode

from trainables.environments.interface import ActionSpace, BlockOptions, Buffers, Continuous, Discrete
from trainables.errors import Problem, SpecError


class GymnasiumBlock:
    """N copies of one environment in one process; see `EnvironmentBlock`.

    The stream of its first episode seeds each copy, which draws all its episodes from that.
    """

    def __init__(self, env_id: str, settings: Mapping[str, Any], options: BlockOptions, buffers: Buffers) -> None:
        self._options, self._buffers = options, buffers
        self._env = _make(env_id, settings, options.num_envs)
        self._resets_in_same_step = self._env.metadata.get("autoreset_mode") == AutoresetMode.SAME_STEP
        self._action_space = action_space(self._env.single_action_space)
        self._returns = np.zeros(options.num_envs)
        self._lengths = np.zeros(options.num_envs, dtype=np.int64)

    def reset(self) -> None:
        words = self._options.first_seeds()
        # A vectorised implementation has one generator for all copies and takes one number.
        seed: Any = (
            words if isinstance(self._env, gymnasium.vector.SyncVectorEnv) else int(np.bitwise_xor.reduce(words))
        )
        self._buffers.clear()
        self._buffers.observations[...], _ = self._env.reset(seed=seed)
        self._returns[:], self._lengths[:] = 0.0, 0

    def step(self) -> None:
        buffers = self._buffers
        resetting = buffers.terminals | buffers.truncations
        observations, rewards, terminals, truncations, infos = self._env.step(self._actions())
        buffers.observations[...] = observations
        buffers.rewards[:] = rewards
        buffers.terminals[:] = terminals
        buffers.truncations[:] = truncations & ~terminals
        if self._resets_in_same_step:
            if "final_obs" in infos:
                for env in np.flatnonzero(buffers.truncations):
                    buffers.final_observations[env] = infos["final_obs"][env]
        else:
            buffers.final_observations[...] = observations  # the reset comes with the next step
            np.logical_not(resetting, out=buffers.valid)
        self._count_episodes()

    def _actions(self) -> np.ndarray:
        if not isinstance(self._action_space, Continuous):
            return self._buffers.actions.astype(np.int64)
        space: Any = self._env.single_action_space
        clipped: np.ndarray = np.clip(self._buffers.actions, space.low.reshape(-1), space.high.reshape(-1))
        return clipped.reshape(self._options.num_envs, *space.shape)

    def _count_episodes(self) -> None:
        buffers = self._buffers
        self._returns += buffers.rewards
        self._lengths += buffers.valid
        for env in np.flatnonzero(buffers.terminals | buffers.truncations):
            total = float(self._returns[env])
            buffers.note_episode(int(env), num_steps=int(self._lengths[env]), score=total, shaped_return=total)
            self._returns[env], self._lengths[env] = 0.0, 0

    def take_stats(self) -> Mapping[int, Mapping[str, float]]:
        return {}

    def close(self) -> None:
        self._env.close()


def is_vectorised(env_id: str, settings: Mapping[str, Any]) -> bool:
    """Whether all copies live in one implementation of the environment's own, with one generator for all of them."""
    return not settings and gymnasium.spec(_registered(env_id)).vector_entry_point is not None


def single_spaces(env_id: str, settings: Mapping[str, Any]) -> tuple[gymnasium.Space[Any], gymnasium.Space[Any]]:
    """Observation and action space of one copy."""
    env = _make(env_id, settings, 1)
    try:
        return env.single_observation_space, env.single_action_space
    finally:
        env.close()


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


def _make(env_id: str, settings: Mapping[str, Any], num_envs: int) -> gymnasium.vector.VectorEnv[Any, Any, Any]:
    name = _registered(env_id)
    if is_vectorised(env_id, settings):
        return gymnasium.make_vec(name, num_envs, vectorization_mode="vector_entry_point")
    return gymnasium.make_vec(
        name,
        num_envs,
        vectorization_mode="sync",
        vector_kwargs={"autoreset_mode": AutoresetMode.SAME_STEP},
        **settings,
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
