"""Who is to blame for an exception: the point, the infrastructure, or the code."""

from __future__ import annotations

import errno
import traceback
from dataclasses import dataclass
from pathlib import Path

from trainables.errors import CodeFailure, HyperparameterFailure, InfrastructureFailure, RunError, SpecError

HYPERPARAMETERS, INFRASTRUCTURE, CODE = "hyperparameters", "infrastructure", "code"

_DISK_ERRORS = {errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.ESTALE, errno.EROFS, errno.ENOTCONN}
OUT_OF_MEMORY = ("out of memory", "can't allocate memory", "cannot allocate memory")
_HARDWARE = ("cuda error", "nccl error", "cublas_status", "cudnn_status", "connection closed by peer")


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a run, or one rank of it, ended.

    Attributes:
        kind: hyperparameters, infrastructure or code.
        signature: equal for equal causes: exception type, file and line.
        message: one line for a person.
    """

    kind: str
    signature: str
    message: str

    @property
    def weight(self) -> int:
        """When several ranks fail, the heaviest explains the others: a lost connection follows from a crash, not the other way round."""
        return (INFRASTRUCTURE, HYPERPARAMETERS, CODE).index(self.kind)


def classify(error: BaseException) -> Failure:
    """The failure behind an exception that ended a run."""
    text = str(error).strip() or type(error).__name__
    name = "" if isinstance(error, RunError) else f"{type(error).__name__}: "  # our own messages speak for themselves
    message = f"{name}{text.splitlines()[0]}"
    signature = error.signature if isinstance(error, CodeFailure) and error.signature else _signature(error)
    return Failure(_kind(error, text.lower()), signature, message[:500])


def _kind(error: BaseException, text: str) -> str:
    if isinstance(error, InfrastructureFailure | ConnectionError | TimeoutError):
        return INFRASTRUCTURE
    if isinstance(error, CodeFailure):
        return CODE
    # A specification that was sound before the sweep is only broken by the point.
    if isinstance(error, HyperparameterFailure | SpecError | MemoryError | FloatingPointError):
        return HYPERPARAMETERS
    if type(error).__name__ == "OutOfMemoryError" or (isinstance(error, RuntimeError) and any(phrase in text for phrase in OUT_OF_MEMORY)):
        return HYPERPARAMETERS
    if isinstance(error, OSError) and error.errno in _DISK_ERRORS:
        return INFRASTRUCTURE
    if isinstance(error, RuntimeError) and any(phrase in text for phrase in _HARDWARE):
        return INFRASTRUCTURE
    return CODE


def _signature(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    if not frames:
        return type(error).__name__
    path = Path(frames[-1].filename)
    return f"{type(error).__name__} at {path.parent.name}/{path.name}:{frames[-1].lineno}"
