"""One rank's view of its run: who it is, where it computes, and the collectives that hold ranks together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.distributed as dist

from trainables.errors import InfrastructureFailure


@dataclass(frozen=True, slots=True)
class DistributedContext:
    """Identity of a rank; built once and handed down. With one rank every collective is free.

    Attributes:
        rank: index over the whole run.
        local_rank: index on this node.
        world_size: ranks of the run.
        device: where tensors live.
    """

    rank: int = 0
    local_rank: int = 0
    world_size: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    @property
    def is_main(self) -> bool:
        return self.rank == 0

    def sum_(self, tensor: torch.Tensor) -> torch.Tensor:
        """Replaces the tensor, in place, by its sum over ranks."""
        if self.world_size > 1:
            with _collective():
                dist.all_reduce(tensor)
        return tensor

    def sum_lists(self, *lists: Sequence[float]) -> list[list[float]]:
        """Several short lists of numbers, added up over ranks in one collective."""
        summed = iter(self.sum_(torch.tensor([number for numbers in lists for number in numbers], dtype=torch.float64)).tolist())
        return [[next(summed) for _ in numbers] for numbers in lists]

    def mean_(self, tensor: torch.Tensor) -> torch.Tensor:
        """Replaces the tensor, in place, by its mean over ranks."""
        return self.sum_(tensor).div_(self.world_size) if self.world_size > 1 else tensor

    def broadcast_(self, tensor: torch.Tensor) -> torch.Tensor:
        """Replaces the tensor, in place, by that of rank 0."""
        if self.world_size > 1:
            with _collective():
                dist.broadcast(tensor, src=0)
        return tensor

    def gather(self, value: Any) -> list[Any]:
        """One picklable value of every rank, in order of rank, on every rank; slow, for small things now and then."""
        if self.world_size == 1:
            return [value]
        values: list[Any] = [None] * self.world_size
        with _collective():
            dist.all_gather_object(values, value)
        return values


@contextmanager
def _collective() -> Iterator[None]:
    """A collective fails when another rank is gone or hangs: never the fault of the point or of the code."""
    try:
        yield
    except torch.cuda.OutOfMemoryError:
        raise
    except RuntimeError as error:
        raise InfrastructureFailure(f"a collective failed, another rank is gone or hangs: {str(error).splitlines()[0]}") from error
