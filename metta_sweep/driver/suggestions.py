"""The optimiser and its thread: points are computed and reserved ahead, so that no slot waits for that."""

from __future__ import annotations

import importlib
import logging
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

from metta_sweep.analysis.memory import WEIGHTS
from metta_sweep.config.job import Phase, SweepSpec
from metta_sweep.driver import messages as ms
from metta_sweep.driver.memory import NOTHING, Past
from metta_sweep.driver.workers import UNFINISHED, SweepContext, Worker
from metta_sweep.errors import ConfigError, Fenced, IllegalTransition, NumberTaken, RegistryError
from metta_sweep.registry.codec import encode
from metta_sweep.registry.observations import to_point, to_searcher
from metta_sweep.registry.records import ObservationRecord, Reservation, RunRecord
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
from searchers.belief import since_of
from searchers.config import ProteinConfig
from searchers.features import DEFAULT_FIDELITY
from searchers.length_cap import LengthCap, capped, length_cap, length_parameter

logger = logging.getLogger(__name__)


class SweepOptimiser:
    """Suggestions for a sweep; they depend on the observations so far, the run's number and the pending points only."""

    def __init__(self, spec: SweepSpec, seed: int, past: Past = NOTHING) -> None:
        self._spec = spec
        self._past = past
        self._seed = seed
        self._observations: list[Observation] = []
        self._searchers: dict[tuple[str, float | None], Searcher] = {}
        self._cursor = 0

    @property
    def cursor(self) -> int:
        """Sequence number of the last observation it was told."""
        return self._cursor

    @property
    def maximizes(self) -> bool:
        """Whether a larger score is better."""
        return self._spec.goal == "maximize"

    def observe(self, records: Sequence[ObservationRecord]) -> None:
        """Take in observations in the registry's order."""
        for record in records:
            self._cursor = record.sequence
            try:
                observation = to_searcher(record)
            except (TypeError, ValueError) as error:  # whoever wrote it, the sweep goes on without it
                text = "result %d of %s is ignored by the optimiser: %s"
                logger.warning(text, record.sequence, record.run_id, error)
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
        return None if length is None else length_cap(length, self._observations, maximize=self.maximizes)

    def suggest(self, number: int, pending: Sequence[Params]) -> Suggestion:
        """The point for run `number`, given the parameters of runs that are not back yet."""
        return self._searcher(self.phase(number), self.length_cap(number)).suggest(pending=pending, number=number)

    def memory(self, number: int) -> dict[str, float]:
        """How much each earlier sweep counts for run `number`, by name; empty when nothing is learned from."""
        searcher = self._searcher(self.phase(number), self.length_cap(number))
        return searcher.memory if isinstance(searcher, Protein) else {}

    def believe(self, params: Params) -> Interval | None:
        """The last phase's belief of the noiseless score at a point; None without a model or outside its space."""
        searcher = self._searcher(self._spec.phases[-1])
        if not isinstance(searcher, Protein) or not searcher.space.contains(params):
            return None
        return searcher.predict(params).score

    def predict_cost(self, phase: Phase, params: Params) -> float | None:
        """The phase's belief of a run's cost at a point, in the sweep's cost unit; None without a model of it."""
        searcher = self._searcher(phase)
        cost = searcher.predict(params).cost if isinstance(searcher, Protein) else None
        return cost.mean if cost is not None else None

    def advise(self, record: RunRecord, curve: RunningCurve) -> Advice | None:
        """Whether a running run should be stopped early; None from a searcher that gives no advice."""
        searcher = self._searcher(self.phase(record.number))
        return searcher.advise(curve) if isinstance(searcher, Protein) else None

    def _searcher(self, phase: Phase, cap: LengthCap | None = None) -> Searcher:
        key = (phase.name, cap.steps if cap else None)
        if key not in self._searchers:
            if cap is not None:  # a cap that was left is rarely come back to, and each searcher fits every observation
                for other in [one for one in self._searchers if one[0] == phase.name and one[1] is not None]:
                    del self._searchers[other]
                phase = replace(phase, space=capped(phase.space, length_name(phase.protein), cap.steps))
            searcher = self._make(phase)
            for observation in self._observations:
                searcher.observe(observation)
            self._searchers[key] = searcher
        return self._searchers[key]

    def _make(self, phase: Phase) -> Searcher:
        spec = self._spec
        if spec.searcher is None:
            goal: Goal = "maximize" if self.maximizes else "minimize"
            since = since_of([(one.space, one.first_number) for one in spec.phases], phase.first_number)
            return make_searcher(
                spec.method,
                phase.space,
                phase.protein,
                goal=goal,
                seed=self._seed,
                earlier=self._past.towards(phase.space),
                since=since,
            )
        searcher: Searcher = load_class(spec.searcher)(phase.space, phase.protein, goal=spec.goal, seed=self._seed)
        return searcher


def length_name(config: ProteinConfig) -> str:
    """The parameter that sets the training length."""
    return config.fidelity or DEFAULT_FIDELITY


def load_class(path: str) -> Any:
    """`package.module.Class` for `sweep.searcher`. Raises `ConfigError` when it cannot be imported."""
    module, _, name = path.rpartition(".")
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigError(f"sweep.searcher: cannot import {path!r} ({error}); need package.module.Class") from error


def reservation_of(suggestion: Suggestion, phase: str, cursor: int) -> Reservation:
    """What the registry stores of a suggestion before anything starts."""
    explanation = suggestion.explanation
    return Reservation(
        number=suggestion.number,
        params=dict(suggestion.params),
        explanation=encode(asdict(explanation)),
        phase=phase,
        cursor=cursor,
        predicted_score=explanation.predicted_score.mean if explanation.predicted_score else None,
        predicted_cost=explanation.predicted_cost.mean if explanation.predicted_cost else None,
    )


RETRY_SECONDS = 2.0  # a guess: a registry that is away is not hammered, and slots hardly idle once it is back
CLOSE_SECONDS = 5.0  # a guess: most suggestions are done by then, and one that is not is of no use to anybody


class SuggestionWorker(Worker):
    """Carries out what the machine asks of the optimiser, one command at a time; no other thread touches it."""

    def __init__(self, context: SweepContext, optimiser: SweepOptimiser) -> None:
        super().__init__("optimiser", context.post)
        self._context = context
        self._registry = context.registry
        self._optimiser = optimiser

    def close(self) -> None:
        """End; nothing is asked any more."""
        self.join(CLOSE_SECONDS)

    def work(self) -> None:
        while (command := self._commands.get()) is not None:
            self._post(ms.Idle() if self._closing.is_set() else self._carry_out(command))

    def _carry_out(self, command: ms.ForOptimiser) -> ms.Event:
        try:
            return self._answer(command)
        except NumberTaken:
            return ms.Idle()
        except RegistryError as error:
            logger.warning("registry: %s; trying again in %.0f s", error, RETRY_SECONDS)
            self._closing.wait(RETRY_SECONDS)
            return ms.Idle()

    def _answer(self, command: ms.ForOptimiser) -> ms.Event:
        match command:
            case ms.Advise():
                return self._advise(command)
            case ms.Propose(number, instead_of):
                return self._read_news() or self._propose(number, instead_of)
            case ms.Reserve(reservation, None):
                reserved = self._reserve(reservation)
                return ms.Reserved(reserved, self._context.tally(reserved.record.number + 1))
            case ms.Reserve(reservation, run) if run is not None:
                return ms.Reserved(self._replace(run.record, reservation))
        return self._read_news() or ms.Learned(self._optimiser.cursor, None, self._context.tally())

    def _read_news(self) -> ms.Learned | None:
        """None when there is none; what there is may change what should be computed next."""
        records = self._registry.observations(self._context.sweep.name, after=self._optimiser.cursor)
        if not records:
            return None
        self._optimiser.observe(records)
        scores = [record.observation.score for record in records if record.observation.score is not None]
        best = (max if self._optimiser.maximizes else min)(scores, default=None)
        return ms.Learned(self._optimiser.cursor, best, self._context.tally())

    def _advise(self, command: ms.Advise) -> ms.Advised:
        record = command.record
        points = tuple(map(to_point, command.curve))
        advice = self._optimiser.advise(record, RunningCurve(record.params, points, command.total_steps))
        if advice is None or not advice.stop:
            return ms.Advised(record.id, None)
        logger.info("%s: stopped early: %s", record.id, advice.reason)
        return ms.Advised(record.id, advice.reason)

    def _propose(self, number: int, instead_of: ms.ReservedRun | None) -> ms.SuggestionReady:
        replaced = "" if instead_of is None else instead_of.id
        unfinished = self._registry.runs(self._context.sweep.name, states=UNFINISHED)
        pending = [run.params for run in unfinished if run.id != replaced and run.number < number]
        started = time.monotonic()
        suggestion = self._optimiser.suggest(number, pending)
        seconds = time.monotonic() - started
        reservation = reservation_of(suggestion, self._optimiser.phase(number).name, self._optimiser.cursor)
        if weights := self._optimiser.memory(number):
            reservation = replace(reservation, explanation={**reservation.explanation, WEIGHTS: weights})
        if cap := self._optimiser.length_cap(number):
            reservation = replace(reservation, explanation={**reservation.explanation, "length_cap": asdict(cap)})
        return ms.SuggestionReady(reservation, self._context.tally(number), seconds)

    def _reserve(self, reservation: Reservation) -> ms.ReservedRun:
        sweep, owner = self._context.sweep.name, self._context.owner
        seconds = self._context.rules.settings.lease_seconds
        key = f"{sweep}:reserve:{reservation.number}:{owner.pid}:{owner.started}"
        record = self._registry.reserve(sweep, reservation, owner, lease_seconds=seconds, key=key)
        return self._context.prepare(record)

    def _replace(self, record: RunRecord, reservation: Reservation) -> ms.ReservedRun | None:
        """The run with its new point; None when it may not have one any more."""
        key = f"{record.id}:point:{reservation.cursor}:{record.fence}"
        try:
            replaced = self._registry.replace_suggestion(record.id, record.fence, reservation, key=key)
            return self._context.prepare(replaced)
        except (Fenced, IllegalTransition) as error:
            logger.warning("%s: %s", record.id, error)
            return None
