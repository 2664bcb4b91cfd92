"""Memory that several processes map: nothing of it has a name, so nothing of it can be left behind.

The memory goes with the last process that has it, however that ended.
"""

from __future__ import annotations

import math
import mmap
import os
import tempfile
from dataclasses import dataclass, fields

import numpy as np

from trainables.environments.interface import EPISODE, ActionSpace, Buffers, Description, Discrete

_LINE = 64  # bytes of a cache line: two processes that write to one slow each other down


@dataclass(frozen=True, slots=True)
class BufferLayout:
    """Where each array of `Buffers` lies.

    Attributes:
        num_envs: environments of the vector.
        agents_per_env: rows of each.
        observation_shape: of one row.
        observation_dtype: by numpy's name.
        action_space: of one row.
    """

    num_envs: int
    agents_per_env: int
    observation_shape: tuple[int, ...]
    observation_dtype: str
    action_space: ActionSpace

    @classmethod
    def of(cls, description: Description, num_envs: int, agents_per_env: int) -> BufferLayout:
        shape, dtype = description.observation_shape, description.observation_dtype
        return cls(num_envs, agents_per_env, shape, dtype, description.action_space)

    @property
    def num_bytes(self) -> int:
        """Of all arrays, each from a cache line of its own."""
        return sum(_padded(shape, dtype) for shape, dtype in self._arrays().values())

    def map(self, memory: mmap.mmap) -> Buffers:
        """The arrays in this memory; they keep it alive."""
        arrays, offset = {}, 0
        for name, (shape, dtype) in self._arrays().items():
            arrays[name] = np.ndarray(shape, dtype, buffer=memory, offset=offset)
            offset += _padded(shape, dtype)
        return Buffers(**arrays)

    def part(self, buffers: Buffers, envs: slice) -> Buffers:
        """The part of these arrays that belongs to some environments."""
        cuts = dict.fromkeys((field.name for field in fields(Buffers)), self.rows(envs))
        cuts |= {"next_tasks": envs, "episodes": envs}
        return Buffers(**{name: getattr(buffers, name)[cut] for name, cut in cuts.items()})

    def rows(self, envs: slice) -> slice:
        """Of some environments."""
        return slice(envs.start * self.agents_per_env, envs.stop * self.agents_per_env)

    def _arrays(self) -> dict[str, tuple[tuple[int, ...], np.dtype]]:
        rows = self.num_envs * self.agents_per_env
        seen = ((rows, *self.observation_shape), np.dtype(self.observation_dtype))
        discrete = isinstance(self.action_space, Discrete)
        flag = ((rows,), np.dtype(np.bool_))
        return {
            "observations": seen,
            "final_observations": seen,
            "rewards": ((rows,), np.dtype(np.float32)),
            "terminals": flag,
            "truncations": flag,
            "valid": flag,
            "actions": ((rows,), np.dtype(np.int32))
            if discrete
            else ((rows, self.action_space.dim), np.dtype(np.float32)),  # type: ignore[union-attr]
            "next_tasks": ((self.num_envs,), np.dtype(np.int64)),
            "episodes": ((self.num_envs,), EPISODE),
        }


def _padded(shape: tuple[int, ...], dtype: np.dtype) -> int:
    return -(-math.prod(shape) * dtype.itemsize // _LINE) * _LINE


def open_memory(num_bytes: int) -> int:
    """A descriptor of so much memory, all zero; the caller closes it. Linux keeps it off the disk, other systems map a
    file that has no name any more.
    """
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("environments")
    else:
        with tempfile.TemporaryFile() as file:
            descriptor = os.dup(file.fileno())
    os.ftruncate(descriptor, num_bytes)
    return descriptor
