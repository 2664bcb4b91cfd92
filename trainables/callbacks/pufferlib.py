"""`PuffeRL(config, vecenv, policy, logger=PufferReport())`: PufferLib 3 reports to a sweep. Needs no import of it."""

from __future__ import annotations

import os
from collections.abc import Mapping

from trainables.report import report


class PufferReport:
    """A logger of PufferLib that reports.

    Args:
        score: name of the logged number that is the score.
        metrics: of further ones; the last part of a name is what the sweep knows it by.

    Attributes:
        run_id: what PufferLib names its checkpoints by.
    """

    def __init__(self, score: str = "environment/score", metrics: tuple[str, ...] = ()) -> None:
        self._score, self._metrics = score, metrics
        self.run_id = os.environ.get("METTA_SWEEP_RUN", "run")

    def log(self, logs: Mapping[str, float], step: int) -> None:
        """Called by PufferLib; before the first episode ends there is no score."""
        if self._score in logs:
            further = {name.rpartition("/")[2]: float(logs[name]) for name in self._metrics if name in logs}
            report(score=float(logs[self._score]), step=int(step), **further)

    def close(self, model_path: str) -> None:
        """Called at the end; checkpoints stay where PufferLib wrote them."""
        del model_path
