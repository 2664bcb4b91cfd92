"""The only part of the dashboard that writes, and only with `--allow-actions`: retry a failed run, let a sweep run
out.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
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
        if not self._is_right(token):
            return WRONG_TOKEN
        try:
            with closing(self.open_registry()) as registry:
                registry.retry(run_id, by=BY, key=f"{run_id}:retry:{time.time_ns()}")
        except SweepError as error:
            return str(error)
        return f"{run_id} will run again."

    def stop(self, sweep: str, token: str) -> str:
        """Let running runs finish and start no new ones. Returns what to tell the user."""
        if not self._is_right(token):
            return WRONG_TOKEN
        try:
            with closing(self.open_registry()) as registry:
                registry.set_sweep_state(sweep, SweepState.DRAINING, by=BY, reason="stopped from the dashboard")
        except SweepError as error:
            return str(error)
        return f"{sweep}: running runs finish, no new ones start."

    def _is_right(self, token: str) -> bool:
        return secrets.compare_digest(token.encode(), self.token.encode())
