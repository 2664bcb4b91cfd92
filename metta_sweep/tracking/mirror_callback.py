"""The mirror as a callback of Ray Tune."""

from __future__ import annotations

from typing import Any

from ray import tune

from metta_sweep.tracking.job import MirrorJob
from metta_sweep.tracking.mirror_process import MirrorProcess


class WandbMirrorCallback(tune.Callback):  # type: ignore[misc]
    """Starts the mirror's process when Tune starts.

    The last results reach the registry after Tune has ended, so whoever owns the registry calls `stop`; if it dies
    first, the process ends by itself.
    """

    def __init__(self, job: MirrorJob) -> None:
        self._mirror: MirrorProcess | None = MirrorProcess(job)

    def setup(self, **info: Any) -> None:
        if self._mirror is not None:
            self._mirror.start()

    def stop(self, timeout_seconds: float | None = None) -> bool:
        """See `MirrorProcess.stop`."""
        return self._mirror.stop(timeout_seconds) if self._mirror is not None else True

    def __getstate__(self) -> dict[str, Any]:
        """Nothing of it belongs into Tune's snapshot; a restored copy does nothing."""
        return {}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._mirror = None
