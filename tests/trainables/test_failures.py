"""Who is to blame."""

from __future__ import annotations

import errno

import pytest
import torch

from trainables.errors import CodeFailure, HyperparameterFailure, InfrastructureFailure, SpecError
from trainables.failures import Failure, classify
from trainables.worker import device_for


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (HyperparameterFailure("loss is NaN"), "hyperparameters"),
        (SpecError(("model.type: mlp cannot read images; use cnn",)), "hyperparameters"),
        (torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB"), "hyperparameters"),
        (RuntimeError("[enforce fail at alloc_cpu.cpp:118] DefaultCPUAllocator: can't allocate memory"), "hyperparameters"),
        (MemoryError(), "hyperparameters"),
        (InfrastructureFailure("worker lost"), "infrastructure"),
        (OSError(errno.ENOSPC, "No space left on device"), "infrastructure"),
        (ConnectionResetError("peer"), "infrastructure"),
        (RuntimeError("CUDA error: an illegal memory access was encountered"), "infrastructure"),
        (CodeFailure("no time limit"), "code"),
        (FileNotFoundError(errno.ENOENT, "no such file", "data.npz"), "code"),
        (KeyError("x"), "code"),
        (RuntimeError("shape mismatch"), "code"),
    ],
)
def test_kinds(error: Exception, kind: str) -> None:
    assert classify(error).kind == kind


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
    lost, diverged, crashed = Failure("infrastructure", "", ""), Failure("hyperparameters", "", ""), Failure("code", "", "")
    assert max([lost, crashed, diverged], key=lambda failure: failure.weight) is crashed
    assert max([lost, diverged], key=lambda failure: failure.weight) is diverged


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
@pytest.mark.parametrize("wanted", ["cuda", "auto"])
def test_a_gpu_that_torch_does_not_see_is_refused_in_one_line(wanted: str) -> None:
    with pytest.raises(CodeFailure, match=f"device: {wanted} with a GPU reserved, but torch sees none here; install a CUDA build of torch or use"):
        device_for(wanted, 1.0, 0)
