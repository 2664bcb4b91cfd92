"""What a sweep learns from, and how much each earlier sweep counts now."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from metta_sweep.config.job import Remembered
from metta_sweep.registry.records import RunRecord

WEIGHTS = "memory"  # key of a run's explanation: weights by name of the sweep, when its point was chosen
LARGEST_WEIGHT = 1e6  # beyond it, it is nobody's weight, and too long for a line; a round number, not tuned


@dataclass(frozen=True, slots=True)
class LearnedFrom:
    """An earlier sweep.

    Attributes:
        sweep: its name.
        observations: results that are learned from.
        weight: factor on the scores that it predicts, when the newest point was chosen: about 1 where it ranks as the
            new sweep does, 0 where it says nothing, below 0 where it says the contrary; None before there is one.
    """

    sweep: str
    observations: int
    weight: float | None = None

    @property
    def text(self) -> str:
        """`arena_a (40 runs, weight 0.41)`."""
        weight = "" if self.weight is None else f", weight {self.weight:.2f}"
        return f"{self.sweep} ({self.observations} run{'s' * (self.observations != 1)}{weight})"


def learned(remembered: Sequence[Remembered], runs: Iterable[RunRecord] = ()) -> tuple[LearnedFrom, ...]:
    """What a specification says that its sweep learns from, with the weights that the newest run was chosen with."""
    told = [run for run in runs if isinstance(run.explanation.get(WEIGHTS), Mapping)] if remembered else []
    newest = max(told, key=lambda run: run.number).explanation[WEIGHTS] if told else {}
    return tuple(LearnedFrom(one.sweep, one.observations, _weight(newest.get(one.sweep))) for one in remembered)


def learned_text(sweeps: Sequence[LearnedFrom]) -> str:
    """`learns from: arena_a (40 runs), arena_b (38 runs)`; "" when there is nothing."""
    return f"learns from: {', '.join(one.text for one in sweeps)}" if sweeps else ""


def _weight(value: object) -> float | None:
    """Somebody's JSON as a weight."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number and abs(value) <= LARGEST_WEIGHT else None  # type: ignore[arg-type]
