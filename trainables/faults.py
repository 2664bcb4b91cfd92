"""Named points where a test makes this process die, wait, fill its disk or jump in time.

Off, and free, unless a plan is activated.

A plan reads `point:action@when`, separated by commas: `outbox.kept:crash@3`, `client.send:delay=0.5@2`,
`registry.commit:disk_full@1-4`, `clock:jump=3600@10`. `when` counts how often the point was reached, from 1. Processes
that tests start take their plan from METTA_SWEEP_FAULTS.
"""

from __future__ import annotations

import errno
import os
import re
import signal
import threading
import time
from collections import Counter
from dataclasses import dataclass, field

ENVIRONMENT = "METTA_SWEEP_FAULTS"  # variable that names the faults to stage; see the module


@dataclass(frozen=True, slots=True)
class Fault:
    """What happens from the `first` to the `last` time that `point` is reached; `amount` in seconds where the action
    needs one.
    """

    point: str
    action: str
    amount: float
    first: int
    last: int


@dataclass(slots=True)
class FaultPlan:
    """The faults of one process and how far it got."""

    faults: tuple[Fault, ...] = ()
    reached: Counter[str] = field(default_factory=Counter)
    jumped_seconds: float = 0.0
    guard: threading.Lock = field(default_factory=threading.Lock)

    def reach(self, point: str) -> None:
        with self.guard:
            self.reached[point] += 1
            count = self.reached[point]
        for fault in self.faults:
            if fault.point == point and fault.first <= count <= fault.last:
                self._happen(fault)

    def _happen(self, fault: Fault) -> None:
        if fault.action == "crash":
            os.kill(os.getpid(), signal.SIGKILL)
        elif fault.action == "delay":
            time.sleep(fault.amount)
        elif fault.action == "disk_full":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        else:
            self.jumped_seconds += fault.amount


def parse(text: str) -> tuple[Fault, ...]:
    """Raises `ValueError` for a text that is no plan."""
    return tuple(_parse_one(part.strip()) for part in text.split(",") if part.strip())


def _parse_one(part: str) -> Fault:
    match = re.fullmatch(r"([a-z_.]+):(crash|delay|disk_full|jump)(?:=(-?[0-9.]+))?@([0-9]+)(?:-([0-9]+))?", part)
    if match is None:
        raise ValueError(f"fault {part!r}: need point:crash|delay=seconds|disk_full|jump=seconds@first[-last]")
    point, action, amount, first, last = match.groups()
    return Fault(point, action, float(amount or 0), int(first), int(last or first))


# The one switch that a whole process shares: a point may lie anywhere, and handing a plan to each would put tests into
# every signature.
_plan = FaultPlan(parse(os.environ.get(ENVIRONMENT, "")))


def activate(text: str) -> FaultPlan:
    """Replace this process's plan; "" switches all faults off."""
    global _plan
    _plan = FaultPlan(parse(text))
    return _plan


def point(name: str) -> None:
    """Reach a named point."""
    if _plan.faults:
        _plan.reach(name)


def now() -> float:
    """Epoch seconds, with the jumps of the point `clock`."""
    point("clock")
    return time.time() + _plan.jumped_seconds
