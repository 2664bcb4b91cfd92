"""Cost-aware optimisation of hyperparameters: numpy and scipy only. `ProteinSearch` adapts it to Ray Tune."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from searchers.config import ProteinConfig
from searchers.distributions import CategoricalParameter, Distribution, NumericParameter, register_distribution
from searchers.earlier import EarlierSweep
from searchers.early_stop import Advice, RunningCurve
from searchers.errors import NoAffordableCandidate, ObservationError, SearchError, SpaceError, StateError
from searchers.expression import Expression
from searchers.observation import (
    CurvePoint,
    Explanation,
    FailureKind,
    Interval,
    Observation,
    Origin,
    Outcome,
    Params,
    ParamValue,
    Suggestion,
)
from searchers.protein import FrontPoint, Goal, Prediction, Protein
from searchers.schedule import PhaseLength, merge, phase_of, pick_phase
from searchers.searcher import METHODS, Baseline, Searcher, make_searcher
from searchers.space import Space

if TYPE_CHECKING:
    from searchers.ray_search import ProteinSearch as ProteinSearch

__all__ = [
    "METHODS",
    "Advice",
    "Baseline",
    "CategoricalParameter",
    "CurvePoint",
    "Distribution",
    "EarlierSweep",
    "Explanation",
    "Expression",
    "FailureKind",
    "FrontPoint",
    "Goal",
    "Interval",
    "NoAffordableCandidate",
    "NumericParameter",
    "Observation",
    "ObservationError",
    "Origin",
    "Outcome",
    "ParamValue",
    "Params",
    "PhaseLength",
    "Prediction",
    "Protein",
    "ProteinConfig",
    "RunningCurve",
    "SearchError",
    "Searcher",
    "Space",
    "SpaceError",
    "StateError",
    "Suggestion",
    "make_searcher",
    "merge",
    "phase_of",
    "pick_phase",
    "register_distribution",
]


def __getattr__(name: str) -> Any:
    """Loaded when asked for: all else needs no Ray. It is not in `__all__`, so that `import *` needs none either."""
    if name != "ProteinSearch":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from searchers.ray_search import ProteinSearch

    return ProteinSearch
