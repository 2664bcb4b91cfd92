"""Cost-aware hyperparameter sweeps for reinforcement learning.

`report` is what a training program of your own calls from inside; `MettaProtein` and `WandbProtein` are what scripts
of the old sweep system import.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trainables.report import report

if TYPE_CHECKING:
    from metta_sweep.tracking.protein_bridge import MettaProtein, WandbProtein

__all__ = ["MettaProtein", "WandbProtein", "report"]
OF_THE_BRIDGE = ("MettaProtein", "WandbProtein")


def __getattr__(name: str) -> Any:
    """Loaded when asked for: a training program that only reports needs neither scipy nor WandB."""
    if name not in OF_THE_BRIDGE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from metta_sweep.tracking import protein_bridge

    return getattr(protein_bridge, name)
