"""Policies get better: small runs here, the full sizes marked `long`."""

from __future__ import annotations

import numpy as np
import pytest

from tests.trainables.learning import BALANCE, TUNED, Learning

BASIC, COMBAT, NAVIGATION = "/env/mettagrid/arena/basic", "/env/mettagrid/arena/combat", "/env/mettagrid/navigation"
CARTPOLE = "/env/gymnasium/CartPole-v1"
SEEDS = (1, 2, 3)


def test_the_basic_arena_is_learned_beyond_chance_in_65_thousand_steps() -> None:
    task = Learning(BASIC, {**TUNED, "total_timesteps": 65_536})
    assert task.score() > 2 * task.random()


def test_cartpole_is_balanced_for_long() -> None:
    task = Learning(CARTPOLE, {**BALANCE, "total_timesteps": 40_960})
    assert task.score() > 5 * task.random()


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_random_textbook_and_tuned_are_in_this_order_on_the_basic_arena() -> None:
    textbook, tuned = Learning(BASIC, {}, episodes=48), Learning(BASIC, TUNED, episodes=48)
    random = textbook.random()
    scores = {name: [task.score(seed) for seed in SEEDS] for name, task in (("textbook", textbook), ("tuned", tuned))}
    print(f"random {random:.2f}", {name: [round(score, 2) for score in found] for name, found in scores.items()})
    assert 0.2 < random < 0.5
    assert random < np.mean(scores["textbook"])
    assert max(scores["textbook"]) < 0.2 * min(scores["tuned"])
    assert np.mean(scores["tuned"]) >= 5.0


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.parametrize(("curriculum", "steps", "factor"), [(NAVIGATION, 131_072, 1.2), (COMBAT, 524_288, 3.0)])
def test_other_tasks_are_learned_too(curriculum: str, steps: int, factor: float) -> None:
    task = Learning(curriculum, {**TUNED, "total_timesteps": steps})
    random, score = task.random(), task.score()
    print(f"{curriculum}: random {random:.2f}, trained {score:.2f}")
    assert score > factor * random


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_a_policy_with_memory_learns_too() -> None:
    score = Learning(CARTPOLE, {**BALANCE, "total_timesteps": 81_920}, model="lstm").score()
    print(f"lstm on CartPole: {score:.0f}")
    assert score > 150  # random play lasts about 22 steps


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_interrupted_training_ends_as_well_as_uninterrupted_training() -> None:
    """Statistically and not bitwise equal, since simulators cannot be saved: over 16 seeds the means differ by less
    than three standard
    errors of their difference, and that error is small enough that a loss of half the score would show."""
    task = Learning(CARTPOLE, {**BALANCE, "total_timesteps": 40_960})
    whole = np.array([task.score(seed) for seed in range(16)])
    cut = np.array([task.score(seed, interrupt_after=10) for seed in range(16)])
    error = float(np.sqrt((whole.var(ddof=1) + cut.var(ddof=1)) / 16))
    print(f"whole {whole.mean():.1f}, interrupted {cut.mean():.1f}, standard error of the difference {error:.1f}")
    assert abs(whole.mean() - cut.mean()) < 3 * error < 0.5 * whole.mean()
