"""The fused LSTM against a loop over its cell."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from trainables.ppo.unroll import unroll

SHAPES = [(1, 1, 1, 1), (1, 5, 3, 2), (2, 1, 4, 8), (7, 3, 5, 4), (16, 33, 10, 12), (16, 128, 64, 64), (64, 9, 2, 3)]


def step_by_step(cell: nn.LSTMCell, features: torch.Tensor, memory: torch.Tensor, starts: torch.Tensor) -> torch.Tensor:
    keep = (~starts).to(memory.dtype).unsqueeze(-1)
    hidden, state = memory[0], memory[1]
    outputs = []
    for t in range(len(features)):
        hidden, state = cell(features[t], (hidden * keep[t], state * keep[t]))
        outputs.append(hidden)
    return torch.stack(outputs)


def some_starts(kind: str, steps: int, columns: int) -> torch.Tensor:
    starts = torch.zeros((steps, columns), dtype=torch.bool)
    if kind == "first":
        starts[0] = True
    elif kind == "every":
        starts[:] = True
    elif kind == "one segment":
        starts[steps // 2, columns // 2] = True
    elif kind == "random":
        starts = torch.rand((steps, columns)) < torch.rand(columns)
    return starts


def with_gradients(
    unrolled: Callable[..., torch.Tensor], cell: nn.LSTMCell, inputs: tuple[torch.Tensor, ...]
) -> list[torch.Tensor]:
    """Hidden states, and the gradients of a sum that weighs each of them differently."""
    features, memory = (tensor.clone().requires_grad_() for tensor in inputs[:2])
    hidden = unrolled(cell, features, memory, inputs[2])
    weights = torch.cos(torch.arange(hidden.numel(), dtype=hidden.dtype)).view_as(hidden)
    gradients = torch.autograd.grad((hidden * weights).sum(), [features, memory, *cell.parameters()])
    return [hidden.detach(), *gradients]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("kind", ["none", "first", "every", "one segment", "random"])
@pytest.mark.parametrize("shape", SHAPES)
def test_one_call_equals_a_loop_over_the_cell(shape: tuple[int, ...], kind: str, dtype: torch.dtype) -> None:
    steps, columns, width, size = shape
    torch.manual_seed(sum(shape))
    cell = nn.LSTMCell(width, size).to(dtype)
    features, memory = torch.randn((steps, columns, width)), torch.randn((2, columns, size))
    inputs = (features.to(dtype), memory.to(dtype), some_starts(kind, steps, columns))
    found, expected = (with_gradients(way, cell, inputs) for way in (unroll, step_by_step))
    tolerance = 1e-10 if dtype is torch.float64 else 1e-5
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=tolerance, atol=tolerance * max(1.0, other.abs().max().item()))


def test_nothing_at_all_is_left_of_a_memory_that_was_cleared_however_large_weights_are() -> None:
    torch.manual_seed(0)
    cell = nn.LSTMCell(3, 64)
    with torch.no_grad():
        for parameter in cell.parameters():
            parameter.mul_(200.0)
    features, starts = torch.randn((6, 4, 3)), torch.zeros((6, 4), dtype=torch.bool)
    starts[3] = True
    memories = [torch.randn((2, 4, 64), requires_grad=True) for _ in range(2)]
    hidden = [unroll(cell, features, memory * 50.0, starts) for memory in memories]
    assert not torch.equal(hidden[0][:3], hidden[1][:3])
    assert torch.equal(hidden[0][3:], hidden[1][3:])
    expected = step_by_step(cell, features, memories[0] * 50.0, starts)
    torch.testing.assert_close(hidden[0], expected, rtol=0.0, atol=1e-3)  # such weights blow rounding up
    assert not torch.autograd.grad(hidden[0][3:].sum(), memories[0])[0].any()


def test_half_precision_around_it_leaves_the_memory_in_single_precision() -> None:
    torch.manual_seed(0)
    cell, memory = nn.LSTMCell(4, 8), torch.randn((2, 3, 8))
    features, starts = torch.randn((5, 3, 4)), some_starts("random", 5, 3)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = unroll(cell, features.bfloat16(), memory, starts)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, step_by_step(cell, features.bfloat16().float(), memory, starts))


def test_a_rollout_can_be_read_again_in_inference_mode() -> None:
    torch.manual_seed(0)
    cell, memory, starts = nn.LSTMCell(4, 8), torch.randn((2, 3, 8)), some_starts("random", 5, 3)
    features = torch.randn((5, 3, 4))
    with torch.inference_mode():
        found = unroll(cell, features, memory, starts)
    torch.testing.assert_close(found, step_by_step(cell, features, memory, starts))
