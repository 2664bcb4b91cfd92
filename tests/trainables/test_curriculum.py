"""Curricula: weights, what is learned, what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from trainables.distributed import DistributedContext
from trainables.environments.curriculum import FAST, FLOOR, SLOW, TaskSampler
from trainables.errors import SpecError
from trainables.metering import Meter
from trainables.ppo.trainer import PpoTrainer, SilentHost
from trainables.spec import RunSpec

BASIC, NAVIGATION = "/env/mettagrid/arena/basic", "/env/mettagrid/navigation"


def spec_of(curriculum: Any, **rest: Any) -> RunSpec:
    return RunSpec.from_mapping({"trainer": {"curriculum": curriculum}, **rest})


def test_weights_are_shares_of_episodes() -> None:
    sampler = TaskSampler((0.75, 0.25), "weighted", (0, 0))
    picks = [sampler.pick(env, episode) for env in range(50) for episode in range(40)]
    assert np.mean(picks) == pytest.approx(0.25, abs=4 * (0.25 * 0.75 / 2000) ** 0.5)
    assert picks[:40] == [sampler.pick(0, episode) for episode in range(40)]  # the same stream, whoever asks


def test_learning_progress_goes_where_scores_change() -> None:
    sampler = TaskSampler((0.5, 0.5), "learning_progress", (0, 0))
    assert sampler.probabilities().tolist() == [0.5, 0.5]
    sampler.learn([10.0, 20.0], [10.0, 10.0])  # first means, 1 and 2: nothing has changed yet
    assert sampler.probabilities().tolist() == [0.5, 0.5]
    sampler.learn([20.0, 20.0], [10.0, 10.0])  # the first task doubles, the second stays
    assert sampler.probabilities().tolist() == pytest.approx([FLOOR * 0.5 + (1 - FLOOR), FLOOR * 0.5])


def test_progress_is_the_distance_of_a_fast_and_a_slow_average_relative_to_the_largest_score() -> None:
    sampler = TaskSampler((0.5, 0.5), "learning_progress", (0, 0))
    sampler.learn([1.0, 100.0], [1.0, 1.0])
    sampler.learn([2.0, 150.0], [1.0, 1.0])
    progress = np.array([(FAST - SLOW) * 1.0 / 2.0, (FAST - SLOW) * 50.0 / 150.0])
    assert sampler.probabilities().tolist() == pytest.approx(
        (FLOOR * 0.5 + (1 - FLOOR) * progress / progress.sum()).tolist()
    )


def test_a_task_that_was_never_played_is_not_forgotten() -> None:
    sampler = TaskSampler((0.5, 0.5), "learning_progress", (0, 0))
    sampler.learn([1.0, 0.0], [1.0, 0.0])
    sampler.learn([3.0, 0.0], [1.0, 0.0])
    assert sampler.probabilities().tolist() == [0.5, 0.5]


def test_state_survives_a_checkpoint_and_another_curriculum_ignores_it() -> None:
    sampler, resumed, other = (
        TaskSampler((0.5, 0.5)[: n + 1] if n else (1.0,), "learning_progress", (0, 0)) for n in (1, 1, 0)
    )
    sampler.learn([1.0, 2.0], [1.0, 1.0])
    sampler.learn([2.0, 2.0], [1.0, 1.0])
    resumed.load(sampler.state())
    other.load(sampler.state())
    assert resumed.probabilities().tolist() == sampler.probabilities().tolist()
    assert other.probabilities().tolist() == [1.0]


def test_a_mixture_trains_and_is_evaluated_task_by_task() -> None:
    mapping = {
        "trainer": {
            "curriculum": {"tasks": {BASIC: 2, NAVIGATION: 1}, "sampling": "learning_progress"},
            "total_timesteps": 2048, "batch_size": 512, "minibatch_size": 256, "num_envs": 8,
            "simulation": {"curve_points": 1, "curve_episodes": 2},
        },
        "env": {"max_steps": 16},
    }  # fmt: skip
    spec = RunSpec.from_mapping(mapping)
    assert spec.curriculum.weights == pytest.approx((2 / 3, 1 / 3))
    assert [simulation.name for simulation in spec.suite.simulations] == ["basic", "navigation"]
    trainer = PpoTrainer(spec, DistributedContext(), Meter("setup"))
    assert trainer.train(SilentHost())
    assert not np.isnan(trainer._sampler.state()["fast"]).any()
    assert len(trainer.curve) == 1


@pytest.mark.parametrize(
    ("curriculum", "problem"),
    [
        (
            {"tasks": {}},
            "trainer.curriculum.tasks: missing; give weights by path, such as /env/mettagrid/arena/basic: 1",
        ),
        ({"tasks": {BASIC: 0}}, f"trainer.curriculum.tasks.{BASIC}: need a weight above 0, got 0"),
        ({"tasks": {BASIC: 1}, "sampling": "randm"}, "trainer.curriculum.sampling: unknown value 'randm'"),
        ({"tasks": {BASIC: 1, "/env/mettagrid/maze": 1}}, "trainer.curriculum.tasks: unknown MettaGrid task 'maze'"),
        (
            {"tasks": {BASIC: 1, "/env/gymnasium/CartPole-v1": 1}},
            "trainer.curriculum.tasks: several tasks need to be MettaGrid tasks",
        ),
        (
            {"tasks": {BASIC: 1, "/env/mettagrid/arena/combat": 1}},
            "trainer.curriculum.tasks: numbers of agents differ ({'arena/basic': 4, 'arena/combat': 8}); set "
            "env.num_agents for all of them",
        ),
    ],
)
def test_what_cannot_be_mixed_is_named(curriculum: Any, problem: str) -> None:
    with pytest.raises(SpecError) as caught:
        spec_of(curriculum)
    assert any(line.startswith(problem) for line in caught.value.problems), caught.value.problems


def test_agents_can_be_made_equal() -> None:
    spec = spec_of({"tasks": {BASIC: 1, "/env/mettagrid/arena/combat": 1}}, env={"num_agents": 6})
    assert spec.environment.agents_per_env == 6
