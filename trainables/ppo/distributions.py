"""Action distributions without objects per call: `torch.distributions` would double the cost of acting on small
batches.
"""

from __future__ import annotations

import math

import torch
from torch import nn

from trainables.environments.interface import ActionSpace, Discrete


class Categorical(nn.Module):
    """One of n actions, from n logits."""

    def __init__(self, num_actions: int) -> None:
        super().__init__()
        self.num_outputs = num_actions

    def noise(self, rows: int, generator: torch.Generator) -> torch.Tensor:
        """What `sample` needs of chance for so many rows, (rows, n)."""
        race = torch.empty((rows, self.num_outputs), device=generator.device)
        return race.exponential_(generator=generator).log_()

    def sample(self, outputs: torch.Tensor, noise: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(rows, n) logits -> actions (rows,) int64 and their log-probabilities (rows,)."""
        log_probs = torch.log_softmax(outputs, -1)
        # The index of the smallest E_i / p_i, E exponential, is distributed as p.
        actions = (log_probs - noise).argmax(-1)
        return actions, log_probs.gather(-1, actions.unsqueeze(-1)).squeeze(-1)

    def mode(self, outputs: torch.Tensor) -> torch.Tensor:
        """The likeliest action, (rows,)."""
        return outputs.argmax(-1)

    def evaluate(self, outputs: torch.Tensor, actions: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Log-probability of the actions and entropy, both (rows,)."""
        log_probs = torch.log_softmax(outputs, -1)
        entropy = -(log_probs.exp() * log_probs).sum(-1)
        return log_probs.gather(-1, actions.unsqueeze(-1)).squeeze(-1), entropy


class DiagonalGaussian(nn.Module):
    """A box of numbers, each normal around its output, with a learned spread that does not depend on the state."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.num_outputs = dim
        self.log_std = nn.Parameter(torch.zeros(dim))

    def noise(self, rows: int, generator: torch.Generator) -> torch.Tensor:
        """What `sample` needs of chance for so many rows, (rows, dim)."""
        return torch.empty((rows, self.num_outputs), device=generator.device).normal_(generator=generator)

    def sample(self, outputs: torch.Tensor, noise: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(rows, dim) means -> actions (rows, dim) and their log-densities (rows,)."""
        actions = outputs + noise * self.log_std.exp()
        return actions, self.evaluate(outputs, actions)[0]

    def mode(self, outputs: torch.Tensor) -> torch.Tensor:
        """The mean, (rows, dim)."""
        return outputs

    def evaluate(self, outputs: torch.Tensor, actions: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Log-density of the actions and entropy, both (rows,)."""
        scaled = (actions - outputs) * (-self.log_std).exp()
        constant = 0.5 * math.log(2.0 * math.pi)
        log_probs = (-0.5 * scaled.square() - self.log_std - constant).sum(-1)
        entropy = (self.log_std + 0.5 + constant).sum().expand(log_probs.shape)
        return log_probs, entropy


Distribution = Categorical | DiagonalGaussian


def distribution_for(space: ActionSpace) -> Distribution:
    return Categorical(space.n) if isinstance(space, Discrete) else DiagonalGaussian(space.dim)
