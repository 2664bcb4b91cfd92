"""Who is to blame for an exception: the point, the infrastructure, or the code."""

from __future__ import annotations

import errno
import traceback
from dataclasses import dataclass, replace
from pathlib import Path

from trainables.errors import (
    CodeFailure,
    HyperparameterFailure,
    InfrastructureFailure,
    RunError,
    SpecError,
    WorkerEnded,
)
from trainables.result import FailureKind

ENDED = "ended with "  # begins the signature of a worker that ended itself

# Of a disk that is full, broken, gone or read-only: not of the point
_DISK_ERRORS = {errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.ESTALE, errno.EROFS, errno.ENOTCONN}
# In the texts of PyTorch and of the operating system
OUT_OF_MEMORY = ("out of memory", "can't allocate memory", "cannot allocate memory")
# In the texts of drivers and networks
_HARDWARE = ("cuda error", "nccl error", "cublas_status", "cudnn_status", "connection closed by peer")


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a run, or one rank of it, ended.

    Attributes:
        kind: who is to blame.
        signature: equal for equal causes: exception type, file and line.
        message: one line for a person.
    """

    kind: FailureKind
    signature: str
    message: str

    @property
    def weight(self) -> int:
        """When several ranks fail, the heaviest explains the others: a lost connection follows from a crash, not the
        other way round.
        """
        return (FailureKind.INFRASTRUCTURE, FailureKind.HYPERPARAMETERS, FailureKind.CODE).index(self.kind)


class FailedElsewhere(RunError):
    """An exception in a process that works for this one, which ends the run as it would have here."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.message)
        self.failure = failure


def classify(error: BaseException, said: str = "") -> Failure:
    """The failure behind an exception that ended a run.

    Args:
        error: what was raised.
        said: what the process printed last; explains a SystemExit that is only a number.
    """
    if isinstance(error, FailedElsewhere):
        return error.failure
    name, text = type(error).__name__, str(error).strip()
    first = text.partition("\n")[0]
    if said and isinstance(error, SystemExit) and not isinstance(error.code, str):
        first = f"{first}: {said}" if first else said
    own = isinstance(error, RunError)  # our own messages speak for themselves
    message = first if own and first else f"{name}: {first}" if first else name
    return Failure(_kind(error, text.lower()), _signature_of(error), message[:500])


def same_ending(first: Failure | None, second: Failure) -> bool:
    """Whether a worker ended itself twice in the same way: then its code does it, wherever it runs."""
    return first is not None and first.signature == second.signature and second.signature.startswith(ENDED)


def twice(failure: Failure) -> Failure:
    """The failure of the code behind a worker that ended in the same way as the time before."""
    return replace(failure, kind=FailureKind.CODE, message=f"{failure.message}, twice in a row"[:500])


def _signature_of(error: BaseException) -> str:
    if isinstance(error, CodeFailure) and error.signature:
        return error.signature
    return f"{ENDED}{error.ending}" if isinstance(error, WorkerEnded) else _signature(error)


def _kind(error: BaseException, text: str) -> FailureKind:
    if isinstance(error, InfrastructureFailure | ConnectionError | TimeoutError):
        return FailureKind.INFRASTRUCTURE
    if isinstance(error, CodeFailure):
        return FailureKind.CODE
    # A specification that was sound before the sweep is only broken by the point.
    if isinstance(error, HyperparameterFailure | SpecError | MemoryError | FloatingPointError):
        return FailureKind.HYPERPARAMETERS
    if type(error).__name__ == "OutOfMemoryError" or (
        isinstance(error, RuntimeError) and any(phrase in text for phrase in OUT_OF_MEMORY)
    ):
        return FailureKind.HYPERPARAMETERS
    if isinstance(error, OSError) and error.errno in _DISK_ERRORS:
        return FailureKind.INFRASTRUCTURE
    if isinstance(error, RuntimeError) and any(phrase in text for phrase in _HARDWARE):
        return FailureKind.INFRASTRUCTURE
    return FailureKind.CODE


def _signature(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    if not frames:
        return type(error).__name__
    path = Path(frames[-1].filename)
    return f"{type(error).__name__} at {path.parent.name}/{path.name}:{frames[-1].lineno}"
