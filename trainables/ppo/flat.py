"""All parameters of a network in one flat tensor: one all-reduce, one norm, one optimiser kernel, one comparison over
ranks.
"""

from __future__ import annotations

import torch
from torch import nn


class FlatParameters:
    """Makes every parameter of the module a view into `values`, and its gradient a view into `values.grad`."""

    def __init__(self, module: nn.Module) -> None:
        parameters = list(module.parameters())
        self.values = nn.Parameter(torch.cat([p.detach().reshape(-1) for p in parameters]))
        self.gradient = torch.zeros_like(self.values)
        self.values.grad = self.gradient
        offset = 0
        for parameter in parameters:
            view = slice(offset, offset + parameter.numel())
            parameter.data = self.values.data[view].view_as(parameter)
            parameter.grad = self.gradient[view].view_as(parameter)
            offset += parameter.numel()

    def clip_gradient_(self, max_norm: float) -> torch.Tensor:
        """Scales the gradient down to `max_norm` (0 = never); returns its norm before."""
        norm: torch.Tensor = torch.linalg.vector_norm(self.gradient)
        if max_norm > 0.0:
            self.gradient.mul_((max_norm / (norm + 1e-6)).clamp(max=1.0))
        return norm
