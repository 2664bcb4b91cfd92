"""What a rank does to share its node with others: one thread, its share of a GPU's memory."""

from __future__ import annotations

import multiprocessing
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch

from tests.trainables.odd_environments import Odd
from trainables import worker
from trainables.failures import Failure
from trainables.messages import RankAssignment, Rendezvous, RunRequest
from trainables.result import Point, Progress, Span
from trainables.spec import RunSpec


def test_a_rank_on_a_cpu_computes_in_one_thread_however_many_cores_there_are() -> None:
    torch.set_num_threads(2)
    worker.RankWorker().join(RankAssignment(0, 0, 1, 0.0, "cpu"), Rendezvous("127.0.0.1", 0, 1.0))
    assert torch.get_num_threads() == 1


def listening(rank: int, port_file: Path) -> set[str]:
    """The addresses at which one of two ranks listens when both have met at the loopback interface."""
    member, rendezvous = worker.RankWorker(), Rendezvous("127.0.0.1", 0, 60.0)
    if rank == 0:
        port_file.with_suffix(".part").write_text(str(member.open_rendezvous(rendezvous, 2)))
        port_file.with_suffix(".part").rename(port_file)
    while not port_file.exists():
        time.sleep(0.01)
    member.join(RankAssignment(rank, rank, 2, 0.0, "cpu"), Rendezvous("127.0.0.1", int(port_file.read_text()), 60.0))
    return {each.laddr.ip for each in psutil.Process().net_connections() if each.status == psutil.CONN_LISTEN}


def test_ranks_listen_at_no_other_address_than_that_where_they_meet(tmp_path: Path) -> None:
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        found = pool.starmap(listening, [(rank, tmp_path / "port") for rank in range(2)], chunksize=1)
    assert found == [{"127.0.0.1"}] * 2


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


@pytest.mark.parametrize(
    ("does", "reason"),
    [
        ("nan", "the environment returned rewards that are not finite"),
        ("exit", "SystemExit: usage: env.py"),
        ("interrupt", "KeyboardInterrupt"),
    ],
)
def test_whatever_an_environment_does_the_rank_answers_with_a_failure(
    does: str, reason: str, cartpole: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Odd, "steps_in_process", 0)
    trainer = {**cartpole["trainer"], "curriculum": "/env/gymnasium/tests.trainables.odd_environments:Odd-v0"}
    spec = RunSpec.from_mapping({**cartpole, "trainer": trainer, "env": {"does": does}})
    failure = worker.RankWorker().train(RunRequest(spec, tmp_path))
    assert isinstance(failure, Failure)
    assert failure.kind == "code"
    assert reason in failure.message
    assert "\n" not in failure.message


def test_whoever_polls_late_gets_every_point_of_the_curve_and_else_only_what_is_newest() -> None:
    box, point = worker.ProgressBox(), Point(2, Span(1.0, 1.0), 0.5)
    for steps in range(5):
        box.put(Progress(steps, 5, 1.0, point=point if steps == 2 else None))
    assert [progress.env_steps for progress in box.take()] == [2, 4]
    assert box.take() == []
