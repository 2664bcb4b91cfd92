"""Gymnasium environments behind flat buffers."""

from __future__ import annotations

import gymnasium
import numpy as np
import pytest
import torch

from trainables.environments.catalog import GymnasiumFamily
from trainables.environments.gymnasium_block import action_space
from trainables.environments.gymnasium_encoding import FlatEncoder
from trainables.environments.interface import Continuous, Discrete
from trainables.environments.vector import EnvironmentVector, VectorOptions
from trainables.errors import SpecError
from trainables.seeding import TrainingSeeds


def vector(env_id: str, num_envs: int = 4, **options: object) -> EnvironmentVector:
    env = EnvironmentVector(GymnasiumFamily(env_id, options), VectorOptions(num_envs, TrainingSeeds(0, 0, 0)))
    env.reset()
    return env


def test_cartpole_uses_its_vectorised_form_and_masks_the_step_that_only_resets() -> None:
    env = vector("CartPole-v1")
    ended = np.zeros(4, dtype=bool)
    for _ in range(60):
        env.step(np.zeros(4, dtype=np.int64))
        np.testing.assert_array_equal(env.valid, ~ended)
        assert (env.rewards == env.valid).all()
        ended = env.terminals.copy()
    episodes = env.drain_episodes()
    assert len(episodes) >= 16
    assert all(8 <= episode.num_steps <= 11 and episode.score == episode.num_steps for episode in episodes)


def test_other_environments_reset_in_the_same_step_and_keep_the_state_that_a_limit_hid() -> None:
    env = vector("Pendulum-v1", num_envs=2)
    for _ in range(199):
        env.step(np.zeros((2, 1), dtype=np.float32))
    assert not env.truncations.any()
    env.step(np.zeros((2, 1), dtype=np.float32))
    assert env.truncations.all()
    assert env.valid.all()
    assert not np.array_equal(env.final_observations, env.observations)
    assert [episode.num_steps for episode in env.drain_episodes()] == [200, 200]


def test_max_steps_ends_an_episode() -> None:
    family = GymnasiumFamily("CartPole-v1", {"max_steps": 5})
    env = EnvironmentVector(family, VectorOptions(2, TrainingSeeds(0, 0, 0)))
    env.reset()
    for _ in range(5):
        env.step(np.zeros(2, dtype=np.int64))
    assert env.truncations.all()
    assert [episode.num_steps for episode in env.drain_episodes()] == [5, 5]


def test_options_reach_the_environment() -> None:
    slow, fast = vector("Pendulum-v1", g=0.0), vector("Pendulum-v1", g=20.0)
    for env in (slow, fast):
        env.step(np.zeros((4, 1), dtype=np.float32))
    assert not np.array_equal(slow.observations, fast.observations)


def test_the_same_seed_is_the_same_episode() -> None:
    first, second = vector("Acrobot-v1"), vector("Acrobot-v1")
    assert np.array_equal(first.observations, second.observations)
    assert len({row.tobytes() for row in first.observations}) == 4


def test_action_spaces() -> None:
    assert action_space(gymnasium.spaces.Discrete(3)) == Discrete(3)
    assert action_space(gymnasium.spaces.Box(-1, 1, (2, 3))) == Continuous(6)
    with pytest.raises(SpecError, match="MultiDiscrete"):
        action_space(gymnasium.spaces.MultiDiscrete([2, 2]))


def test_observations_become_what_networks_read() -> None:
    assert FlatEncoder(gymnasium.spaces.Discrete(3)).encode(torch.tensor([2, 0])).tolist() == [[0, 0, 1], [1, 0, 0]]
    assert FlatEncoder(gymnasium.spaces.Box(-1, 1, (2, 3))).encode(torch.ones((5, 2, 3))).shape == (5, 6)
    image = FlatEncoder(gymnasium.spaces.Box(0, 255, (84, 80, 3), np.uint8))
    assert image.shape == (3, 84, 80)
    assert image.encode(torch.zeros((5, 84, 80, 3), dtype=torch.uint8)).shape == (5, 3, 84, 80)
    with pytest.raises(SpecError, match="observation space"):
        FlatEncoder(gymnasium.spaces.Text(5))
