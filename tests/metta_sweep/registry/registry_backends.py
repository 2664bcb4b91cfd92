"""What the registry's tests share: a clock, two owners, a backend."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from metta_sweep.registry.api import Registry
from metta_sweep.registry.records import Owner, Reservation, RunRecord


@dataclass
class Clock:
    """Epoch seconds that move when a test says so."""

    now: float = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Backend:
    """One implementation: `open()` gives another registry on the same data, as after a restart."""

    open: Callable[[], Registry]
    clock: Clock = field(default_factory=Clock)


HERE = Owner(host="a", boot_id="m.1.p", pid=1, started=10.0)
THERE = Owner(host="b", boot_id="m.2.p", pid=2, started=20.0)


def reserve(registry: Registry, number: int | None = None, owner: Owner = HERE, sweep: str = "s") -> RunRecord:
    """A new run, whose key is new, too."""
    return registry.reserve(sweep, Reservation(number, {"x": 0.5}), owner, lease_seconds=300, key=f"{owner.host}-{registry.next_number(sweep)}")
