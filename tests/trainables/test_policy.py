"""Networks: shapes, memory, and that a rollout re-evaluates to what acting saw."""

from __future__ import annotations

import pytest
import torch

from tests.trainables.synthetic import ACTIONS, FEATURES, PlainEncoder, make_policy
from trainables.environments.interface import Continuous, Discrete, GridShape
from trainables.environments.mettagrid_encoding import TokenEncoder
from trainables.environments.mettagrid_game import game_config
from trainables.environments.mettagrid_tasks import Task
from trainables.errors import SpecError
from trainables.ppo.config import ModelConfig
from trainables.ppo.policy import Policy


class ImageEncoder:
    shape: tuple[int, ...] = (4, 84, 84)
    dtype = torch.uint8
    grid: GridShape | None = None

    def encode(self, observations: torch.Tensor) -> torch.Tensor:
        return observations


def test_the_first_policy_is_nearly_uniform() -> None:
    outputs, values = make_policy()(torch.randn((100, FEATURES)))
    assert outputs.shape == (100, ACTIONS)
    assert values.shape == (100,)
    assert outputs.abs().max() < 0.1


def test_the_default_network_of_the_arena_has_46_thousand_parameters() -> None:
    policy = Policy(TokenEncoder(game_config(Task())), Discrete(5), ModelConfig())
    assert sum(parameter.numel() for parameter in policy.parameters()) == (655 + 1) * 64 + 65 * 64 + 65 * 5 + 65


def test_memory_re_evaluates_a_segment_to_what_acting_saw_step_by_step() -> None:
    policy = make_policy("lstm")
    steps, rows = 6, 5
    observations = torch.randn((steps, rows, FEATURES))
    starts = torch.zeros((steps, rows), dtype=torch.bool)
    starts[2, 1] = starts[4, 3] = True
    first = torch.randn((2, rows, policy.memory_size))
    memory, outputs, values = first, [], []
    for t in range(steps):
        memory = memory * (~starts[t]).float().view(1, -1, 1)
        output, value, memory = policy.step(observations[t], memory)
        outputs.append(output)
        values.append(value)
    together = policy.sequence(observations, first, starts)
    torch.testing.assert_close(together[0], torch.cat(outputs))
    torch.testing.assert_close(together[1], torch.cat(values))


def test_memory_does_not_reach_over_the_start_of_an_episode() -> None:
    policy = make_policy("lstm")
    starts = torch.tensor([[False], [True]])
    observations = torch.randn((2, 1, FEATURES), requires_grad=True)
    outputs, _ = policy.sequence(observations, policy.initial_memory(1, torch.device("cpu")), starts)
    outputs[1].sum().backward()
    assert observations.grad is not None
    assert not observations.grad[0].any()
    assert observations.grad[1].any()


def test_a_separate_critic_shares_nothing_with_the_policy() -> None:
    torch.manual_seed(0)
    policy = Policy(PlainEncoder(), Continuous(2), ModelConfig(separate_critic=True, hidden_size=8))
    _, values = policy(torch.randn((3, FEATURES)))
    values.sum().backward()
    assert all(parameter.grad is None for parameter in policy.body.parameters())


@pytest.mark.parametrize("kind", ["cnn", "lstm"])
def test_images_are_read_by_convolutions(kind: str) -> None:
    policy = Policy(ImageEncoder(), Discrete(6), ModelConfig(type=kind, hidden_size=16))
    memory = policy.initial_memory(2, torch.device("cpu"))
    assert policy.step(torch.zeros((2, 4, 84, 84), dtype=torch.uint8), memory)[0].shape == (2, 6)


def test_a_grid_is_read_by_convolutions_as_it_lies() -> None:
    encoder = TokenEncoder(game_config(Task()))
    policy = Policy(encoder, Discrete(5), ModelConfig(type="cnn", hidden_size=16))
    assert policy(torch.zeros((3, *encoder.shape)))[0].shape == (3, 5)


def test_networks_that_cannot_read_an_observation_are_refused_by_name() -> None:
    with pytest.raises(SpecError, match="mlp cannot read images"):
        Policy(ImageEncoder(), Discrete(2), ModelConfig())
    with pytest.raises(SpecError, match="cnn needs images or a grid"):
        Policy(PlainEncoder(), Discrete(2), ModelConfig(type="cnn"))
