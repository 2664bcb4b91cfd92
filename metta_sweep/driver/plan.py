"""What a sweep will do and cost, before anything starts: arithmetic over the job and what the registry knows."""

from __future__ import annotations

import logging
import math
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from metta_sweep.analysis.charges import charged_seconds
from metta_sweep.analysis.memory import LearnedFrom, learned
from metta_sweep.config import resolve_run
from metta_sweep.config import tree as trees
from metta_sweep.config.job import Phase, SweepJob
from metta_sweep.driver.memory import NOTHING, Past, read_past
from metta_sweep.driver.rules import SweepLimits, cap_seconds
from metta_sweep.driver.suggestions import SweepOptimiser
from metta_sweep.errors import UnreadableSweep
from metta_sweep.registry.owner import is_dead
from metta_sweep.registry.reader import Reader, readable
from metta_sweep.registry.records import AttemptRecord, ObservationRecord, RunRecord, RunState
from metta_sweep.registry.specs import parse_spec
from searchers import Suggestion
from trainables.kinds import kind_of

logger = logging.getLogger(__name__)

MAX_SUGGESTIONS = 5  # of a plan; a guess: enough to see what the search does, and each takes the optimiser's time
LENGTH = "trainer.total_timesteps"  # what a run of our own trainer is to do


@dataclass(frozen=True, slots=True)
class History:
    """What the registry knows of this sweep; all empty before its first start.

    Attributes:
        spent_seconds: GPU seconds (slot seconds without GPU) of all attempts.
        elapsed_seconds: since the sweep was first started.
        seconds_per_cost: what a run takes on its slot, all attempts, for each second of the optimiser's cost; None
            before a run has a score.
    """

    runs: Sequence[RunRecord] = ()
    observations: Sequence[ObservationRecord] = ()
    spent_seconds: float = 0.0
    elapsed_seconds: float = 0.0
    seconds_per_cost: float | None = None


@dataclass(frozen=True, slots=True)
class PhasePlan:
    """A phase, or what is left of it.

    Attributes:
        name: "" without a schedule.
        first_number, num_runs: which runs belong to it; None = until a stop rule.
        done: runs of it that have ended.
        max_suggestion_cost: wall seconds; None = no limit.
        run_seconds: what a run is expected to take on its slot; None = not known.
    """

    name: str
    first_number: int
    num_runs: int | None
    done: int
    max_suggestion_cost: float | None
    run_seconds: float | None

    @property
    def remaining(self) -> float:
        """Runs to come; infinite in a phase without end."""
        return math.inf if self.num_runs is None else max(self.num_runs - self.done, 0)


@dataclass(frozen=True, slots=True)
class StopRule:
    """One thing that ends the sweep. `runs`: how many more it is expected to leave room for; None = cannot be told."""

    rule: str
    runs: int | None


@dataclass(frozen=True, slots=True)
class SweepPlan:
    """The answer to "what will this do, and what will it cost?".

    Attributes:
        runs: further runs that are expected; None = until stopped.
        seconds: until the end, wall clock; None = not known.
        gpu_hours: 0 without GPUs.
        slot_hours: hours of occupied slots.
        dollars: None without `budget.hourly_cost`.
        basis: where the figures come from, for people.
        stops: what will end it, what is expected first coming first.
        left_out: why sweeps of the registry could not be read, and tell nothing.
        learns_from: earlier sweeps.
    """

    sweep_name: str
    phases: tuple[PhasePlan, ...]
    slots: int
    runs: int | None
    seconds: float | None
    gpu_hours: float | None
    slot_hours: float | None
    dollars: float | None
    basis: str
    waiting: tuple[str, ...]
    suggestions: tuple[Suggestion, ...]
    stops: tuple[StopRule, ...]
    left_out: tuple[str, ...] = ()
    learns_from: tuple[LearnedFrom, ...] = ()


def make_plan(job: SweepJob, slots: int, history: History, pace: Pace | None, past: Past = NOTHING) -> SweepPlan:
    """Put the plan together; `slots` runs at once, `pace` None without past runs of the same task."""
    optimiser = SweepOptimiser(job.sweep, job.seed, past)
    optimiser.observe(history.observations)
    suggestions = first_suggestions(optimiser, slots, history)
    phases = plan_phases(job, history, pace, Expectation(optimiser, suggestions, history.seconds_per_cost))
    stops = stop_rules(job, slots, history, phases)
    runs = min((stop.runs for stop in stops if stop.runs is not None), default=None)
    seconds = None if runs is None else slot_seconds(phases, runs)
    hours = None if seconds is None else seconds / 3600.0
    gpus = job.resources.gpus_per_worker * job.resources.world_size
    price = job.budget.hourly_cost
    return SweepPlan(
        sweep_name=job.sweep_name,
        phases=phases,
        slots=slots,
        runs=runs,
        seconds=None if runs is None or seconds is None else wall_seconds(phases, runs, slots),
        gpu_hours=None if hours is None else hours * gpus,
        slot_hours=hours,
        dollars=None if hours is None or price is None else hours * (gpus or 1.0) * price,
        basis=describe_basis(phases, pace),
        waiting=tuple(run.id for run in waiting(history) if not is_running(run)),
        suggestions=suggestions if runs is None else suggestions[: max(runs - len(waiting(history)), 0)],
        stops=stops,
        learns_from=learned(job.sweep.remembered, history.runs),
    )


@dataclass(frozen=True, slots=True)
class Expectation:
    """What the optimiser expects of runs to come; `seconds_per_cost` as in `History`."""

    optimiser: SweepOptimiser
    suggestions: Sequence[Suggestion]
    seconds_per_cost: float | None

    def run_seconds(self, phase: Phase) -> float | None:
        """Mean over the next points of the phase, or at its search centre; None without a model of cost."""
        if self.seconds_per_cost is None:
            return None
        own = [one.params for one in self.suggestions if self.optimiser.phase(one.number).name == phase.name]
        costs = [self.optimiser.predict_cost(phase, params) for params in own or [phase.space.center()]]
        known = [cost for cost in costs if cost is not None]
        return self.seconds_per_cost * sum(known) / len(known) if known else None


def plan_phases(job: SweepJob, history: History, pace: Pace | None, forecast: Expectation) -> tuple[PhasePlan, ...]:
    """Every phase with what a run of it is expected to take."""
    done = Counter(run.phase for run in history.runs if run.state.is_final)

    def planned(phase: Phase) -> PhasePlan:
        most, takes = phase.protein.max_suggestion_cost, run_seconds(job, phase, pace, forecast)
        return PhasePlan(phase.name, phase.first_number, phase.num_runs, done[phase.name], most, takes)

    return tuple(map(planned, job.sweep.phases))


def run_seconds(job: SweepJob, phase: Phase, pace: Pace | None, forecast: Expectation) -> float | None:
    """Wall seconds of a run at the phase's search centre, or the most that a run may take when no past run tells.

    What a program or function counts as a step is its own, and none of ours says how many it makes: its runs are
    expected to take what its past runs took, by the optimiser's model of cost where there is one.
    """
    most = phase.protein.max_suggestion_cost
    if pace is None:
        return most
    config = resolve_run(job.train, "plan", phase.space.center(), seed=job.seed)
    steps = trees.get(config, trees.split(LENGTH))
    if not kind_of(config).plays_suite:
        expected = forecast.run_seconds(phase) or pace.seconds_per_run
    else:
        expected = pace.of_steps(float(steps)) if isinstance(steps, int | float) else pace.seconds_per_run
    return expected if most is None else min(expected, most)


def describe_basis(phases: Sequence[PhasePlan], pace: Pace | None) -> str:
    """Whence the figures come; one that nobody knows is said to be so."""
    if pace is not None:
        return f"from {pace.num_runs} past runs of the same task ({', '.join(pace.sweeps)})"
    if all(phase.run_seconds is not None for phase in phases):
        return "at most, from max_suggestion_cost: this is the first sweep of this task"
    return "this is the first sweep of this task, and max_suggestion_cost sets no limit"


def stop_rules(job: SweepJob, slots: int, history: History, phases: Sequence[PhasePlan]) -> tuple[StopRule, ...]:
    """Every rule that is set, with the number of further runs that it leaves room for; the tightest first."""
    sweep, budget, gpus = job.sweep, job.budget, job.resources.gpus_per_worker * job.resources.world_size
    found: list[StopRule] = []
    if sweep.num_samples is not None:
        ended = sum(run.state.is_final for run in history.runs)
        found.append(StopRule(f"sweep.num_samples={sweep.num_samples}", max(sweep.num_samples - ended, 0)))
    caps = {"gpu_hours": budget.gpu_hours if gpus else None, "dollars": budget.dollars}
    for name, value in caps.items():
        only = replace(budget, **{other: None for other in caps if other != name})
        cap = cap_seconds(SweepLimits(None, None, True, only, has_gpus=gpus > 0))
        if value is not None and cap is not None:
            room = max(cap - history.spent_seconds, 0.0) / (gpus or 1.0)
            found.append(StopRule(f"budget.{name}={value:g}", runs_within(phases, room)))
    if budget.wall_clock is not None:
        room = max(budget.wall_clock - history.elapsed_seconds, 0.0) * slots
        found.append(StopRule(f"budget.wall_clock={budget.wall_clock:g}", runs_within(phases, room)))
    if sweep.target_score is not None:
        found.append(StopRule(f"sweep.target_score={sweep.target_score:g}", None))
    return tuple(sorted(found, key=lambda stop: math.inf if stop.runs is None else stop.runs))


def runs_within(phases: Sequence[PhasePlan], room_seconds: float) -> int | None:
    """How many runs fit into so many seconds of one slot; None when a run's length is not known."""
    runs = 0
    for phase in phases:
        if not phase.run_seconds:
            return None
        # A budget of exactly three runs has room for three, whatever the last bit of the quotient says.
        fit = min(phase.remaining, math.floor(room_seconds / phase.run_seconds + 1e-9))
        runs += int(fit)
        room_seconds -= fit * phase.run_seconds
        if fit < phase.remaining:
            break
    return runs


def slot_seconds(phases: Sequence[PhasePlan], runs: int) -> float | None:
    """Seconds of slots that the next `runs` runs take; None when a run's length is not known."""
    total = 0.0
    for phase in phases:
        now = min(phase.remaining, runs)
        if not now:
            continue
        if phase.run_seconds is None:
            return None
        total += now * phase.run_seconds
        runs -= int(now)
    return total


def wall_seconds(phases: Sequence[PhasePlan], runs: int, slots: int) -> float:
    """Until the last of `runs` runs ends: slots are never idle, but a run does not split."""
    full = slot_seconds(phases, runs) or 0.0
    longest = max((phase.run_seconds or 0.0 for phase in phases if phase.remaining), default=0.0)
    return max(full / slots, longest) if runs else 0.0


def waiting(history: History) -> list[RunRecord]:
    """Runs that come before any new one."""
    return [run for run in history.runs if not run.state.is_final]


def is_running(run: RunRecord) -> bool:
    """Whether somebody who may be alive runs it; what a killed driver ran is taken up first."""
    return run.state is RunState.RUNNING and not (run.owner is not None and is_dead(run.owner))


def first_suggestions(optimiser: SweepOptimiser, slots: int, history: History) -> tuple[Suggestion, ...]:
    """What the optimiser will propose for the first slots, as `run` itself will compute it."""
    pending: list[Mapping[str, Any]] = [run.params for run in waiting(history)]
    first = len(history.runs)  # numbers have no gaps
    found: list[Suggestion] = []
    for number in range(first, first + min(max(slots, 2), MAX_SUGGESTIONS)):
        found.append(optimiser.suggest(number, pending))
        pending.append(found[-1].params)
    return tuple(found)


# What a task is: the world, how a policy is scored in it, and the program that trains.
TASK_KEYS = ("env", "sim", "trainable", "trainer.curriculum")


@dataclass(frozen=True, slots=True)
class Pace:
    """What past runs took on their slot, set-up, evaluation and lost attempts included, in the mean.

    `seconds_per_step`: per environment step; None when the runs count no steps.
    """

    seconds_per_run: float
    seconds_per_step: float | None
    num_runs: int
    sweeps: tuple[str, ...]

    def of_steps(self, env_steps: float) -> float:
        """Expected seconds of a run of this length."""
        return self.seconds_per_run if self.seconds_per_step is None else self.seconds_per_step * env_steps


def past_pace(
    registry: Reader, spec_yaml: str, *, has_gpus: bool, left_out: Callable[[str], None] = logger.warning
) -> Pace | None:
    """The pace of all finished runs of the same task and kind of device; `left_out` hears of what cannot be read."""
    task = task_of(spec_yaml)
    seconds: list[tuple[float, int]] = []
    sweeps: list[str] = []
    for sweep in registry.list_sweeps():
        try:
            with readable(sweep.name):
                if not sweep.spec_yaml or task_of(sweep.spec_yaml) != task:
                    continue
                found = finished(registry.observations(sweep.name), registry.attempts(sweep.name), has_gpus=has_gpus)
        except UnreadableSweep as error:
            left_out(str(error))
            continue
        seconds += found
        sweeps += [sweep.name] if found else []
    return mean_pace(seconds, sweeps)


def task_of(spec_yaml: str) -> dict[str, Any]:
    """What tells tasks apart in a registered specification."""
    train: Mapping[str, Any] = parse_spec(spec_yaml).get("train") or {}
    return {key: trees.get(train, trees.split(key)) for key in TASK_KEYS}


def finished(
    observations: Sequence[ObservationRecord], attempts: Iterable[AttemptRecord], *, has_gpus: bool
) -> list[tuple[float, int]]:
    """(slot seconds over all attempts, environment steps) of each run that ended with a score."""
    paid: dict[str, float] = {}
    for attempt in attempts:
        if attempt.ended_at is not None and (attempt.num_gpus > 0) == has_gpus:
            paid[attempt.run_id] = paid.get(attempt.run_id, 0.0) + charged_seconds(attempt, gpus=False)
    scored = [record for record in observations if record.observation.score is not None and record.run_id in paid]
    return [(paid[record.run_id], record.observation.env_steps) for record in scored]


def mean_pace(seconds: Sequence[tuple[float, int]], sweeps: Sequence[str]) -> Pace | None:
    """Means over runs; the pace per step is the ratio of the sums, so that long runs weigh more."""
    if not seconds:
        return None
    total, steps = sum(paid for paid, _ in seconds), sum(count for _, count in seconds)
    return Pace(total / len(seconds), total / steps if steps else None, len(seconds), tuple(sweeps))


def plan_from(registry: Reader, job: SweepJob, slots: int) -> SweepPlan:
    """Read what is known of this sweep and of runs like its own, and plan; nothing is written."""
    has_gpus = job.resources.gpus_per_worker > 0
    left_out: list[str] = []
    pace = past_pace(registry, job.spec_yaml, has_gpus=has_gpus, left_out=left_out.append)
    with readable(job.sweep_name):
        history = read_history(registry, job.sweep_name, has_gpus=has_gpus)
    past = read_past(registry, job.sweep, job.spec_yaml)
    return replace(make_plan(job, slots, history, pace, past), left_out=(*left_out, *past.lost))


def read_history(registry: Reader, sweep_name: str, *, has_gpus: bool) -> History:
    """This sweep so far; an empty history when it does not exist."""
    sweep = next((one for one in registry.list_sweeps() if one.name == sweep_name), None)
    if sweep is None:
        return History()
    attempts, observations = registry.attempts(sweep_name), registry.observations(sweep_name)
    spent = sum(charged_seconds(attempt, gpus=has_gpus) for attempt in attempts)
    scored = {one.run_id: one.observation.cost_seconds for one in observations if one.observation.score is not None}
    taken = [charged_seconds(one, gpus=False) for one in attempts if one.run_id in scored]
    rate = sum(taken) / sum(scored.values()) if sum(scored.values()) > 0 and taken else None
    elapsed = time.time() - sweep.created_at
    return History(registry.runs(sweep_name), observations, spent, elapsed, rate)
