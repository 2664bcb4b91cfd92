"""Atari images as tensors."""

from __future__ import annotations

import torch

from trainables.environments.interface import GridShape


class ImageEncoder:
    """Images stay as they are: the network scales them."""

    dtype = torch.uint8
    grid: GridShape | None = None

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.shape = shape

    def encode(self, observations: torch.Tensor) -> torch.Tensor:
        return observations
