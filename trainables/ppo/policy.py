"""Policy networks: observations in, parameters of the action distribution and a value out.

All kinds share one interface: `step` acts, `sequence` re-evaluates what a rollout stored. Feed-forward kinds ignore the
memory. Shapes: R rows, S steps of a segment, B segments, H hidden size.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TypeVar

import torch
from torch import nn

from trainables.environments.interface import ActionSpace, Encoder, GridShape
from trainables.errors import Problem, SpecError
from trainables.ppo.config import ModelConfig
from trainables.ppo.distributions import distribution_for
from trainables.ppo.unroll import unroll

M = TypeVar("M", nn.Linear, nn.Conv2d)

_ACTIVATIONS: dict[str, type[nn.Module]] = {"tanh": nn.Tanh, "relu": nn.ReLU}  # by the word of `model.activation`
_HIDDEN_GAIN = math.sqrt(2.0)  # of orthogonal weights under a ReLU; CleanRL's, for tanh too
_ACTION_GAIN = 0.01  # a nearly uniform first policy


class Policy(nn.Module):
    """Body, optional memory, two heads.

    Attributes:
        distribution: turns outputs into actions.
        memory_size: width of the recurrent state; 0 when there is none.
    """

    def __init__(self, encoder: Encoder, space: ActionSpace, config: ModelConfig) -> None:
        super().__init__()
        self.distribution = distribution_for(space)
        self.body, width = _body(encoder, config)
        critic = _body(encoder, config) if config.separate_critic else None
        self.critic_body: nn.Module | None = None if critic is None else critic[0]
        self.cell: nn.LSTMCell | None = None
        if config.type == "lstm":
            self.cell = _orthogonal_cell(width, config.hidden_size)
            width = config.hidden_size
        self.memory_size = config.hidden_size if self.cell is not None else 0
        self.action_head = _linear(width, self.distribution.num_outputs, _ACTION_GAIN)
        self.value_head = _linear(width if critic is None else critic[1], 1, 1.0)

    @property
    def device(self) -> torch.device:
        """Where it lives."""
        return self.action_head.weight.device

    def initial_memory(self, rows: int, device: torch.device) -> torch.Tensor:
        """(2, R, H): hidden and cell state of a fresh episode."""
        return torch.zeros((2, rows, self.memory_size), device=device)

    def step(self, observations: torch.Tensor, memory: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """One step of every row.

        Args:
            observations: (R, *encoded).
            memory: (2, R, H), already cleared where an episode begins.

        Returns:
            Outputs (R, n), values (R,), and the next memory.
        """
        features = self.body(observations)
        if self.cell is not None:
            hidden, cell = self.cell(features, (memory[0], memory[1]))
            memory, features = torch.stack((hidden, cell)), hidden
        return self.action_head(features), self._value(features, observations), memory

    def forward(self, observations: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Outputs (N, n) and values (N,) of a policy without memory."""
        features = self.body(observations)
        return self.action_head(features), self._value(features, observations)

    def sequence(
        self, observations: torch.Tensor, memory: torch.Tensor, starts: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Segments of a rollout, with gradients through time.

        Args:
            observations: (S, B, *encoded).
            memory: (2, B, H) before the first step.
            starts: (S, B) bool, the step is the first of an episode: memory is cleared before it.

        Returns:
            Outputs (S * B, n) and values (S * B,), step after step.
        """
        flat = observations.flatten(0, 1)
        features = self.body(flat)
        if self.cell is not None:
            features = unroll(self.cell, features.view(*starts.shape, -1), memory, starts).flatten(0, 1)
        return self.action_head(features), self._value(features, flat)

    def _value(self, features: torch.Tensor, observations: torch.Tensor) -> torch.Tensor:
        if self.critic_body is not None:
            features = self.critic_body(observations)
        value: torch.Tensor = self.value_head(features).squeeze(-1)
        return value


class GridNet(nn.Module):
    """Two 3x3 convolutions over the cells of a grid observation, then a dense layer that also sees the other
    features.
    """

    def __init__(self, grid: GridShape, num_features: int, hidden_size: int, activation: type[nn.Module]) -> None:
        super().__init__()
        self.grid = grid
        self.num_cells = grid.channels * grid.height * grid.width
        self.convolutions = nn.Sequential(
            _orthogonal(nn.Conv2d(grid.channels, 32, 3, padding=1)),
            activation(),
            _orthogonal(nn.Conv2d(32, 32, 3, stride=2, padding=1)),
            activation(),
        )
        flat = 32 * math.ceil(grid.height / 2) * math.ceil(grid.width / 2)
        self.dense = nn.Sequential(
            _linear(flat + num_features - self.num_cells, hidden_size, _HIDDEN_GAIN), activation()
        )

    def forward(self, observations: torch.Tensor) -> torch.Tensor:
        cells = (
            observations[:, : self.num_cells]
            .view(-1, self.grid.height, self.grid.width, self.grid.channels)
            .permute(0, 3, 1, 2)
        )
        features: torch.Tensor = self.dense(
            torch.cat((self.convolutions(cells).flatten(1), observations[:, self.num_cells :]), 1)
        )
        return features


class ImageNet(nn.Module):
    """The convolutions of Mnih et al. 2015 (Nature 518, 529-533) on uint8 images, then a dense layer."""

    def __init__(self, shape: tuple[int, ...], hidden_size: int) -> None:
        super().__init__()
        self.convolutions = nn.Sequential(
            _orthogonal(nn.Conv2d(shape[0], 32, 8, stride=4)), nn.ReLU(),
            _orthogonal(nn.Conv2d(32, 64, 4, stride=2)), nn.ReLU(),
            _orthogonal(nn.Conv2d(64, 64, 3, stride=1)), nn.ReLU(), nn.Flatten(),
        )  # fmt: skip
        with torch.no_grad():
            flat = self.convolutions(torch.zeros((1, *shape))).shape[1]
        self.dense = nn.Sequential(_linear(flat, hidden_size, _HIDDEN_GAIN), nn.ReLU())

    def forward(self, observations: torch.Tensor) -> torch.Tensor:
        features: torch.Tensor = self.dense(self.convolutions(observations.float() * (1.0 / 255.0)))
        return features


def _body(encoder: Encoder, config: ModelConfig) -> tuple[nn.Module, int]:
    """Network from encoded observations to features, and their number."""
    activation = _ACTIVATIONS[config.activation]
    if len(encoder.shape) == 3:
        if config.type == "mlp":
            raise SpecError(Problem("model.type", "mlp cannot read images; use cnn or lstm"))
        return ImageNet(encoder.shape, config.hidden_size), config.hidden_size
    if config.type == "cnn":
        if encoder.grid is None:
            raise SpecError(
                Problem("model.type", "cnn needs images or a grid, and this environment has neither; use mlp or lstm")
            )
        return GridNet(encoder.grid, encoder.shape[0], config.hidden_size, activation), config.hidden_size
    widths = [encoder.shape[0], *[config.hidden_size] * config.num_layers]
    layers: list[nn.Module] = []
    for before, after in pairwise(widths):
        layers += [_linear(before, after, _HIDDEN_GAIN), activation()]
    return nn.Sequential(*layers), widths[-1]


def _linear(inputs: int, outputs: int, gain: float) -> nn.Linear:
    return _orthogonal(nn.Linear(inputs, outputs), gain)


def _orthogonal(layer: M, gain: float = _HIDDEN_GAIN) -> M:
    nn.init.orthogonal_(layer.weight, gain)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


def _orthogonal_cell(inputs: int, hidden_size: int) -> nn.LSTMCell:
    cell = nn.LSTMCell(inputs, hidden_size)
    for name, parameter in cell.named_parameters():
        if name.startswith("weight"):
            nn.init.orthogonal_(parameter, 1.0)
        else:
            nn.init.zeros_(parameter)
    return cell
