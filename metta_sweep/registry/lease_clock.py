"""How old a lease is, by a clock that nobody sets: the wall clock of a registry's host may go back, or leap ahead.

Beside the wall time at which a lease ends (`runs.lease_until`) stands when it ends by the host's monotonic clock, which
counts from the host's start and decides until the next one; after it, or on another host, the wall clock does.
"""

from __future__ import annotations

import math
import os
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import psutil
from sqlalchemy import Connection, RowMapping, select, text

from metta_sweep.registry.records import OPEN_STATES
from metta_sweep.registry.schema import lease_clocks, runs


@dataclass(frozen=True, slots=True)
class Tick:
    """Seconds of a monotonic clock; only ticks of the same start of a machine can be compared."""

    boot: str
    seconds: float


def tick() -> Tick:
    """Now, on this machine."""
    return Tick(_boot(), time.monotonic())


def _boot() -> str:
    if sys.platform == "linux":
        started = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        space = Path("/proc/self/ns/time")  # a container may have a monotonic clock of its own
        return f"{started}.{os.readlink(space) if space.is_symlink() else ''}"
    return f"{psutil.boot_time():.0f}"


# Both databases know this form; SQLAlchemy has one for each.
WIND = text(
    "INSERT INTO lease_clocks (run_id, boot, ends_at) VALUES (:run_id, :boot, :ends_at) "
    "ON CONFLICT (run_id) DO UPDATE SET boot = excluded.boot, ends_at = excluded.ends_at"
)


def wind(connection: Connection, run_ids: Iterable[str], now: Tick, lease_seconds: float) -> None:
    """Leases of these runs begin now; an endless one needs no clock, and what an old one says is not asked."""
    rows = [{"run_id": run_id, "boot": now.boot, "ends_at": now.seconds + lease_seconds} for run_id in run_ids]
    if rows and math.isfinite(lease_seconds):
        connection.execute(WIND, rows)


def ends(connection: Connection, sweep: str, now: Tick) -> dict[str, float]:
    """By run, when leases of this sweep end by the clock of `now`; without those of another start of a machine."""
    joined = select(lease_clocks).join(runs, runs.c.id == lease_clocks.c.run_id)
    # By state, which has an index: a driver asks every two seconds, and runs that have ended are the most.
    mine = joined.where(runs.c.sweep == sweep, runs.c.state.in_(OPEN_STATES), lease_clocks.c.boot == now.boot)
    return {row["run_id"]: row["ends_at"] for row in connection.execute(mine).mappings()}


def is_over(run: RowMapping, ends_at: float | None, now: Tick, wall: float) -> bool:
    """Whether the lease of this run is over; `ends_at` by the clock of `now`, None where only the wall clock knows."""
    if run["lease_until"] is None:
        return False
    return now.seconds > ends_at if ends_at is not None else bool(run["lease_until"] < wall)
