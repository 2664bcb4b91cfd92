"""What the policy did: T steps of R rows, kept on the device that trains."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from trainables.environments.interface import Discrete, VectorEnvironment
from trainables.ppo.policy import Policy


@dataclass(frozen=True, slots=True)
class Rollout:
    """One batch of this rank.

    Attributes:
        observations: (T, R, *encoded).
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


class Collector:
    """Steps the environments with the policy and fills the same buffers again and again."""

    def __init__(
        self, env: VectorEnvironment, policy: Policy, horizon: int, segment: int, device: torch.device
    ) -> None:
        self._env, self._policy, self._device, self._segment = env, policy, device, segment
        rows = env.num_envs * env.agents_per_env
        shape = (horizon, rows)
        action_shape: tuple[int, ...] = (
            shape if isinstance(env.action_space, Discrete) else (*shape, env.action_space.dim)
        )
        action_type = torch.int64 if isinstance(env.action_space, Discrete) else torch.float32
        floats = {name: torch.zeros(shape, device=device) for name in ("log_probs", "final_values")}
        self._rollout = Rollout(
            observations=torch.zeros((*shape, *env.encoder.shape), dtype=env.encoder.dtype, device=device),
            actions=torch.zeros(action_shape, dtype=action_type, device=device),
            values=torch.zeros((horizon + 1, rows), device=device),
            rewards=torch.zeros(shape),
            terminals=torch.zeros(shape, dtype=torch.bool),
            truncations=torch.zeros(shape, dtype=torch.bool),
            weights=torch.zeros(shape),
            starts=torch.zeros(shape, dtype=torch.bool),
            memories=torch.zeros((horizon // segment, 2, rows, policy.memory_size), device=device),
            **floats,
        )
        # What environments report is written on the host, through numpy views, and moves to the device once per
        # rollout.
        self._host = {
            name: getattr(self._rollout, name).numpy()
            for name in ("rewards", "terminals", "truncations", "weights", "starts")
        }
        self._memory = policy.initial_memory(rows, device)
        self._starting = np.ones(rows, dtype=bool)

    @torch.inference_mode()
    def collect(self, generator: torch.Generator) -> Rollout:
        """The next T steps. The tensors of the answer are overwritten by the next call."""
        rollout, env = self._rollout, self._env
        horizon = rollout.rewards.shape[0]
        for t in range(horizon):
            self._begin_step(t)
            observations = self._encode(env.observations)
            outputs, values, self._memory = self._policy.step(observations, self._memory)
            actions, log_probs = self._policy.distribution.sample(outputs, generator)
            rollout.observations[t] = observations
            rollout.actions[t], rollout.log_probs[t], rollout.values[t] = actions, log_probs, values
            env.step(actions.cpu().numpy())
            self._end_step(t)
        last = self._clear(self._memory)
        rollout.values[horizon] = self._policy.step(self._encode(env.observations), last)[1]
        if self._device.type == "cpu":
            return rollout
        return Rollout(
            **{name: getattr(rollout, name).to(self._device, non_blocking=True) for name in Rollout.__slots__}
        )

    def _begin_step(self, t: int) -> None:
        self._host["starts"][t] = self._starting
        self._memory = self._clear(self._memory)
        if t % self._segment == 0:
            self._rollout.memories[t // self._segment] = self._memory

    def _end_step(self, t: int) -> None:
        env, host = self._env, self._host
        host["rewards"][t], host["terminals"][t], host["truncations"][t] = env.rewards, env.terminals, env.truncations
        host["weights"][t] = env.valid
        self._starting = env.terminals | env.truncations
        if env.truncations.any():
            rows = np.flatnonzero(env.truncations)
            chosen = torch.from_numpy(rows).to(self._device)
            final = self._encode(env.final_observations()[rows])
            self._rollout.final_values[t, chosen] = self._policy.step(final, self._memory[:, chosen])[1]

    def _clear(self, memory: torch.Tensor) -> torch.Tensor:
        """The memory with zeros where an episode begins."""
        if self._policy.memory_size == 0 or not self._starting.any():
            return memory
        keep = torch.from_numpy(~self._starting).to(self._device, memory.dtype)
        return memory * keep.view(1, -1, 1)

    def _encode(self, observations: np.ndarray) -> torch.Tensor:
        return self._env.encoder.encode(torch.from_numpy(observations).to(self._device, non_blocking=True))
