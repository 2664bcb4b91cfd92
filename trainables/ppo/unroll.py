"""An LSTM over segments of a rollout, in one fused call, although episodes begin inside them."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.functional import pad

# What a blank step adds to a gate: its sigmoid is exactly 0 then, in any precision, whatever else is added.
_SHUT = -1e8


@torch.compiler.disable  # type: ignore[untyped-decorator]  # a graph for every number of blank steps would not pay
def unroll(cell: nn.LSTMCell, features: torch.Tensor, memory: torch.Tensor, starts: torch.Tensor) -> torch.Tensor:
    """Hidden states of every step, the memory cleared before each start.

    `torch.lstm` (cuDNN on a GPU, oneDNN on a CPU) cannot clear its memory on the way. A blank step before each start
    does: its mark, one more feature, shuts the input and the forget gate, so that nothing is left of the memory, and no
    gradient comes back. Segments grow by the most starts that one of them has, at worst to twice their length; other
    ways to cut were slower: a column for each stretch pads more, and packed sequences (a loop on a CPU) took 1.3 to 2
    times as long as a loop over the cell. The one wait for a GPU is that for the number of blank steps.

    Args:
        cell: holds the parameters.
        features: (S, B, F).
        memory: (2, B, H) before the first step.
        starts: (S, B) bool, the step is the first of an episode.

    Returns:
        (S, B, H), of the parameters' type also under autocast: cuDNN would fall back to float16 there.
    """
    steps, columns = starts.shape
    blanks = starts.cumsum(0)
    length = steps + int(blanks[-1].max())
    times = torch.arange(steps, device=starts.device).unsqueeze(1) + blanks
    rows = (times * columns + torch.arange(columns, device=starts.device)).flatten()
    memory = memory.contiguous()  # cuDNN takes no other
    with torch.autocast(features.device.type, enabled=False):
        marked = pad(features.flatten(0, 1).to(memory.dtype), (0, 1))
        blank = pad(torch.zeros_like(marked[:1, 1:]), (0, 1), value=1.0)
        spread = blank.expand(length * columns, -1).index_copy(0, rows, marked).view(length, columns, -1)
        hidden = torch.lstm(
            spread, (memory[:1], memory[1:]), _weights(cell), has_biases=True, num_layers=1, dropout=0.0, train=True,
            bidirectional=False, batch_first=False,
        )[0]  # fmt: skip
        return hidden.flatten(0, 1).index_select(0, rows).view(steps, columns, -1)


def _weights(cell: nn.LSTMCell) -> list[torch.Tensor]:
    """The cell's weights, with a column for the mark; in one piece of memory, as cuDNN wants them."""
    mark = cell.weight_ih.new_zeros((4 * cell.hidden_size, 1))
    mark[: 2 * cell.hidden_size] = _SHUT  # input and forget gate come first
    parts = (torch.cat((cell.weight_ih, mark), 1), cell.weight_hh, cell.bias_ih, cell.bias_hh)
    together = torch.cat([part.flatten() for part in parts])
    pieces = torch.split(together, [part.numel() for part in parts])
    return [piece.view_as(part) for piece, part in zip(pieces, parts, strict=True)]
