"""Observations of gymnasium environments as tensors."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import torch

from trainables.environments.interface import GridShape
from trainables.errors import Problem, SpecError


class FlatEncoder:
    """Observations as flat float32 vectors; a discrete observation becomes one-hot; images stay uint8, channels
    first.
    """

    grid: GridShape | None = None

    def __init__(self, space: gymnasium.Space[Any]) -> None:
        self._one_hot = int(space.n) if isinstance(space, gymnasium.spaces.Discrete) else 0
        self.is_one_hot = self._one_hot > 0
        if self.is_one_hot:
            self.shape: tuple[int, ...] = (self._one_hot,)
        elif isinstance(space, gymnasium.spaces.Box):
            self.shape = (int(np.prod(space.shape)),)
        else:
            raise SpecError(
                Problem(
                    "env", f"observation space {space} is not supported; use an environment with a Box or Discrete one"
                )
            )
        self._image = isinstance(space, gymnasium.spaces.Box) and space.dtype == np.uint8 and len(space.shape) == 3
        self.dtype = torch.uint8 if self._image else torch.float32
        if self._image:
            height, width, channels = space.shape
            self.shape = (channels, height, width)

    def encode(self, observations: torch.Tensor) -> torch.Tensor:
        if self.is_one_hot:
            return torch.nn.functional.one_hot(observations.long(), self._one_hot).float()
        if self._image:
            return observations.permute(0, 3, 1, 2)
        return observations.reshape(observations.shape[0], -1).float()
