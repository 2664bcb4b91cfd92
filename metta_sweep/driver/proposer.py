"""Which point comes next: one searcher per phase of the schedule, all fed with every observation."""

from __future__ import annotations

import importlib
import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from metta_sweep.config.job import Phase, SweepSpec
from metta_sweep.errors import ConfigError
from metta_sweep.registry.observations import to_searcher
from metta_sweep.registry.records import ObservationRecord, RunRecord
from searchers import (
    Advice,
    Goal,
    Interval,
    Observation,
    Params,
    Protein,
    RunningCurve,
    Searcher,
    Suggestion,
    make_searcher,
    pick_phase,
)
from searchers.config import ProteinConfig
from searchers.features import DEFAULT_FIDELITY
from searchers.length_cap import LengthCap, capped, length_cap, length_parameter

logger = logging.getLogger(__name__)


class Proposer:
    """Suggestions for a sweep; what it says depends on the observations so far, the run's number and the pending points
    only.
    """

    def __init__(self, spec: SweepSpec, seed: int) -> None:
        self._spec = spec
        self._seed = seed
        self._observations: list[Observation] = []
        self._searchers: dict[tuple[str, float | None], Searcher] = {}
        self._cursor = 0

    @property
    def cursor(self) -> int:
        """Sequence number of the last observation it was told."""
        return self._cursor

    @property
    def learns(self) -> bool:
        """Whether an observation changes later suggestions; a drawn or listed point need not be drawn again."""
        return self._spec.searcher is not None or self._spec.method == "bayes"

    def observe(self, records: Sequence[ObservationRecord]) -> None:
        """Take in observations in the registry's order."""
        for record in records:
            self._cursor = record.sequence
            try:
                observation = to_searcher(record)
            except (TypeError, ValueError) as error:  # whoever wrote it, the sweep goes on without it
                logger.warning(
                    "result %d of %s says nothing to the optimiser: %s", record.sequence, record.run_id, error
                )
                continue
            self._observations.append(observation)
            for searcher in self._searchers.values():
                searcher.observe(observation)

    def phase(self, number: int) -> Phase:
        """Phase of run `number`; decided once, when it is reserved."""
        phases = self._spec.phases
        return pick_phase(number, phases, [phase.num_runs for phase in phases])

    def length_cap(self, number: int) -> LengthCap | None:
        """How long run `number` may train at most, and why; None outside `auto` phases."""
        phase = self.phase(number)
        length = length_parameter(phase.space, length_name(phase.protein)) if phase.auto else None
        return (
            None if length is None else length_cap(length, self._observations, maximize=self._spec.goal == "maximize")
        )

    def suggest(self, number: int, pending: Sequence[Params]) -> Suggestion:
        """The point for run `number`, given the parameters of runs that are not back yet."""
        return self._searcher(self.phase(number), self.length_cap(number)).suggest(pending=pending, number=number)

    def believe(self, params: Params) -> Interval | None:
        """What the last phase's model believes of the noiseless score at a point; None without a model or outside its
        space.
        """
        searcher = self._searcher(self._spec.phases[-1])
        if not isinstance(searcher, Protein) or not searcher.space.contains(params):
            return None
        return searcher.predict(params).score

    def advise(self, record: RunRecord, curve: RunningCurve) -> Advice | None:
        """Whether a running run should be stopped early; None from a searcher that gives no advice."""
        searcher = self._searcher(self.phase(record.number))
        return searcher.advise(curve) if isinstance(searcher, Protein) else None

    def _searcher(self, phase: Phase, cap: LengthCap | None = None) -> Searcher:
        key = (phase.name, cap.steps if cap else None)
        if key not in self._searchers:
            if cap is not None:  # a cap that was left is rarely come back to, and each searcher fits every observation
                self._searchers = {
                    other: one for other, one in self._searchers.items() if other[0] != phase.name or other[1] is None
                }
                phase = replace(phase, space=capped(phase.space, length_name(phase.protein), cap.steps))
            searcher = self._make(phase)
            for observation in self._observations:
                searcher.observe(observation)
            self._searchers[key] = searcher
        return self._searchers[key]

    def _make(self, phase: Phase) -> Searcher:
        spec = self._spec
        if spec.searcher is None:
            return make_searcher(spec.method, phase.space, phase.protein, goal=direction_of(spec.goal), seed=self._seed)
        searcher: Searcher = load_class(spec.searcher)(phase.space, phase.protein, goal=spec.goal, seed=self._seed)
        return searcher


def length_name(config: ProteinConfig) -> str:
    """The parameter that sets the training length."""
    return config.fidelity or DEFAULT_FIDELITY


def direction_of(goal: str) -> Goal:
    """The goal as the optimiser knows it; the configuration allows no other."""
    return "maximize" if goal == "maximize" else "minimize"


def load_class(path: str) -> Any:
    """`package.module.Class` for `sweep.searcher`.

    Raises:
        ConfigError: when it cannot be imported.
    """
    module, _, name = path.rpartition(".")
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigError(f"sweep.searcher: cannot import {path!r} ({error}); need package.module.Class") from error
