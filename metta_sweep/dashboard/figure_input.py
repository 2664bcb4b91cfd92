"""What a figure is drawn from: a snapshot, the rows that the view keeps, and the page's look."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pandas as pd

from metta_sweep.analysis.health import Finding, check_runs
from metta_sweep.analysis.recommend import Recommendation
from metta_sweep.analysis.searched_space import searched_space
from metta_sweep.dashboard.background_fits import Fit
from metta_sweep.dashboard.figures.theme import LOOKS, Look
from metta_sweep.dashboard.snapshot import Snapshot
from metta_sweep.dashboard.view import View, filtered
from searchers import NumericParameter, Space


@dataclass(frozen=True)
class FigureInput:
    """Input of every figure of a sweep.

    Attributes:
        snapshot: the sweep as it was read.
        view: what the page shows.
        fit: what the background worked out, or None while it is at it.
    """

    snapshot: Snapshot
    view: View
    fit: Fit | None

    @property
    def look(self) -> Look:
        return LOOKS[self.view.theme]

    @property
    def goal(self) -> str:
        return self.snapshot.goal

    @cached_property
    def runs(self) -> pd.DataFrame:
        """Rows inside the view's ranges."""
        return filtered(self.snapshot.runs, self.view)

    @cached_property
    def in_ranges(self) -> pd.DataFrame:
        """Rows inside the ranges, whatever the table filters of them: it does so in the browser."""
        return filtered(self.snapshot.runs, dataclasses.replace(self.view, where={}, find=""))

    @cached_property
    def chosen(self) -> pd.DataFrame:
        """Rows that are chosen in the table, in the order of their numbers."""
        return self.snapshot.all_runs[self.snapshot.all_runs["number"].isin(self.view.chosen)]

    @cached_property
    def unbrushed(self) -> pd.DataFrame:
        """Rows inside the ranges of score and cost, whatever is brushed."""
        return filtered(self.snapshot.runs, dataclasses.replace(self.view, brush={}, only={}))

    @property
    def findings(self) -> list[Finding]:
        """About the runs, and about the model as soon as there is one."""
        return [*check_runs(self.snapshot.all_runs), *(self.fit.findings if self.fit is not None else ())]

    @cached_property
    def space(self) -> Space | None:
        """What all phases searched together; None for a sweep without a specification."""
        return searched_space(self.snapshot.spec)

    @property
    def log_params(self) -> tuple[str, ...]:
        """Parameters that are searched on a logarithmic scale."""
        parameters = self.space.parameters if self.space is not None else ()
        return tuple(one.name for one in parameters if isinstance(one, NumericParameter) and is_logarithmic(one))

    @property
    def held(self) -> Mapping[str, Any] | None:
        """The point that slices and contours go through: the chosen run's, else the recommended one."""
        chosen = self.snapshot.records.get(self.view.run)
        if chosen is not None:
            return chosen.params
        return self.recommendation.winner.params if self.recommendation is not None else None

    @property
    def recommendation(self) -> Recommendation | None:
        """The configuration to use; None before there is a score, and while the background is at it."""
        return self.fit.recommendation if self.fit is not None else None

    @property
    def pair(self) -> tuple[str, str] | None:
        """The two parameters of the contour: the view's, else the most important ones; None when there are no two."""
        if self.fit is None or self.space is None or self.space.dimension < 2 or "score" not in self.fit.importance:
            return None
        order = self.fit.importance["score"]["parameter"].tolist()
        x = self.view.x if self.view.x in order else order[0]
        y = self.view.y if self.view.y in order and self.view.y != x else next(name for name in order if name != x)
        return x, y


def is_logarithmic(parameter: NumericParameter) -> bool:
    """Whether equal steps of the search multiply the value."""
    return parameter.low > 0 and ("log_normal" in parameter.distribution.name or "pow2" in parameter.distribution.name)
