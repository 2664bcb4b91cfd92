"""The only part of the dashboard that writes, only with `--allow-actions`.

It retries a failed run, lets a sweep run out, and writes notes and tags.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass

from metta_sweep.errors import SweepError
from metta_sweep.registry.api import Registry
from metta_sweep.registry.records import SweepState

BY = "dashboard"
WRONG_TOKEN = "Wrong token: it is shown where the dashboard was started."


@dataclass(frozen=True, slots=True)
class Actions:
    """What may be done from the page; each opens the registry for one write, and its event says who did it.

    Attributes:
        open_registry: a registry to write to.
        token: what the user must type.
    """

    open_registry: Callable[[], Registry]
    token: str

    def retry(self, run_id: str, token: str) -> str:
        """Run a failed run again. Returns what to tell the user."""
        key = f"{run_id}:retry:{time.time_ns()}"
        problem = self._write(token, lambda registry: registry.retry(run_id, by=BY, key=key))
        return problem or f"{run_id} will run again."

    def stop(self, sweep: str, token: str) -> str:
        """Let running runs finish and start no new ones. Returns what to tell the user."""
        reason = "stopped from the dashboard"
        problem = self._write(
            token, lambda registry: registry.set_sweep_state(sweep, SweepState.DRAINING, by=BY, reason=reason)
        )
        return problem or f"{sweep}: running runs finish, no new ones start."

    def remark(self, sweep: str, run_id: str | None, note: str, tags: Sequence[str], token: str) -> str:
        """Write a note and tags on a run, or on the sweep. Returns what to tell the user."""
        problem = self._write(
            token, lambda registry: registry.remark(sweep, run_id=run_id, note=note, tags=tags, by=BY)
        )
        return problem or "Saved."

    def _write(self, token: str, write: Callable[[Registry], object]) -> str:
        """Why nothing was written; "" when it was."""
        if not secrets.compare_digest(token.encode(), self.token.encode()):
            return WRONG_TOKEN
        try:
            with closing(self.open_registry()) as registry:
                write(registry)
        except SweepError as error:
            return str(error)
        return ""
