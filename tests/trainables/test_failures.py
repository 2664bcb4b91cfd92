"""Who is to blame."""

from __future__ import annotations

import errno

import pytest
import torch

from trainables.errors import CodeFailure, HyperparameterFailure, InfrastructureFailure, Problem, SpecError, WorkerEnded
from trainables.failures import Failure, classify, same_ending, twice
from trainables.worker import device_for


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (HyperparameterFailure("loss is NaN"), "hyperparameters"),
        (SpecError(Problem("model.type", "mlp cannot read images; use cnn")), "hyperparameters"),
        (torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB"), "hyperparameters"),
        (
            RuntimeError("[enforce fail at alloc_cpu.cpp:118] DefaultCPUAllocator: can't allocate memory"),
            "hyperparameters",
        ),
        (MemoryError(), "hyperparameters"),
        (InfrastructureFailure("worker lost"), "infrastructure"),
        (OSError(errno.ENOSPC, "No space left on device"), "infrastructure"),
        (ConnectionResetError("peer"), "infrastructure"),
        (RuntimeError("CUDA error: an illegal memory access was encountered"), "infrastructure"),
        (CodeFailure("no time limit"), "code"),
        (FileNotFoundError(errno.ENOENT, "no such file", "data.npz"), "code"),
        (KeyError("x"), "code"),
        (RuntimeError("shape mismatch"), "code"),
        (SystemExit("usage: train.py"), "code"),
        (SystemExit(3), "code"),
        (KeyboardInterrupt(), "code"),
        (WorkerEnded("a worker ended with exit code 7", "exit code 7"), "infrastructure"),
    ],
)
def test_kinds(error: BaseException, kind: str) -> None:
    assert classify(error).kind == kind


@pytest.mark.parametrize(
    ("error", "said", "message"),
    [
        (
            SystemExit("usage: train.py [--lr LR]\nmore"),
            "whatever was printed",
            "SystemExit: usage: train.py [--lr LR]",
        ),
        (
            SystemExit(2),
            "train.py: error: unrecognized arguments: --bad",
            "SystemExit: 2: train.py: error: unrecognized arguments: --bad",
        ),
        (SystemExit(3), "", "SystemExit: 3"),
        (SystemExit(), "", "SystemExit"),
        (KeyboardInterrupt(), "whatever was printed", "KeyboardInterrupt"),
        (MemoryError(), "", "MemoryError"),
    ],
)
def test_the_message_says_what_the_code_said(error: BaseException, said: str, message: str) -> None:
    assert classify(error, said).message == message


def test_a_worker_that_ends_in_the_same_way_twice_is_the_fault_of_the_code() -> None:
    one, other = (
        classify(WorkerEnded(f"a worker ended with {how}", how))
        for how in ("exit code 7 at a/b.py:3", "SIGSEGV at a/b.py:3")
    )
    lost = classify(InfrastructureFailure("a worker was lost"))
    assert same_ending(one, one)
    assert not any(same_ending(before, now) for before, now in ((None, one), (one, other), (lost, lost), (lost, one)))
    assert (twice(one).kind, twice(one).message) == (
        "code",
        "a worker ended with exit code 7 at a/b.py:3, twice in a row",
    )


def raise_at_a_line(message: str) -> None:
    raise ValueError(message)


def caught(message: str) -> Failure:
    try:
        raise_at_a_line(message)
    except ValueError as error:
        return classify(error)
    raise AssertionError


def test_the_same_line_has_the_same_signature_whatever_the_message() -> None:
    first, second = caught("learning rate 0.1"), caught("learning rate 0.2\nand more")
    assert first.signature == second.signature
    assert "ValueError at trainables/test_failures.py:" in first.signature
    assert second.message == "ValueError: learning rate 0.2"


def test_a_crash_explains_a_lost_connection_and_not_the_other_way_round() -> None:
    lost, diverged, crashed = (
        Failure("infrastructure", "", ""),
        Failure("hyperparameters", "", ""),
        Failure("code", "", ""),
    )
    assert max([lost, crashed, diverged], key=lambda failure: failure.weight) is crashed
    assert max([lost, diverged], key=lambda failure: failure.weight) is diverged


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
@pytest.mark.parametrize("wanted", ["cuda", "auto"])
def test_a_gpu_that_torch_does_not_see_is_refused_in_one_line(wanted: str) -> None:
    with pytest.raises(
        CodeFailure,
        match=f"device: {wanted} with a GPU reserved, but torch sees none here; install a CUDA build of torch or use",
    ):
        device_for(wanted, 1.0, 0)
