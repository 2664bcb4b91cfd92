"""Cost-aware hyperparameter sweeps for reinforcement learning. `report` is what a training program of your own calls from inside."""

from trainables.report import report

__all__ = ["report"]
