"""What a driver knows at one moment, and what can be read from it; `step.py` says how it changes."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from metta_sweep.capacity import Node, slots_on, usable
from metta_sweep.config.job import Settings, SweepJob
from metta_sweep.driver import messages as ms
from metta_sweep.driver.messages import LiveRun, ReservedRun
from metta_sweep.driver.past import PastRuns
from metta_sweep.driver.rules import FailureCount, StopReason, SweepLimits, Tally, cost_clock
from metta_sweep.errors import SweepError
from metta_sweep.registry.records import JsonObject, RunRecord
from searchers.features import DEFAULT_FIDELITY
from searchers.observation import Params, number_of
from trainables.failures import Failure
from trainables.resources import Resources

# How long a free slot waits for a point that knows the newest result; the wait costs less than a run on old news.
FRESHNESS_SECONDS = 1.0
# Tune's loop stands still meanwhile, and every other slot that is free waits behind it. So all waits together get at
# most half of its time: in a queue that is busy half of the time one stands half as long again as one is served.
WAITING_SHARE = 0.5
# How often the optimiser looks for results of other drivers, and whether a stop rule still holds.
POLL_SECONDS = 1.0
# How often people's requests and runs that lost their driver are looked for; leases have their own setting.
LOOK_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Rules:
    """What does not change while a driver runs.

    Attributes:
        clock: field of `Span` that the optimiser's cost is read from.
        early_stopping: whether the optimiser may end running runs.
        lengths: names of the parameters that set the training length, of any phase.
        promised: nodes that an autoscaler may buy.
    """

    sweep: str
    settings: Settings
    resources: Resources
    limits: SweepLimits
    clock: str
    early_stopping: bool = False
    lengths: frozenset[str] = frozenset()
    promised: tuple[Node, ...] = ()

    @classmethod
    def of(cls, job: SweepJob, promised: tuple[Node, ...]) -> Rules:
        """What does not change while a driver of this sweep runs."""
        sweep, gpus = job.sweep, job.resources.gpus_per_worker * job.resources.world_size
        maximize = sweep.goal == "maximize"
        limits = SweepLimits(sweep.num_samples, sweep.target_score, maximize, job.budget, has_gpus=gpus > 0)
        clock = cost_clock(sweep.cost, gpus)
        lengths = frozenset(phase.protein.fidelity or DEFAULT_FIDELITY for phase in sweep.phases)
        return cls(job.sweep_name, job.settings, job.resources, limits, clock, sweep.early_stopping, lengths, promised)

    @property
    def num_gpus(self) -> float:
        """GPUs that one run holds."""
        return self.resources.gpus_per_worker * self.resources.world_size

    def usable(self, capacity: Capacity) -> tuple[Node, ...]:
        """Nodes that stay and take runs."""
        return usable(capacity.nodes, self.promised, {*capacity.cordoned, *capacity.leaving})

    def count_slots(self, capacity: Capacity) -> int:
        """Runs that fit at once on nodes that stay and take runs."""
        return slots_on(self.resources, self.usable(capacity))

    def asked_steps(self, params: Params) -> int:
        """Training length that a run was asked for; 0 when its parameters do not say."""
        return int(next((number_of(params[name]) for name in sorted(self.lengths) if name in params), 0.0))

    def slot_seconds(self, cost: float) -> float:
        """The optimiser's cost is CPU seconds over ranks when there is no GPU; a slot runs all ranks at once."""
        return cost if self.limits.has_gpus else cost / self.resources.world_size


@dataclass(frozen=True, slots=True)
class Stop:
    """Why no new runs start.

    Attributes:
        reason: the first one; None while new runs start.
        now: whether running runs checkpoint and end, too.
        error: what ends the command.
        by_user: whether it was Ctrl-C.
    """

    reason: StopReason | None = None
    now: bool = False
    error: SweepError | None = None
    by_user: bool = False


@dataclass(frozen=True, slots=True)
class Capacity:
    """The nodes under the sweep.

    Attributes:
        nodes: that live, by id.
        leaving: that Ray drains now.
        cordoned: that lost too many runs, in order of their ids; the next run must not go to one.
        fast_losses: in a row, each soon after its start, by node.
        slots: runs that fit at once.
    """

    nodes: Mapping[str, Node] = field(default_factory=dict)
    leaving: frozenset[str] = frozenset()
    cordoned: tuple[str, ...] = ()
    fast_losses: Mapping[str, int] = field(default_factory=dict)
    slots: int = 0

    @property
    def wanted(self) -> int:
        """Runs that may be live: one also where none fits, for an autoscaler looks at its open request."""
        return max(self.slots, 1)


@dataclass(frozen=True, slots=True)
class Waiting:
    """Since when runs wait for a place, since when nothing runs meanwhile, and whether that was told."""

    since: float | None = None
    idle_since: float | None = None
    is_told: bool = False


@dataclass(frozen=True, slots=True)
class Optimiser:
    """The optimiser's thread as seen from here.

    Attributes:
        asked: what it works on.
        asked_news: results that had been numbered when it was asked.
        asked_at: when.
        cursor: last observation that it knows.
        news: results of ours that the registry has numbered, or refused for good.
        seen: how many of them it knows.
        learned_at: when it last looked.
        next_number: of the next run; None when it has to look first.
        limit: why no further run may be reserved, by what it knows.
        curves: of running runs, that it should look at.
        suggest_seconds: that the last suggestion took.
        tally: what it last read of the whole sweep; None before.
    """

    asked: ms.ForOptimiser | None = None
    asked_news: int = 0
    asked_at: float = 0.0
    cursor: int = 0
    news: int = 0
    seen: int = 0
    learned_at: float = -math.inf
    next_number: int | None = None
    limit: StopReason | None = None
    curves: Mapping[str, ms.Advise] = field(default_factory=dict)
    suggest_seconds: float = 0.0
    tally: Tally | None = None


@dataclass(frozen=True, slots=True)
class State:
    """A driver at one moment; readers in other threads may hold one as long as they like.

    Attributes:
        ready: reserved runs that wait for a slot, those that have run before first.
        live: runs that Tune has, by id.
        past: runs that ended here.
        returning: lost runs whose message the registry has not answered: the time of their next start, by id.
        undelivered: ids of runs whose end the registry has not answered.
        losses: how often this driver lost each run.
        endings: how each lost run ended the last time.
        failures: in a row.
        resting: until when each slot rests after a failed run.
        stops: why the optimiser ends running runs, by id.
        lost: running runs that another driver holds now.
        checkpointed: costs of runs that wrote a checkpoint when asked to, by id.
        best: score of the sweep.
        asking_since: when Tune asked for the run that it waits for.
        may_wait: how long it may do so, in seconds; while it does not ask, how long it might have when it was answered.
        answered_at: when that was.
        beat_at, looked_at, loop_seen_at: when leases were extended, the registry looked at, Tune's loop seen to turn.
        is_looking: whether `Poll` is not answered yet.
        error: what ended a thread of the driver.
        has_ended: whether Tune's loop is over.
        is_over: whether the driver is.
    """

    rules: Rules
    failures: FailureCount
    ready: tuple[ReservedRun, ...] = ()
    live: Mapping[str, LiveRun] = field(default_factory=dict)
    past: PastRuns = field(default_factory=PastRuns)
    returning: Mapping[str, float] = field(default_factory=dict)
    undelivered: frozenset[str] = frozenset()
    losses: Mapping[str, int] = field(default_factory=dict)
    endings: Mapping[str, Failure] = field(default_factory=dict)
    resting: tuple[float, ...] = ()
    stops: Mapping[str, str] = field(default_factory=dict)
    lost: frozenset[str] = frozenset()
    checkpointed: Mapping[str, JsonObject] = field(default_factory=dict)
    best: float | None = None
    stop: Stop = Stop()
    capacity: Capacity = Capacity()
    waiting: Waiting = Waiting()
    optimiser: Optimiser = Optimiser()
    asking_since: float | None = None
    may_wait: float = FRESHNESS_SECONDS
    answered_at: float = 0.0
    beat_at: float = 0.0
    looked_at: float = 0.0
    loop_seen_at: float = 0.0
    is_looking: bool = False
    error: BaseException | None = None
    has_ended: bool = False
    is_over: bool = False

    @property
    def runs(self) -> list[LiveRun]:
        """What this driver started, in the order of their last start: all that live or may go on, and the last that
        ended.
        """
        return sorted([*self.past.shown, *self.live.values()], key=lambda run: run.started_at)

    @property
    def held(self) -> tuple[str, ...]:
        """Ids of the runs whose leases must be kept."""
        return (*self.live, *self.returning, *(run.id for run in self.ready))

    @property
    def is_fresh(self) -> bool:
        """Whether the optimiser knows every result of ours, and no run of ours is on its way back."""
        return not self.undelivered and self.optimiser.seen == self.optimiser.news

    @property
    def is_limited(self) -> bool:
        """Whether a stop rule that knows every result allows no further run."""
        return self.optimiser.limit is not None and self.is_fresh

    @property
    def is_settled(self) -> bool:
        """Whether nothing that would have to be given back can come any more."""
        return self.has_ended and not self.is_looking and not self.returning and self.optimiser.asked is None

    def should_stop(self, run_id: str) -> bool:
        """Whether a running run should end at its next report."""
        return run_id in self.stops or run_id in self.lost

    def tally(self, of_registry: Tally) -> Tally:
        """What is spent and promised now, running runs of this driver included."""
        totals = [run.progress.attempt_costs.total for run in self.live.values() if run.progress]
        running = sum(total.gpu_seconds if self.rules.limits.has_gpus else total.wall_seconds for total in totals)
        spent, committed = of_registry.spent_seconds + running, max(of_registry.committed_seconds - running, 0.0)
        return replace(of_registry, spent_seconds=spent, committed_seconds=committed, best_score=self.best)

    def next_run(self, now: float) -> ReservedRun | None:
        """The first run whose time has come, whose point is not being replaced, and that is not live still."""
        asked = self.optimiser.asked
        replaced = asked.instead_of.id if isinstance(asked, ms.Reserve) and asked.instead_of else ""
        busy = {replaced, *self.live}
        return next((run for run in self.ready if run.id not in busy and run.not_before <= now), None)

    @property
    def stale_run(self) -> ReservedRun | None:
        """The next run to start whose point may change, when it does not know the newest result.

        Those behind it are made anew in their turn: with many slots the next result comes before that.
        """
        first = next((run for run in self.ready if run.cursor is not None), None)
        return first if first is not None and (first.cursor or 0) < self.optimiser.cursor else None

    @property
    def has_room(self) -> bool:
        """Whether a further run should wait for a slot."""
        return self.stop.reason is None and len(self.ready) < self.capacity.wanted

    def wakes_at(self) -> Iterator[float]:
        """When something is due that no event will tell."""
        yield self.beat_at + self.rules.settings.heartbeat_seconds
        if not self.is_looking:
            yield self.looked_at + LOOK_SECONDS
        if self.optimiser.asked is None:
            yield self.optimiser.learned_at + POLL_SECONDS
        if self.asking_since is not None:
            yield self.asking_since + self.may_wait
            yield from (run.not_before for run in self.ready if run.not_before)


def begin(
    rules: Rules, now: float, *, capacity: Capacity, resumed: tuple[ReservedRun, ...] = (), best: float | None = None
) -> State:
    """A driver before its first event, at `now` on its clock; slots are counted, `resumed` runs are ours now."""
    settings = rules.settings
    failures = FailureCount(settings.max_consecutive_failures, settings.max_infrastructure_failures)
    counted = replace(capacity, slots=rules.count_slots(capacity))
    state = State(rules, failures, ready=resumed, best=best, capacity=counted)
    return replace(state, beat_at=now, looked_at=now, loop_seen_at=now)


class Transition:
    """One step in the making."""

    def __init__(self, state: State, now: float) -> None:
        self.state = state
        self.now = now
        self.commands: list[ms.MachineCommand] = []

    def set(self, **changes: Any) -> None:
        self.state = replace(self.state, **changes)

    def set_optimiser(self, **changes: Any) -> None:
        self.set(optimiser=replace(self.state.optimiser, **changes))

    def set_capacity(self, **changes: Any) -> None:
        self.set(capacity=replace(self.state.capacity, **changes))

    def do(self, command: ms.MachineCommand) -> None:
        self.commands.append(command)

    def write(self, kind: str, record: RunRecord, **payload: Any) -> None:
        self.do(ms.WriteMessage(kind, {"run_id": record.id, "fence": record.fence, **payload}))

    def ask(self, command: ms.ForOptimiser) -> None:
        """Give the optimiser's thread something to do; it reads what the registry has numbered until now first."""
        self.set_optimiser(asked=command, asked_news=self.state.optimiser.news, asked_at=self.now)
        self.do(command)

    def drain(self, reason: StopReason, *, now: bool = False) -> None:
        """No new runs; with `now`, running ones checkpoint and end. The first reason stays."""
        stop = self.state.stop
        self.set(stop=replace(stop, reason=stop.reason or reason, now=stop.now or now))

    def abort(self, error: SweepError) -> None:
        """The sweep cannot go on, and the error ends the command."""
        self.set(stop=replace(self.state.stop, error=self.state.stop.error or error))
        self.drain(StopReason(str(error), is_cap=False), now=True)
