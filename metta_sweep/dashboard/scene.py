"""What a figure is drawn from: a snapshot, the rows that the view keeps, and the page's look."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import pandas as pd

from metta_sweep.dashboard.figures.theme import LOOKS, Look
from metta_sweep.dashboard.snapshot import Snapshot
from metta_sweep.dashboard.view import View, filtered
from searchers import NumericParameter, Space


@dataclass(frozen=True)
class Scene:
    """Input of every figure of a sweep.

    Attributes:
        snapshot: the sweep as it was read.
        view: what the page shows.
        study: what the background worked out, or None while it is at it.
        others: snapshots of the sweeps to compare with, by name.
    """

    snapshot: Snapshot
    view: View
    others: Mapping[str, Snapshot]

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

    @property
    def space(self) -> Space | None:
        """Search space of the last phase; None for a sweep without a specification."""
        return self.snapshot.spec.phases[-1].space if self.snapshot.spec is not None else None

    @property
    def log_params(self) -> tuple[str, ...]:
        """Parameters whose scale is not linear."""
        parameters = self.space.parameters if self.space is not None else ()
        return tuple(one.name for one in parameters if isinstance(one, NumericParameter) and is_logarithmic(one))


def is_logarithmic(parameter: NumericParameter) -> bool:
    """Whether equal steps of the search multiply the value: its middle lies near the geometric mean of its ends."""
    if parameter.low <= 0:
        return False
    return "log_normal" in parameter.distribution.name or "pow2" in parameter.distribution.name
