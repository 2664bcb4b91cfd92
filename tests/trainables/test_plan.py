"""Sizes that a run really uses."""

from __future__ import annotations

import pytest

from trainables.ppo.config import TrainerConfig
from trainables.ppo.plan import TrainingPlan, curve_updates, plan


def test_the_default_run_is_32_updates_of_64_steps() -> None:
    assert plan(TrainerConfig(), agents_per_env=4, world_size=1) == TrainingPlan(
        num_envs=32, rows=128, horizon=64, batch_size=8192, num_minibatches=4, bptt_horizon=16, num_updates=32
    )


def test_sizes_are_global_so_ranks_share_them() -> None:
    shared = plan(TrainerConfig(), agents_per_env=4, world_size=2)
    assert (shared.num_envs, shared.rows, shared.horizon, shared.batch_size, shared.num_updates) == (
        16,
        64,
        64,
        8192,
        32,
    )


@pytest.mark.parametrize(
    "trainer",
    [
        TrainerConfig(total_timesteps=1, batch_size=1, minibatch_size=4096, num_envs=1),
        TrainerConfig(total_timesteps=300_001, batch_size=5000, minibatch_size=777, num_envs=7, bptt_horizon=13),
        TrainerConfig(batch_size=256, minibatch_size=1, num_envs=1000),
    ],
)
@pytest.mark.parametrize("world_size", [1, 3])
def test_whatever_a_search_proposes_becomes_whole_numbers(trainer: TrainerConfig, world_size: int) -> None:
    sizes = plan(trainer, agents_per_env=4, world_size=world_size)
    assert sizes.batch_size == sizes.horizon * sizes.rows * world_size
    assert sizes.horizon % sizes.bptt_horizon == 0
    assert 1 <= sizes.num_minibatches <= sizes.horizon * sizes.rows
    assert sizes.num_updates >= 1


def test_total_timesteps_are_rounded_to_whole_updates() -> None:
    assert plan(TrainerConfig(total_timesteps=20_000), 4, 1).total_env_steps == 16_384
    assert plan(TrainerConfig(total_timesteps=100), 4, 1).total_env_steps == 8192


def test_curve_points_halve_the_run_and_leave_the_end_to_the_evaluation() -> None:
    assert curve_updates(32, num_points=4, interval=0) == {2, 4, 8, 16}
    assert curve_updates(1, num_points=4, interval=0) == frozenset()
    assert curve_updates(10, num_points=0, interval=4) == {4, 8}
