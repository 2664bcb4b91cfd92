"""The two recursions of an update, memory and advantages, against the loops that they replace: CPU time on one core.

Both ways take turns in one process, so that other load on the machine hits both alike.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
import torch
from torch import nn

from tests.trainables.test_gae import one_by_one
from tests.trainables.test_unroll import step_by_step
from trainables.ppo.gae import discounted_sums
from trainables.ppo.unroll import unroll

pytestmark = [pytest.mark.benchmark, pytest.mark.timeout(900)]
STEPS = 16


def seconds(ways: list[Callable[[], object]], rounds: int) -> list[float]:
    """Of each way: the first quartile of its rounds."""
    spent: list[list[float]] = [[] for _ in ways]
    for _ in range(rounds):
        for way, times in zip(ways, spent, strict=True):
            began = time.process_time()
            way()
            times.append(time.process_time() - began)
    return [sorted(times)[rounds // 4] for times in spent]


def forward_and_back(unrolled, size: int, columns: int) -> Callable[[], object]:  # type: ignore[no-untyped-def]
    """A gradient step's share of the memory, every eighth segment with a start."""
    torch.manual_seed(0)
    cell = nn.LSTMCell(size, size)
    features, memory = torch.randn((STEPS, columns, size), requires_grad=True), torch.randn((2, columns, size))
    begins = torch.arange(columns) % 128
    starts = torch.arange(STEPS).unsqueeze(1) == begins
    weights = torch.randn((STEPS, columns, size))
    return lambda: unrolled(cell, features, memory, starts).backward(weights)


@pytest.mark.parametrize("columns", [64, 128, 512])
@pytest.mark.parametrize("size", [64, 128, 256])
def test_one_call_for_a_segment_is_no_slower_than_a_loop_over_the_cell(size: int, columns: int) -> None:
    torch.set_num_threads(1)
    fused, loop = seconds([forward_and_back(way, size, columns) for way in (unroll, step_by_step)], rounds=12)
    print(f"\n{size} wide, {columns} segments: {1e3 * loop:.1f} ms, {fused / loop:.2f} of the loop")
    assert fused <= 1.1 * loop


@pytest.mark.parametrize(("steps", "rows"), [(64, 128), (32, 1024), (128, 1024), (16, 32), (512, 128)])
def test_advantages_in_whole_tensor_steps_are_no_slower_than_step_by_step(steps: int, rows: int) -> None:
    torch.set_num_threads(1)
    terms, decay = torch.randn((steps, rows)), torch.rand((steps, rows))
    whole, loop = seconds([lambda: discounted_sums(terms, decay), lambda: one_by_one(terms, decay)], rounds=100)
    print(f"\n({steps}, {rows}): {1e6 * loop:.0f} us, {whole / loop:.2f} of the loop")
    assert whole <= loop
