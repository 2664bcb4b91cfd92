"""Generalised advantage estimation, as a pure function."""

from __future__ import annotations

from dataclasses import dataclass

import torch


@dataclass(frozen=True, slots=True)
class Ends:
    """How episodes ended, all (T, R).

    Attributes:
        terminals: bool, the episode ended by itself in this step.
        truncations: bool, a limit cut the episode in this step.
        final_values: value of the state after a truncated step; read only where `truncations`.
    """

    terminals: torch.Tensor
    truncations: torch.Tensor
    final_values: torch.Tensor


def gae(rewards: torch.Tensor, values: torch.Tensor, ends: Ends, gamma: float, gae_lambda: float) -> torch.Tensor:
    """A_t = delta_t + gamma * lambda * A_{t+1} within an episode, delta_t = r_t + gamma * V(s_{t+1}) - V(s_t).

    A terminal step has no value beyond it. A truncated one does: its final value stands for the state that the time
    limit hid, and no advantage flows back from the next episode.

    Args:
        rewards: (T, R) reward of each step.
        values: (T + 1, R) value before each step, and after the last.
        ends: of episodes.
        gamma: discount.
        gae_lambda: decay.

    Returns:
        (T, R) advantages; advantages plus `values[:-1]` are the targets of the value function.

    Source: Schulman et al. 2016, "High-dimensional continuous control using generalized advantage estimation",
    arXiv:1506.02438.
    """
    next_values = torch.where(ends.truncations, ends.final_values, values[1:]).masked_fill(ends.terminals, 0.0)
    deltas = rewards + gamma * next_values - values[:-1]
    decay = (gamma * gae_lambda) * (~(ends.terminals | ends.truncations)).to(rewards.dtype)
    advantages = torch.empty_like(rewards)
    carried = torch.zeros_like(rewards[0])
    for t in range(rewards.shape[0] - 1, -1, -1):
        carried = torch.addcmul(deltas[t], decay[t], carried)
        advantages[t] = carried
    return advantages
