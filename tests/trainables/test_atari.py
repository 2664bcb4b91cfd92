"""Atari through the emulator's own vector; needs the extra `atari`."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.trainables.test_trainer import Recorder, train
from trainables.environments.catalog import AtariFamily
from trainables.environments.interface import Discrete
from trainables.environments.vector import EnvironmentVector, VectorOptions
from trainables.seeding import EvaluationSeeds, TrainingSeeds
from trainables.simulation.play import Share, play
from trainables.spec import RunSpec

pytest.importorskip("ale_py.vector_env", reason="ale-py is GPL-2.0, so an extra: pip install metta_sweep[atari]")
SHORT = {"max_num_frames_per_episode": 400}


def run_of(**trainer: Any) -> dict[str, Any]:
    small = {"total_timesteps": 256, "batch_size": 128, "minibatch_size": 64, "update_epochs": 1, "num_envs": 4}
    section = {"curriculum": "/env/atari/pong", "simulation": {"curve_points": 0}, **small, **trainer}
    return {"trainer": section, "env": SHORT, "model": {"type": "cnn", "hidden_size": 32}, "sim": {"episodes": 2}}


def test_pong_has_stacked_frames_six_actions_and_clipped_rewards() -> None:
    env = EnvironmentVector(AtariFamily("pong", SHORT), VectorOptions(2, EvaluationSeeds(0, (0, 1))))
    env.reset()
    assert env.description.action_space == Discrete(6)
    assert (env.observations.shape, env.observations.dtype) == ((2, 4, 84, 84), np.uint8)
    rewards = []
    for _ in range(100):  # four frames each
        env.step(np.zeros(2, dtype=np.int64))
        rewards.append(env.rewards.copy())
    env.close()
    episodes = env.drain_episodes()
    assert {episode.env for episode in episodes} == {0, 1}
    assert set(np.unique(rewards)) <= {-1.0, 0.0, 1.0}
    assert all(episode.score <= 0 for episode in episodes)  # nobody moved the paddle


def test_pong_trains_and_is_evaluated() -> None:
    host = Recorder()
    trainer = train(run_of(), host)
    assert [progress.env_steps for progress in host.progress] == [128, 256]
    assert all(np.isfinite(list(progress.losses.values())).all() for progress in host.progress)
    spec = RunSpec.from_mapping(run_of())
    assert len(play(spec.suite, trainer.policy, Share())) == 2


def test_seeds_name_episodes() -> None:
    def first_frames(seed: int) -> np.ndarray:
        env = EnvironmentVector(AtariFamily("pong", SHORT), VectorOptions(1, TrainingSeeds(seed, 0, 0)))
        env.reset()
        for _ in range(20):
            env.step(np.array([2]))
        env.close()
        return env.observations.copy()

    assert np.array_equal(first_frames(1), first_frames(1))


def test_the_step_after_an_episode_only_resets_and_counts_for_nothing() -> None:
    env = EnvironmentVector(AtariFamily("pong", SHORT), VectorOptions(1, EvaluationSeeds(0, (0,))))
    env.reset()
    valid = []
    while len(episodes := env.drain_episodes()) == 0:
        env.step(np.zeros(1, dtype=np.int64))
        valid.append(bool(env.valid[0]))
    env.step(np.zeros(1, dtype=np.int64))
    env.close()
    assert episodes[0].num_steps == len(valid) == sum(valid)
    assert not env.valid[0]
