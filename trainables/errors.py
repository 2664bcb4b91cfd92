"""Errors of a run.

RunError (Exception)
├── SpecError (ValueError)        the run's configuration is wrong; every problem at once, one per line
├── HyperparameterFailure         out of memory, NaN, divergence: the point is to blame
├── InfrastructureFailure         a lost worker, node or disk: the point is not to blame
│   ├── NodeLost                  a place of the run is gone: only another placement group helps
│   └── WorkerEnded               a rank's process ended itself, or met a fatal signal
└── CodeFailure                   the training code raised: the sweep should stop and show it
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that is wrong with a configuration.

    Attributes:
        key: dotted.
        text: what is wrong, the value, and the fix.
    """

    key: str
    text: str

    def __str__(self) -> str:
        return f"{self.key}: {self.text}"


class RunError(Exception):
    """Root of all errors of this package."""


class SpecError(RunError, ValueError):
    """The run's configuration is wrong.

    Attributes:
        keyed: everything that is wrong.
    """

    def __init__(self, *problems: Problem) -> None:
        super().__init__(*problems)
        self.keyed = problems

    @property
    def problems(self) -> tuple[str, ...]:
        """One line each, the key first."""
        return tuple(map(str, self.keyed))

    def __str__(self) -> str:
        return "\n".join(self.problems)


class HyperparameterFailure(RunError):
    """The point itself cannot be trained (out of memory, NaN, divergence)."""


class InfrastructureFailure(RunError):
    """A worker, node or disk was lost; the same point may well work elsewhere."""


class NodeLost(InfrastructureFailure):
    """A bundle of the placement group is not where it was; it may never come back, and the rest of the group is idle
    meanwhile.
    """


class WorkerEnded(InfrastructureFailure):
    """A rank's process ended by `os._exit` or by a fatal signal; once it may be chance, twice in the same way it is the
    code.

    Attributes:
        ending: how and where, "exit code 7 at project/train.py:12".
    """

    def __init__(self, message: str, ending: str) -> None:
        super().__init__(message)
        self.ending = ending


class CodeFailure(RunError):
    """The training code raised an exception that has nothing to do with the point.

    Attributes:
        signature: equal for equal causes, when the traceback of this exception does not show the cause; else "".
    """

    def __init__(self, message: str, signature: str = "") -> None:
        super().__init__(message)
        self.signature = signature
