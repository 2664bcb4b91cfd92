"""What the driver's state machine hears (events) and asks for (commands): plain data, see `step.py`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from metta_sweep.capacity import Node
from metta_sweep.driver.rules import StopReason, Tally
from metta_sweep.registry.records import JsonObject, NewObservation, Reservation, RunRecord, RunState
from trainables.result import Costs, Point, Progress, RunResult, Span


@dataclass(frozen=True, slots=True)
class ReservedRun:
    """A run that waits for a slot.

    Attributes:
        cursor: last observation behind its point; None when the point must stay as it is (it has run before).
        trial: what the trainable gets, resolved ahead.
        not_before: seconds on the driver's clock before which it does not start.
    """

    record: RunRecord
    cursor: int | None
    trial: Mapping[str, Any]
    not_before: float = 0.0

    @property
    def id(self) -> str:
        return self.record.id


@dataclass(frozen=True, slots=True)
class LiveRun:
    """A run that this driver started.

    Attributes:
        started_at: seconds on the driver's clock.
        before: what earlier attempts of this driver cost.
        nodes: where it is, as the registry was told.
    """

    record: RunRecord
    state: RunState
    started_at: float
    progress: Progress | None = None
    curve: tuple[Point, ...] = ()
    result: NewObservation | None = None
    before: Span = field(default_factory=Span)
    nodes: tuple[str, ...] = ()

    @property
    def spent(self) -> Span:
        """What all attempts of this driver have cost so far."""
        if self.result is not None and self.result.attempt_costs:
            return self.before + Costs.from_dict(self.result.attempt_costs).total
        return self.before + self.progress.attempt_costs.total if self.progress else self.before


class Event:
    """Something that happened."""


class MachineCommand:
    """Something to do."""


class ForTune(MachineCommand):
    """For Tune's loop: the answer to `SlotFree`."""


class ForOptimiser(MachineCommand):
    """For the optimiser's thread, which has one at a time."""


class ForReporter(MachineCommand):
    """For the reporter's thread."""


# Events from Tune's loop.


@dataclass(frozen=True, slots=True)
class SlotFree(Event):
    """Tune asks for a run; it gets exactly one answer, `Start` or `NoRun`."""


@dataclass(frozen=True, slots=True)
class Progressed(Event):
    """A run reported."""

    run_id: str
    progress: Progress


@dataclass(frozen=True, slots=True)
class RunEnded(Event):
    """Tune ended a run.

    Attributes:
        result: that it reported; None when it ended on our request, or its trial driver died.
        nodes: that it was on; empty when that is not known, or says nothing of them.
        is_error: whether it lost its trial driver or workers there.
    """

    run_id: str
    result: RunResult | None
    nodes: frozenset[str] = frozenset()
    is_error: bool = False


@dataclass(frozen=True, slots=True)
class CapacitySeen(Event):
    """The cluster's living nodes by id, and which of them Ray drains."""

    nodes: Mapping[str, Node]
    leaving: frozenset[str]


@dataclass(frozen=True, slots=True)
class LoopTurned(Event):
    """Tune's loop is alive; which runs wait for a place, and how many have one."""

    waiting: tuple[str, ...]
    num_running: int


@dataclass(frozen=True, slots=True)
class Checkpointed(Event):
    """Runs wrote a checkpoint because they were asked to; what the attempt of each had cost then, by id."""

    costs: Mapping[str, JsonObject]


@dataclass(frozen=True, slots=True)
class LoopEnded(Event):
    """Tune's loop is over; nothing starts any more."""


# Events from people and clocks, and from any thread.


@dataclass(frozen=True, slots=True)
class StopAsked(Event):
    """Somebody wants no new runs; with `now`, running ones checkpoint and end. `by_user`: it was Ctrl-C."""

    reason: StopReason
    now: bool = False
    by_user: bool = False


@dataclass(frozen=True, slots=True)
class TimePassed(Event):
    """Time passed."""


@dataclass(frozen=True, slots=True)
class WorkerFailed(Event):
    """A thread of the driver ended with this error, which ends the sweep."""

    error: BaseException


@dataclass(frozen=True, slots=True)
class Tell(Event, MachineCommand):
    """Tell the registry's log and the person at the terminal. What a thread noticed is an event first.

    `kind`: of the registry's event, in snake case; "" when the log hears of it in another way.
    """

    kind: str
    text: str
    detail: JsonObject = field(default_factory=dict)


# Events from the optimiser's thread: one of them answers each command.


@dataclass(frozen=True, slots=True)
class Learned(Event):
    """The optimiser knows the observations up to `cursor`; `best` is the best score among the new ones."""

    cursor: int
    best: float | None
    tally: Tally


@dataclass(frozen=True, slots=True)
class Advised(Event):
    """Answer to `Advise`: why the run should stop, or None."""

    run_id: str
    reason: str | None


@dataclass(frozen=True, slots=True)
class SuggestionReady(Event):
    """Answer to `Propose`: a point, with the tally of that time and the seconds it took."""

    reservation: Reservation
    tally: Tally
    seconds: float


@dataclass(frozen=True, slots=True)
class Reserved(Event):
    """Answer to `Reserve`; `run` is None when the point of a run may not change any more: the run is another's. `tally`
    is that of the time after a new run.
    """

    run: ReservedRun | None
    tally: Tally | None = None


@dataclass(frozen=True, slots=True)
class Idle(Event):
    """Nothing came of it: the number was taken, the registry is away, or the driver ends."""


# Events from the reporter's thread.


@dataclass(frozen=True, slots=True)
class Delivered(Event):
    """The registry answered a `WriteMessage`.

    Attributes:
        run_id, fence: of the message; "" for the sweep's own.
        is_refused: for good: another driver holds the run.
        run: as it waits now, for `requeue`.
    """

    kind: str
    run_id: str
    fence: int = 0
    is_refused: bool = False
    run: ReservedRun | None = None


@dataclass(frozen=True, slots=True)
class Polled(Event):
    """Answer to `Poll`; empty where the registry could not be read.

    Attributes:
        requests: kinds of the events since the last look that may ask something of this driver.
        resumed: runs that nobody alive held, ours now.
        refused: such runs whose points are not of this sweep, and why.
        tally: what is spent; None too when there is no cap.
        is_deleted: whether the registry has no such sweep any more.
    """

    requests: tuple[str, ...] = ()
    resumed: tuple[ReservedRun, ...] = ()
    refused: tuple[tuple[RunRecord, str], ...] = ()
    tally: Tally | None = None
    is_deleted: bool = False


@dataclass(frozen=True, slots=True)
class LeasesLost(Event):
    """Runs that this driver no longer holds."""

    run_ids: frozenset[str]


# Commands to Tune's loop: the answers to `SlotFree`.


@dataclass(frozen=True, slots=True)
class Start(ForTune):
    """Start this run, on none of these nodes. The reporter writes its files."""

    run: ReservedRun
    avoid_nodes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class NoRun(ForTune):
    """No run for this slot now; with `for_good`, never again for any."""

    for_good: bool = False


# Commands to the optimiser's thread, one at a time.


@dataclass(frozen=True, slots=True)
class Learn(ForOptimiser):
    """Read the newest observations, and what is spent and promised. News in the way of `Propose` are its answer."""


@dataclass(frozen=True, slots=True)
class Advise(ForOptimiser):
    """Is this running run worth going on with?"""

    record: RunRecord
    curve: tuple[JsonObject, ...]
    total_steps: int


@dataclass(frozen=True, slots=True)
class Propose(ForOptimiser):
    """Compute the point of this number; `instead_of` is the run that has the number already, and an older point."""

    number: int
    instead_of: ReservedRun | None = None


@dataclass(frozen=True, slots=True)
class Reserve(ForOptimiser):
    """Reserve the point in the registry, or give it to a run that has not started."""

    reservation: Reservation
    instead_of: ReservedRun | None = None


# Commands to the reporter's thread.


@dataclass(frozen=True, slots=True)
class ExtendLeases(ForReporter):
    """Extend the leases of these runs."""

    run_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Poll(ForReporter):
    """See what people want and what is spent; with `may_resume`, take over runs that nobody alive holds."""

    may_resume: bool


# Commands that the machine's own thread carries out: durable before the next one is.


@dataclass(frozen=True, slots=True)
class WriteMessage(MachineCommand):
    """Put a message into the outbox: `kind` is a method of `Registry`, `payload` its arguments."""

    kind: str
    payload: JsonObject


@dataclass(frozen=True, slots=True)
class End(MachineCommand):
    """The sweep is over for this driver, and nothing can come any more that it would have to give back. Comes once."""
