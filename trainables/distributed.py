"""One rank's view of its run: who it is, where it computes, and the collectives that hold ranks together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

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
        patient: group of all ranks for waits that may be long, as for a rank that still plays; None = the usual one.
    """

    rank: int = 0
    local_rank: int = 0
    world_size: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    patient: dist.ProcessGroup | None = None

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
        summed = iter(
            self.sum_(torch.tensor([number for numbers in lists for number in numbers], dtype=torch.float64)).tolist()
        )
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

    def gather(self, content: bytes) -> list[bytes]:
        """The bytes of every rank, in order of rank, on every rank; waits as long as it takes for ranks that are busy.

        Bytes and not objects: what comes over a network is not unpickled.
        """
        if self.world_size == 1:
            return [content]
        lengths = self._gather(torch.tensor([len(content)]))
        padded = torch.zeros(max(int(length) for length in lengths), dtype=torch.uint8)
        padded[: len(content)] = torch.frombuffer(bytearray(content), dtype=torch.uint8)
        return [bytes(row[: int(length)].tolist()) for row, length in zip(self._gather(padded), lengths, strict=True)]

    def _gather(self, tensor: torch.Tensor) -> list[torch.Tensor]:
        """Tensors of one shape, on the host."""
        rows = [torch.empty_like(tensor) for _ in range(self.world_size)]
        with _collective():
            dist.all_gather(rows, tensor, group=self.patient)
        return rows


@contextmanager
def _collective() -> Iterator[None]:
    """A collective fails when another rank is gone or hangs: never the fault of the point or of the code."""
    try:
        yield
    except torch.cuda.OutOfMemoryError:
        raise
    except RuntimeError as error:
        raise InfrastructureFailure(
            f"a collective failed, another rank is gone or hangs: {str(error).splitlines()[0]}"
        ) from error
