"""What a rank does to share its node with others: one thread, its share of a GPU's memory."""

from __future__ import annotations

import pytest
import torch

from trainables import worker
from trainables.rank_actor import Meeting, Seat


def test_a_rank_on_a_cpu_computes_in_one_thread_however_many_cores_there_are() -> None:
    torch.set_num_threads(2)
    worker.RankWorker().join(Seat(0, 0, 1, 0.0, "cpu"), Meeting("127.0.0.1", 0, 1.0))
    assert torch.get_num_threads() == 1


@pytest.mark.parametrize(
    ("device", "gpus", "share"), [("cuda:1", 0.25, [(0.25, 1)]), ("cuda:1", 1.0, []), ("cpu", 0.0, [])]
)
def test_runs_that_share_a_gpu_get_their_share_of_its_memory(
    device: str, gpus: float, share: list[tuple[float, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[float, int | None]] = []
    # Needs no GPU to show what is asked of one.
    monkeypatch.setattr(
        torch.cuda, "set_per_process_memory_fraction", lambda fraction, on: asked.append((fraction, on.index))
    )
    worker.guard_memory(torch.device(device), gpus)
    assert asked == share
