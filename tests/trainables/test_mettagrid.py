"""MettaGrid behind flat buffers: against the library's own slow path, by hand, and for determinism."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from trainables.environments.catalog import MettaGridFamily
from trainables.environments.interface import Discrete
from trainables.environments.mettagrid_encoding import TokenEncoder
from trainables.environments.mettagrid_game import game_config
from trainables.environments.mettagrid_tasks import MAX_WALL_SHARE, TASKS, Task, num_placed, random_map, task_problems
from trainables.environments.vector import EnvironmentVector, VectorOptions
from trainables.seeding import EvaluationSeeds, TrainingSeeds
from trainables.simulation.replay import library_simulation

SMALL = Task(max_steps=10)


def vector(
    task: Task = SMALL, num_envs: int = 3, name: str = "arena/basic", seed: int = 0, **options: object
) -> EnvironmentVector:
    family = MettaGridFamily(((name, task),))
    env = EnvironmentVector(family, VectorOptions(num_envs, TrainingSeeds(seed, 0, 0), **options))
    env.reset()
    return env


def random_steps(env: EnvironmentVector, steps: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    observations, rewards = [], []
    for _ in range(steps):
        env.step(rng.integers(0, 5, len(env.rewards)))
        observations.append(env.observations.copy())
        rewards.append(env.rewards.copy())
    return np.stack(observations), np.stack(rewards)


@pytest.mark.parametrize("name", TASKS)
def test_every_task_is_sound_and_pays_hearts_to_a_random_policy(name: str) -> None:
    assert task_problems("env", TASKS[name]) == []
    env = vector(TASKS[name], num_envs=32, name=name)
    random_steps(env, TASKS[name].max_steps)
    assert env.description.action_space == Discrete(5)
    score = np.mean([episode.score for episode in env.drain_episodes()])
    assert 0.0 < score < 12.0, score


def test_the_fast_path_is_the_librarys_own_simulation() -> None:
    task, seeds = SMALL, EvaluationSeeds(3, (5,))
    env = EnvironmentVector(MettaGridFamily((("arena/basic", task),)), VectorOptions(1, seeds))
    env.reset()
    reference = library_simulation(task, seeds(0, 0))
    rng = np.random.default_rng(0)
    for _ in range(task.max_steps - 1):
        np.testing.assert_array_equal(env.observations, reference._c_sim.observations())
        actions = rng.integers(0, 5, 4)
        reference._c_sim.actions()[:] = actions
        reference.step()
        env.step(actions)
        np.testing.assert_array_equal(env.rewards, reference._c_sim.rewards())


def test_the_same_seed_is_the_same_episode_and_another_seed_is_not() -> None:
    first, again, other = (random_steps(vector(seed=seed), 25)[0] for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_an_episode_ends_by_its_limit_with_the_state_that_the_limit_hid() -> None:
    env = vector(num_envs=2)
    random_steps(env, SMALL.max_steps - 1)
    assert not env.truncations.any()
    before = env.observations.copy()
    env.step(np.zeros(8, dtype=np.int64))
    assert env.truncations.all()
    assert not env.terminals.any()
    # Noop changes neither cells nor inventories: what was hidden looks like the step before, what is shown is another
    # map.
    kinds = {tuple(token) for token in before[0] if token[1] == 6}
    assert {tuple(token) for token in env.final_observations[0] if token[1] == 6} == kinds
    assert not np.array_equal(env.final_observations, env.observations)


def test_first_episodes_are_staggered_so_that_resets_are_spread() -> None:
    env = vector(num_envs=5, stagger=True)
    ends = []
    for _ in range(10):
        env.step(np.zeros(20, dtype=np.int64))
        ends.append(int(env.truncations.sum()) // 4)
    assert ends == [0, 1, 0, 1, 0, 1, 0, 1, 0, 1]


def test_score_counts_hearts_and_not_the_shaping() -> None:
    shaped, plain = SMALL, replace(SMALL, ore_reward=0.0, battery_reward=0.0)
    long = {"max_steps": 200}
    episodes = []
    for task in (shaped, plain):
        env = vector(replace(task, **long), num_envs=8)
        random_steps(env, 200)
        episodes.append(env.drain_episodes())
    assert [e.score for e in episodes[0]] == [e.score for e in episodes[1]]
    assert all(plain.shaped_return == pytest.approx(plain.score) for plain in episodes[1])
    assert sum(e.shaped_return for e in episodes[0]) > sum(e.shaped_return for e in episodes[1])


def test_difficulty_builds_walls() -> None:
    counts = [num_placed(replace(SMALL, difficulty=difficulty)) - num_placed(SMALL) for difficulty in (0.0, 0.5, 1.0)]
    assert counts == [0, round(0.5 * MAX_WALL_SHARE * 81), round(MAX_WALL_SHARE * 81)]


def test_a_map_holds_what_the_task_says_inside_a_wall() -> None:
    grid = random_map(replace(TASKS["arena/combat"], walls=3), np.random.default_rng(0))
    names = [name for row in grid for name in row]
    assert {name: names.count(name) for name in ("mine", "generator", "altar", "armory", "lasery", "agent.agent")} == {
        "mine": 4, "generator": 4, "altar": 4, "armory": 2, "lasery": 2, "agent.agent": 8,
    }  # fmt: skip
    assert names.count("wall") == 2 * 13 + 2 * 11 + 3
    assert all(row[0] == row[-1] == "wall" for row in grid)


def test_tokens_are_encoded_cell_by_cell() -> None:
    encoder = TokenEncoder(game_config(Task(window=3)))
    # Channels of a cell: agent, altar, generator, mine, wall, then ore, battery, heart. Nine cells, five actions,
    # reward, spare.
    assert encoder.shape == (9 * 8 + 5 + 1 + 1,)
    tokens = torch.full((2, 6, 3), 255, dtype=torch.uint8)
    tokens[0, :5] = torch.tensor(
        [
            [254, 2, 3],
            [254, 3, 50],
            [0x12, 6, 4],
            [0x11, 12, 5],
            [0x11, 11, 2],
        ]  # last action, last reward, wall at (1, 2), 5 ore here, agent id
    )
    encoded = encoder.encode(tokens)
    assert encoded.shape == (2, 79)
    assert encoded[0].nonzero().flatten().tolist() == [4 * 8 + 5, 5 * 8 + 4, 72 + 3, 72 + 5]
    assert encoded[0, 4 * 8 + 5].item() == pytest.approx(np.log1p(5))
    assert encoded[0, 72 + 5].item() == pytest.approx(0.5)
    assert not encoded[1].any()
