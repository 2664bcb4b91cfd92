"""What the policy did: T steps of R rows, kept on the device that trains."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass

import numpy as np
import torch

from trainables.environments.interface import Description, Discrete
from trainables.environments.vector import EnvironmentVector
from trainables.ppo.acting import Actor
from trainables.ppo.policy import Policy


@dataclass(frozen=True, slots=True)
class Rollout:
    """One batch of this rank.

    Attributes:
        observations: (T, R, *raw) where `stores_raw`, else (T, R, *encoded).
        actions: (T, R) int64, or (T, R, dim) float32.
        log_probs: (T, R) of the actions when they were taken.
        values: (T + 1, R) predicted before each step, and after the last.
        rewards: (T, R).
        terminals: (T, R) bool.
        truncations: (T, R) bool.
        final_values: (T, R) value of the state hidden by a truncation.
        weights: (T, R) 1, or 0 for steps that only reset an environment.
        starts: (T, R) bool, the step is the first of its episode.
        memories: (T / S, 2, R, H) recurrent state before every segment of S steps.
    """

    observations: torch.Tensor
    actions: torch.Tensor
    log_probs: torch.Tensor
    values: torch.Tensor
    rewards: torch.Tensor
    terminals: torch.Tensor
    truncations: torch.Tensor
    final_values: torch.Tensor
    weights: torch.Tensor
    starts: torch.Tensor
    memories: torch.Tensor


# What environments report: written on the host, through numpy views, and moved to the device once per rollout.
_OF_ENVIRONMENTS = {
    "rewards": torch.float32,
    "terminals": torch.bool,
    "truncations": torch.bool,
    "weights": torch.float32,
    "starts": torch.bool,
}


def stores_raw(description: Description, device: torch.device) -> bool:
    """Whether a rollout keeps observations as they come, to be encoded again in every epoch: on a GPU, which does that
    in passing, where they are smaller so; on a CPU encoding costs as much as learning.
    """
    raw = np.dtype(description.observation_dtype).itemsize * int(np.prod(description.observation_shape))
    encoded = description.encoder.dtype.itemsize * int(np.prod(description.encoder.shape))
    return device.type == "cuda" and raw < encoded


@dataclass(frozen=True, slots=True)
class _Hidden:
    """States that truncations of one step hid.

    Attributes:
        step: of the rollout.
        rows: (k,) where.
        observations: (k, *raw).
        memory: (2, k, H) after the step.
    """

    step: int
    rows: np.ndarray
    observations: np.ndarray
    memory: torch.Tensor


class Collector:
    """Steps the environments with the policy and fills the same buffers again and again.

    While one group of the environments steps, the policy acts for the next.

    Args:
        env: the environments, reset.
        policy: who acts.
        horizon: T.
        segment: S, steps of a segment for recurrent policies; divides T.
        device: where the policy lives.
        compile_mode: of `torch.compile` for acting; None = as it is.
    """

    def __init__(
        self,
        env: EnvironmentVector,
        policy: Policy,
        horizon: int,
        segment: int,
        device: torch.device,
        compile_mode: str | None = None,
    ) -> None:
        self._env, self._policy, self._device, self._segment = env, policy, device, segment
        self._actor = Actor(policy, env, device, compile_mode)
        self._stores_raw = stores_raw(env.description, device)
        rows = env.num_envs * env.agents_per_env
        shape = (horizon, rows)
        space, encoder = env.description.action_space, env.description.encoder
        discrete = isinstance(space, Discrete)
        raw = torch.from_numpy(env.observations)
        seen = (raw.shape[1:], raw.dtype) if self._stores_raw else (encoder.shape, encoder.dtype)
        pinned = device.type == "cuda"
        host = {name: torch.zeros(shape, dtype=dtype, pin_memory=pinned) for name, dtype in _OF_ENVIRONMENTS.items()}
        self._rollout = Rollout(
            observations=torch.zeros((*shape, *seen[0]), dtype=seen[1], device=device),
            actions=torch.zeros(shape, dtype=torch.int64, device=device)
            if discrete
            else torch.zeros((*shape, policy.distribution.num_outputs), device=device),
            log_probs=torch.zeros(shape, device=device),
            values=torch.zeros((horizon + 1, rows), device=device),
            final_values=torch.zeros(shape, device=device),
            memories=torch.zeros((horizon // segment, 2, rows, policy.memory_size), device=device),
            **host,
        )
        self._host = {name: tensor.numpy() for name, tensor in host.items()}
        self._memory = [policy.initial_memory(group.stop - group.start, device) for group in env.groups]
        self._starting = np.ones(rows, dtype=bool)
        self._hidden: list[_Hidden] = []

    def collect(self, generator: torch.Generator) -> Rollout:
        """The next T steps. The tensors of the answer are overwritten by the next call."""
        rollout, groups = self._rollout, range(len(self._env.groups))
        horizon, rows = rollout.rewards.shape
        with self._without_gradients():
            for t in range(horizon):
                noise = self._policy.distribution.noise(rows, generator)
                for group in groups:
                    if t:
                        self._end_step(group, t - 1)
                    self._begin_step(group, t, noise)
            for group in groups:
                self._end_step(group, horizon - 1)
                rows_of_group = self._env.groups[group]
                seen, memory = self._env.observations[rows_of_group], self._cleared(group)
                rollout.values[horizon, rows_of_group] = self._actor.value(seen, memory)
            self._value_hidden(rows)
        if self._device.type == "cpu":
            return rollout
        return Rollout(
            **{name: getattr(rollout, name).to(self._device, non_blocking=True) for name in Rollout.__slots__}
        )

    def _begin_step(self, group: int, t: int, noise: torch.Tensor) -> None:
        rollout, rows = self._rollout, self._env.groups[group]
        self._host["starts"][t, rows] = self._starting[rows]
        memory = self._cleared(group)
        if t % self._segment == 0:
            rollout.memories[t // self._segment, :, rows] = memory
        acted = self._actor.act(group, memory, noise[rows])
        # Before the environments overwrite what they showed.
        rollout.observations[t, rows] = acted.raw if self._stores_raw else acted.encoded
        self._env.send(group, acted.actions.cpu().numpy())
        rollout.actions[t, rows], rollout.log_probs[t, rows] = acted.actions, acted.log_probs
        rollout.values[t, rows], self._memory[group] = acted.values, acted.memory

    def _end_step(self, group: int, t: int) -> None:
        env, host, rows = self._env, self._host, self._env.groups[group]
        env.receive(group)
        terminals, truncations = env.terminals[rows], env.truncations[rows]
        host["rewards"][t, rows], host["weights"][t, rows] = env.rewards[rows], env.valid[rows]
        host["terminals"][t, rows], host["truncations"][t, rows] = terminals, truncations
        self._starting[rows] = terminals | truncations
        if truncations.any():
            chosen = np.flatnonzero(truncations)
            where = chosen + rows.start
            memory = self._memory[group]
            if self._policy.memory_size:
                memory = memory[:, torch.from_numpy(chosen).to(self._device)]
            self._hidden.append(_Hidden(t, where, env.final_observations[where], memory))

    def _value_hidden(self, at_once: int) -> None:
        """Values of all states that truncations of this rollout hid, so many at once as the policy acts for."""
        hidden, self._hidden = self._hidden, []
        if not hidden:
            return
        steps = np.concatenate([np.full(len(one.rows), one.step) for one in hidden])
        rows = np.concatenate([one.rows for one in hidden])
        observations = np.concatenate([one.observations for one in hidden])
        recurrent = self._policy.memory_size > 0
        memories = torch.cat([one.memory for one in hidden], dim=1) if recurrent else None
        for first in range(0, len(rows), at_once):
            some = slice(first, first + at_once)
            index = torch.from_numpy(steps[some]).to(self._device), torch.from_numpy(rows[some]).to(self._device)
            memory = self._memory[0] if memories is None else memories[:, some]
            self._rollout.final_values[index] = self._actor.value(observations[some], memory)

    def _cleared(self, group: int) -> torch.Tensor:
        """The memory of a group with zeros where an episode begins."""
        memory, starting = self._memory[group], self._starting[self._env.groups[group]]
        if self._policy.memory_size == 0 or not starting.any():
            return memory
        keep = torch.from_numpy(~starting).to(self._device, memory.dtype)
        return memory * keep.view(1, -1, 1)

    def _without_gradients(self) -> AbstractContextManager[object]:
        # A compiled graph outlives the tensors that it was traced with, which inference mode does not like.
        return torch.inference_mode() if self._device.type == "cpu" else torch.no_grad()
