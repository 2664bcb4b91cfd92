"""Writes to one sweep come one after the other; those that wait meanwhile share the next transaction, and its wait for
the disk.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakValueDictionary

from metta_sweep.errors import RegistryError, RegistryUnavailable
from metta_sweep.registry.operation import Operation


@dataclass(eq=False, slots=True)
class Write:
    """One write on its way; `result` counts once it `is_done`, which is after its commit."""

    operation: Operation
    key: str
    arguments: Mapping[str, Any]
    result: Any = None
    is_done: bool = False
    trouble: str = ""


@dataclass(eq=False)
class Turn:
    """Whoever holds the lock commits all that waits."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    waiting: list[Write] = field(default_factory=list)


class Turns:
    """Args:
    commit: does all of these writes to one sweep in one transaction, and sets their results, or raises and does none.
    """

    def __init__(self, commit: Callable[[str, Sequence[Write]], None]) -> None:
        self._commit = commit
        self._guard = threading.Lock()
        self._turns: WeakValueDictionary[str, Turn] = WeakValueDictionary()

    def take(self, sweep: str, write: Write) -> Any:
        """The write's result, when it is on disk. Raises what the write raised."""
        with self._guard:
            turn = self._turns.setdefault(sweep, Turn())
            turn.waiting.append(write)
        with turn.lock:
            if write in turn.waiting:
                with self._guard:
                    batch, turn.waiting = turn.waiting, []
                self._together(sweep, batch)
            if write.trouble:
                raise RegistryUnavailable(write.trouble)
            if not write.is_done:
                self._commit(sweep, [write])
        return write.result

    def _together(self, sweep: str, batch: list[Write]) -> None:
        """Do all, or none: when one of them is refused, each comes alone."""
        try:
            self._commit(sweep, batch)
        except RegistryUnavailable as error:
            for write in batch:
                write.trouble = str(error)
        except RegistryError:
            if len(batch) == 1:
                raise
