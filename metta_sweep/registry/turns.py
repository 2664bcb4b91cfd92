"""What many threads ask of a database at once: those that wait share the next transaction and its wait for the disk."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar
from weakref import WeakValueDictionary

from metta_sweep.errors import RegistryError, RegistryUnavailable

W = TypeVar("W")


@dataclass(eq=False, slots=True)
class QueuedWork(Generic[W]):
    """Work of one thread; `result` counts once it `is_done`."""

    work: W
    result: Any = None
    is_done: bool = False
    trouble: str = ""


@dataclass(eq=False)
class Turn(Generic[W]):
    """Whoever holds the lock does all that waits."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    waiting: list[QueuedWork[W]] = field(default_factory=list)


class Turns(Generic[W]):
    """Args:
    do: does all of this work on one subject and gives the results, or raises and does none.
    """

    def __init__(self, do: Callable[[str, Sequence[W]], Sequence[Any]]) -> None:
        self._do = do
        self._guard = threading.Lock()
        self._turns: WeakValueDictionary[str, Turn[W]] = WeakValueDictionary()

    def take(self, subject: str, work: W) -> Any:
        """The work's result, when it is done. Raises what the work raised."""
        mine = QueuedWork(work)
        with self._guard:
            turn = self._turns.setdefault(subject, Turn())
            turn.waiting.append(mine)
        with turn.lock:
            if mine in turn.waiting:
                with self._guard:
                    batch, turn.waiting = turn.waiting, []
                self._together(subject, batch)
            if mine.trouble:
                raise RegistryUnavailable(mine.trouble)
            if not mine.is_done:
                self._all(subject, [mine])
        return mine.result

    def _together(self, subject: str, batch: list[QueuedWork[W]]) -> None:
        """Do all, or none: when one of them is refused, each comes alone."""
        try:
            self._all(subject, batch)
        except RegistryUnavailable as error:
            for one in batch:
                one.trouble = str(error)
        except RegistryError:
            if len(batch) == 1:
                raise

    def _all(self, subject: str, batch: list[QueuedWork[W]]) -> None:
        for one, result in zip(batch, self._do(subject, [one.work for one in batch]), strict=True):
            one.result, one.is_done = result, True
