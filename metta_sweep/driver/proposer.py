"""Which point comes next: one searcher per phase of the schedule, all fed with every observation."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any

from metta_sweep.config.job import Phase, SweepSpec
from metta_sweep.driver.outcome import to_searcher
from metta_sweep.errors import ConfigError
from metta_sweep.registry.records import ObservationRecord, RunRecord
from searchers import CurvePoint, Interval, Observation, Suggestion, make_searcher, phase_of


class Proposer:
    """Suggestions for a sweep; what it says depends on the observations so far, the run's number and the pending points only."""

    def __init__(self, spec: SweepSpec, seed: int) -> None:
        self._spec = spec
        self._seed = seed
        self._observations: list[Observation] = []
        self._searchers: dict[str, Any] = {}
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
            observation = to_searcher(record)
            self._observations.append(observation)
            self._cursor = record.sequence
            for searcher in self._searchers.values():
                searcher.observe(observation)

    def phase(self, number: int) -> Phase:
        """Phase of run `number`; decided once, when it is reserved."""
        return phase_of(number, self._spec.phases)

    def suggest(self, number: int, pending: Sequence[dict[str, Any]]) -> Suggestion:
        """The point for run `number`, given the parameters of runs that are not back yet."""
        suggestion: Suggestion = self._searcher(self.phase(number)).suggest(pending=pending, number=number)
        return suggestion

    def believe(self, params: dict[str, Any]) -> Interval | None:
        """What the last phase's model believes of the noiseless score at a point; None without a model or outside its space."""
        searcher = self._searcher(self._spec.phases[-1])
        prediction = searcher.predict(params) if hasattr(searcher, "predict") else None
        return prediction.score if prediction is not None else None

    def advise(self, record: RunRecord, curve: Sequence[CurvePoint], total_steps: int) -> Any:
        """What the optimiser makes of a running run's curve."""
        return self._searcher(self.phase(record.number)).advise(curve, params=dict(record.params), total_steps=total_steps)

    def _searcher(self, phase: Phase) -> Any:
        if phase.name not in self._searchers:
            searcher = self._make(phase)
            for observation in self._observations:
                searcher.observe(observation)
            self._searchers[phase.name] = searcher
        return self._searchers[phase.name]

    def _make(self, phase: Phase) -> Any:
        spec = self._spec
        if spec.searcher is None:
            return make_searcher(spec.method, phase.space, phase.protein, goal=spec.goal, seed=self._seed)
        return load_class(spec.searcher)(phase.space, phase.protein, goal=spec.goal, seed=self._seed)


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
