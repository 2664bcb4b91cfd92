"""`Trainer(callbacks=[LightningReport("val_return")])`: Lightning reports to a sweep."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

try:
    from lightning.pytorch.callbacks import Callback
except ImportError:  # its older name
    from pytorch_lightning.callbacks import Callback

from trainables.report import report


class LightningReport(Callback):  # type: ignore[misc]  # the library is not typed for us
    """Reports what the module has logged, after each validation, from the main process.

    Args:
        score: name of the logged number that is the score.
        metrics: of further ones.
    """

    def __init__(self, score: str, metrics: Sequence[str] = ()) -> None:
        self._score, self._metrics = score, tuple(metrics)

    def on_validation_end(self, trainer: Any, pl_module: Any) -> None:
        del pl_module
        logged = trainer.callback_metrics
        if trainer.is_global_zero and not trainer.sanity_checking and self._score in logged:
            further = {name: float(logged[name]) for name in self._metrics if name in logged}
            report(score=float(logged[self._score]), step=int(trainer.global_step), **further)
