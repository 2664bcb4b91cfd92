"""The one interface between environments and everything else: N environments of M agents behind flat numpy buffers.

A row is one agent of one environment; row `env * agents_per_env + agent`. Environments reset themselves.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import numpy as np

if TYPE_CHECKING:
    import torch

# Said before a run starts and, where a worker lacks it, at the start.
NEEDS_ALE = 'Atari games need ale-py (GPL-2.0), which is not installed: pip install "metta_sweep[atari]"'


@dataclass(frozen=True, slots=True)
class Discrete:
    """One of `n` actions; actions are int64 of shape (rows,)."""

    n: int


@dataclass(frozen=True, slots=True)
class Continuous:
    """A box of `dim` numbers; actions are float32 of shape (rows, dim), clipped to [low, high] by the environment."""

    dim: int


ActionSpace = Discrete | Continuous


@dataclass(frozen=True, slots=True)
class GridShape:
    """How the first `channels * height * width` features are laid out: cell after cell, row by row, channels
    together.
    """

    channels: int
    height: int
    width: int


@dataclass(frozen=True, slots=True)
class Episode:
    """One finished episode.

    Attributes:
        env: index of the environment within its vector.
        number: how many episodes this environment finished before.
        task: name of the task that was played.
        num_steps: length in environment steps.
        score: the task's own score, per agent, free of training shaping.
        shaped_return: sum of the rewards that the agents were trained on, per agent.
        stats: what else the environment counted, per agent; empty unless asked for.
        is_whole: False for a first episode that was cut short to spread resets.
    """

    env: int
    number: int
    task: str
    num_steps: int
    score: float
    shaped_return: float
    stats: Mapping[str, float] = field(default_factory=dict)
    is_whole: bool = True


class Encoder(Protocol):
    """Turns raw observations into what rollouts store and networks read. Has no parameters.

    Attributes:
        shape: shape of one encoded observation.
        dtype: float32, or uint8 for images, which the network scales itself.
        grid: layout for convolutions, or None when features have no spatial meaning.
    """

    shape: tuple[int, ...]
    dtype: torch.dtype
    grid: GridShape | None

    def encode(self, observations: torch.Tensor) -> torch.Tensor:
        """(rows, *raw) -> (rows, *shape), on the device of its input."""


class VectorEnvironment(Protocol):
    """N environments x M agents.

    Attributes:
        observations: (rows, *raw) current observation of every row, after a reset where one happened.
        rewards: (rows,) float32 of the last step.
        terminals: (rows,) bool: the episode ended by itself; no value beyond it.
        truncations: (rows,) bool: a limit cut the episode; `final_observations` holds what the agent would have seen
            next.
        valid: (rows,) bool: False where the last step only reset the environment and taught nothing.
    """

    num_envs: int
    agents_per_env: int
    action_space: ActionSpace
    encoder: Encoder
    observations: np.ndarray
    rewards: np.ndarray
    terminals: np.ndarray
    truncations: np.ndarray
    valid: np.ndarray

    def reset(self) -> None:
        """Start the first episode everywhere."""

    def step(self, actions: np.ndarray) -> None:
        """One step of every environment; fills the buffers in place."""

    def final_observations(self) -> np.ndarray:
        """(rows, *raw); only rows with a truncation in the last step mean anything."""

    def drain_episodes(self) -> list[Episode]:
        """Episodes finished since the last call."""

    def close(self) -> None:
        """Free what the environments hold."""
