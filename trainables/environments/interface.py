"""The one interface between environments and everything else: N environments of M agents behind flat numpy buffers.

A row is one agent of one environment; row `env * agents_per_env + agent`. Environments reset themselves. A vector
(`vector.py`) is cut into blocks, each of which one process steps; this is what a block has to be.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import numpy as np

from trainables.seeding import EpisodeSeeds, simulator_seed

if TYPE_CHECKING:
    import torch

# Said before a run starts and, where a worker lacks it, at the start.
NEEDS_ALE = 'Atari games need ale-py (GPL-2.0), which is not installed: pip install "metta_sweep[atari]"'


@dataclass(frozen=True, slots=True)
class Discrete:
    """One of `n` actions; actions are whole numbers of shape (rows,)."""

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
    """Turns raw observations into what networks read. Has no parameters.

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


@dataclass(frozen=True, slots=True)
class Description:
    """What rows of an environment show and take.

    Attributes:
        observation_shape: of one raw observation.
        observation_dtype: of raw observations, by numpy's name.
        action_space: of one row.
        encoder: reads raw observations.
    """

    observation_shape: tuple[int, ...]
    observation_dtype: str
    action_space: ActionSpace
    encoder: Encoder


# What an environment tells of an episode that ended; `finished` counts them.
EPISODE = np.dtype(
    [
        ("finished", np.int64),
        ("task", np.int64),
        ("num_steps", np.int64),
        ("score", np.float64),
        ("shaped_return", np.float64),
        ("is_whole", np.bool_),
    ]
)


@dataclass(frozen=True, slots=True)
class Buffers:
    """What environments and learner exchange, of N environments with R rows; both sides write in place.

    Attributes:
        observations: (R, *raw) current observation of every row, after a reset where one happened.
        final_observations: (R, *raw) what a row would have seen next; read only where `truncations`.
        rewards: (R,) float32 of the last step.
        terminals: (R,) bool: the episode ended by itself; no value beyond it.
        truncations: (R,) bool: a limit cut the episode.
        valid: (R,) bool: False where the last step only reset the environment and taught nothing.
        actions: (R, ...) of the next step, written by the learner.
        next_tasks: (N,) index of the task that the next episode of an environment plays, written by the learner.
        episodes: (N,) of `EPISODE`: the last one that ended.
    """

    observations: np.ndarray
    final_observations: np.ndarray
    rewards: np.ndarray
    terminals: np.ndarray
    truncations: np.ndarray
    valid: np.ndarray
    actions: np.ndarray
    next_tasks: np.ndarray
    episodes: np.ndarray

    def clear(self) -> None:
        """As before the first step."""
        self.episodes["finished"] = 0
        self.rewards[:] = 0.0
        self.terminals[:], self.truncations[:], self.valid[:] = False, False, True

    def note_episode(
        self, env: int, *, num_steps: int, score: float, shaped_return: float, task: int = 0, is_whole: bool = True
    ) -> None:
        """Says that an episode of this environment ended; at most one in a step."""
        finished = self.episodes[env]["finished"] + 1
        self.episodes[env] = (finished, task, num_steps, score, shaped_return, is_whole)


@dataclass(frozen=True, slots=True)
class BlockOptions:
    """Which environments of a vector a block is.

    Attributes:
        first_env: index of its first one within the vector.
        num_envs: how many it has.
        total_envs: how many the vector has.
        seeds: stream of every episode, by the index within the vector.
        stagger: True: first episodes are cut short, each at another length, so that resets are spread over time.
        collect_stats: True: everything that the environment counts is told with an episode.
    """

    first_env: int
    num_envs: int
    total_envs: int
    seeds: EpisodeSeeds
    stagger: bool = False
    collect_stats: bool = False

    def first_seeds(self) -> list[int]:
        """A number of 31 bits for each environment, for those that draw all their episodes from one."""
        envs = range(self.first_env, self.first_env + self.num_envs)
        return [simulator_seed(self.seeds(env, 0)) for env in envs]


class EnvironmentBlock(Protocol):
    """Environments that one process steps, one after the other, in the buffers that it was made with."""

    def reset(self) -> None:
        """Start the first episode everywhere."""

    def step(self) -> None:
        """One step of every environment with the actions in the buffers."""

    def take_stats(self) -> Mapping[int, Mapping[str, float]]:
        """What was counted in the episodes that ended since the last call, by index within the block."""

    def close(self) -> None:
        """Free what the environments hold."""
