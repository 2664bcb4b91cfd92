"""What the driver's threads tell each other: who should stop, and why."""

from __future__ import annotations

import threading
import time

from metta_sweep.driver.stop_rules import Verdict
from metta_sweep.errors import SweepError


class Control:
    """Requests to stop, from Ctrl-C, the registry, the money or the stopping rule. Safe to use from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._drain: Verdict | None = None
        self._stop_now = False
        self._aborted: SweepError | None = None
        self._stops: dict[str, str] = {}
        self._lost: set[str] = set()
        self._loop_seen_at = time.monotonic()
        self.interrupted_by_user = False

    def drain(self, verdict: Verdict, *, now: bool = False) -> None:
        """No new runs; with `now`, running ones checkpoint and end. The first reason stays."""
        with self._lock:
            self._drain = self._drain or verdict
            self._stop_now = self._stop_now or now

    def abort(self, error: SweepError) -> None:
        """The sweep cannot go on: no new runs, running ones checkpoint and end, and the error ends the command."""
        with self._lock:
            self._aborted = self._aborted or error
        self.drain(Verdict(str(error), is_cap=False), now=True)

    def stop_run(self, run_id: str, reason: str) -> None:
        """End one run at its next report, as the stopping rule asked."""
        with self._lock:
            self._stops.setdefault(run_id, reason)

    def lose_run(self, run_id: str) -> None:
        """End one run at its next report: another driver holds it now."""
        with self._lock:
            self._lost.add(run_id)

    def stop_reason(self, run_id: str) -> str | None:
        with self._lock:
            return self._stops.get(run_id)

    def is_lost(self, run_id: str) -> bool:
        with self._lock:
            return run_id in self._lost

    def should_stop(self, run_id: str) -> bool:
        with self._lock:
            return run_id in self._stops or run_id in self._lost

    @property
    def draining(self) -> Verdict | None:
        with self._lock:
            return self._drain

    @property
    def stop_now(self) -> bool:
        with self._lock:
            return self._stop_now

    @property
    def aborted(self) -> SweepError | None:
        with self._lock:
            return self._aborted

    def loop_is_alive(self) -> None:
        """Called from Tune's loop: heartbeats are sent only while it turns."""
        with self._lock:
            self._loop_seen_at = time.monotonic()

    @property
    def loop_silent_seconds(self) -> float:
        with self._lock:
            return time.monotonic() - self._loop_seen_at
