"""The policy as it acts: raw observations of a group of environments in, actions out.

On a GPU a step is one copy from pinned memory and, where that is asked for, one compiled graph.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from trainables.environments.vector import EnvironmentVector
from trainables.ppo.policy import Policy


@dataclass(frozen=True, slots=True)
class Acted:
    """What the policy did in one step of r rows.

    Attributes:
        raw: (r, *raw) what it saw, on its device.
        encoded: (r, *encoded) what it read.
        actions: (r,) int64, or (r, dim) float32.
        log_probs: (r,).
        values: (r,).
        memory: (2, r, H) after the step.
    """

    raw: torch.Tensor
    encoded: torch.Tensor
    actions: torch.Tensor
    log_probs: torch.Tensor
    values: torch.Tensor
    memory: torch.Tensor


class Actor:
    """Acts for the groups of a vector.

    Args:
        policy: who acts.
        env: the environments; observations are read where they write them.
        device: where the policy lives.
        compile_mode: of `torch.compile`; None = as it is.
    """

    def __init__(
        self, policy: Policy, env: EnvironmentVector, device: torch.device, compile_mode: str | None = None
    ) -> None:
        self._policy, self._encoder, self._device = policy, env.description.encoder, device
        self._shown = [torch.from_numpy(env.observations[rows]) for rows in env.groups]
        self._staged = [torch.empty_like(shown).pin_memory() for shown in self._shown] if device.type == "cuda" else []
        if self._staged:  # tables of the encoder move to the device here, not in a graph
            self._encoder.encode(self._shown[0][:1].to(device))
        self._graphs = compile_mode == "reduce-overhead"
        # A bound method of its own would be a cycle, and keep the buffers of one run in a warm rank for many more.
        self._compiled = torch.compile(self._act, mode=compile_mode) if compile_mode else None

    def act(self, group: int, memory: torch.Tensor, noise: torch.Tensor) -> Acted:
        """One step of a group.

        Args:
            group: of the vector.
            memory: (2, r, H), already cleared where an episode begins.
            noise: (r, ...) as the distribution draws it.
        """
        raw = self._on_device(group)
        if self._graphs:
            torch.compiler.cudagraph_mark_step_begin()  # type: ignore[no-untyped-call]
        step = self._compiled or self._act
        encoded, actions, log_probs, values, after = step(raw, memory, noise)
        if self._graphs and self._policy.memory_size:
            after = after.clone()  # a graph writes its answers where it wrote the last ones
        return Acted(raw, encoded, actions, log_probs, values, after)

    def value(self, observations: np.ndarray, memory: torch.Tensor) -> torch.Tensor:
        """(r,) values of raw observations (r, *raw)."""
        encoded = self._encoder.encode(torch.from_numpy(observations).to(self._device))
        return self._policy.step(encoded, memory)[1]

    def _on_device(self, group: int) -> torch.Tensor:
        if not self._staged:
            return self._shown[group]
        staged = self._staged[group].copy_(self._shown[group])
        return staged.to(self._device, non_blocking=True)

    def _act(self, raw: torch.Tensor, memory: torch.Tensor, noise: torch.Tensor) -> tuple[torch.Tensor, ...]:
        encoded = self._encoder.encode(raw)
        outputs, values, after = self._policy.step(encoded, memory)
        actions, log_probs = self._policy.distribution.sample(outputs, noise)
        return encoded, actions, log_probs, values, after
