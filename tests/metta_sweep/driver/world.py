"""A driver's state machine in a world of plain data: a registry in a dictionary, an outbox in a list, Tune and time
moved by the test.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from metta_sweep.capacity import Node
from metta_sweep.config.job import Budget, Settings
from metta_sweep.driver import messages as ms
from metta_sweep.driver.rules import SweepLimits, Tally
from metta_sweep.driver.state import Capacity, Rules, State, begin
from metta_sweep.driver.step import step
from metta_sweep.registry.records import Reservation, RunRecord, RunState
from trainables.resources import Resources
from trainables.result import Costs, FailureKind, Outcome, Point, Progress, RunResult, Span

FINAL = ("completed", "stopped_early", "failed")


@dataclass
class Row:
    """A run in the registry; `owner` is "me", "other" or "" for nobody."""

    number: int
    state: str = "reserved"
    owner: str = "me"
    fence: int = 1
    attempts: int = 0
    cursor: int = 0
    predicted: float = 0.0
    paid: float = 0.0
    params: Mapping[str, Any] = field(default_factory=dict)

    @property
    def id(self) -> str:
        return f"s.r.{self.number}"

    @property
    def record(self) -> RunRecord:
        nothing: dict[str, Any] = {
            "owner": None,
            "lease_until": None,
            "seen_at": 0.0,
            "created_at": 0.0,
            "started_at": None,
            "ended_at": None,
        }
        rest: dict[str, Any] = {
            "failure": None,
            "signature": "",
            "message": "",
            "log_tail": "",
            "predicted_score": None,
        }
        data = {
            "params": self.params,
            "explanation": {},
            "phase": "",
            "cursor": self.cursor,
            "fence": self.fence,
            "attempts": self.attempts,
        }
        return RunRecord(
            id=self.id,
            sweep="s",
            number=self.number,
            state=RunState(self.state),
            predicted_cost=self.predicted,
            **data,
            **nothing,
            **rest,
        )


@dataclass
class World:
    """What is outside of the machine.

    Attributes:
        slots: of the one node there is.
        settings, limits: of the sweep.
        cost: predicted cost of each run, in slot seconds.
        reservations: numbers that this driver reserved, each with what was paid and promised when its point was made,
            itself included.
    """

    slots: int = 1
    settings: Settings = field(default_factory=Settings)
    num_samples: int | None = None
    target_score: float | None = None
    budget: Budget = field(default_factory=Budget)
    early_stopping: bool = False
    lengths: frozenset[str] = frozenset()
    cost: float = 0.0
    nodes: Mapping[str, Node] | None = None
    now: float = 0.0
    rows: dict[str, Row] = field(default_factory=dict)
    num_results: int = 0
    requests: list[str] = field(default_factory=list)
    outbox: list[ms.WriteMessage] = field(default_factory=list)
    written: list[ms.WriteMessage] = field(default_factory=list)
    answers: list[ms.ForTune] = field(default_factory=list)
    beats: list[tuple[str, ...]] = field(default_factory=list)
    told: list[str] = field(default_factory=list)
    ends: list[ms.End] = field(default_factory=list)
    proposed_at: float = 0.0
    reservations: list[tuple[int, float]] = field(default_factory=list)
    asked: ms.ForOptimiser | None = None
    look: ms.Poll | None = None
    advice: Callable[[ms.Advise], str | None] = lambda advise: None

    def __post_init__(self) -> None:
        limits = SweepLimits(self.num_samples, self.target_score, True, self.budget, has_gpus=False)
        rules = Rules("s", self.settings, Resources(), limits, "cpu_seconds", self.early_stopping, self.lengths)
        nodes = self.nodes or {"a": Node({"CPU": float(self.slots)})}
        self.state: State = begin(rules, self.now, capacity=Capacity(nodes))

    def hear(self, event: ms.Event, after: float = 0.0) -> tuple[ms.MachineCommand, ...]:
        """The machine's commands after an event, handed to whom they are for."""
        self.now += after
        self.state, commands = self.step(event)
        for command in commands:
            self._hand_out(command)
        return commands

    def step(self, event: ms.Event) -> tuple[State, tuple[ms.MachineCommand, ...]]:
        return step(self.state, event, self.now)

    def _hand_out(self, command: ms.MachineCommand) -> None:
        match command:
            case ms.WriteMessage():
                self.outbox.append(command)
                self.written.append(command)
            case ms.Tell():
                self.told.append(command.text)
            case ms.ExtendLeases():
                self.beats.append(command.run_ids)
            case ms.Poll():
                assert self.look is None, "one look at a time"
                self.look = command
            case ms.End():
                self.ends.append(command)
            case ms.ForOptimiser():
                assert self.asked is None, "one piece of work at a time"
                self.asked = command
            case ms.ForTune():
                self.answers.append(command)

    # The optimiser's thread.

    def think(self) -> None:
        """It does what it was asked."""
        asked, self.asked = self.asked, None
        assert asked is not None
        self.hear(self._answer(asked))

    def _answer(self, asked: ms.ForOptimiser) -> ms.Event:
        match asked:
            case ms.Propose(number) if self.num_results == self.state.optimiser.cursor:
                self.proposed_at = self.tally.spent_seconds + self.tally.committed_seconds + self.cost
                reservation = Reservation(number, {}, cursor=self.num_results, predicted_cost=self.cost)
                return ms.SuggestionReady(reservation, self.tally, 0.1)
            case ms.Reserve(reservation, None):
                if reservation.number != len(self.rows):
                    return ms.Idle()
                self.reservations.append((reservation.number, self.proposed_at))
                return ms.Reserved(self.reserved(self.add_row(cursor=reservation.cursor)), self.tally)
            case ms.Reserve(reservation, run) if run is not None:
                row = self.rows[run.id]
                if (row.fence, row.state) != (run.record.fence, "reserved"):
                    return ms.Reserved(None)
                row.cursor = reservation.cursor
                return ms.Reserved(self.reserved(row))
            case ms.Advise():
                return ms.Advised(asked.record.id, self.advice(asked))
        return ms.Learned(self.num_results, None, self.tally)

    @property
    def tally(self) -> Tally:
        unfinished = sum(row.predicted for row in self.rows.values() if row.state not in FINAL)
        return Tally(len(self.rows), self.now, sum(row.paid for row in self.rows.values()), unfinished)

    def add_row(self, **fields: Any) -> Row:
        row = Row(len(self.rows), predicted=self.cost, **fields)
        self.rows[row.id] = row
        return row

    def reserved(self, row: Row) -> ms.ReservedRun:
        return ms.ReservedRun(
            row.record, row.cursor if row.state == "reserved" else None, {"attempt": row.attempts + 1}
        )

    # The reporter's thread.

    def deliver(self) -> None:
        """The registry gets the oldest message, and answers."""
        message = self.outbox.pop(0)
        row = self.rows[str(message.payload["run_id"])]
        if message.payload["fence"] != row.fence and message.kind != "finish":
            self.hear(ms.Delivered(message.kind, row.id, message.payload["fence"], is_refused=True))
            return
        getattr(self, f"_{message.kind}")(row, message.payload)
        run = self.reserved(row) if message.kind == "requeue" else None
        self.hear(ms.Delivered(message.kind, row.id, message.payload["fence"], run=run))

    def _start(self, row: Row, payload: Mapping[str, Any]) -> None:
        assert (row.owner, row.state) in (("me", "reserved"), ("me", "interrupted")), row
        row.state, row.attempts = "running", row.attempts + 1

    def _record_progress(self, row: Row, payload: Mapping[str, Any]) -> None:
        assert row.state == "running", row

    _record_nodes = _record_progress

    def _finish(self, row: Row, payload: Mapping[str, Any]) -> None:
        if payload["fence"] != row.fence:
            return
        assert row.state == "running", row
        row.state, row.owner, row.paid = (
            payload["observation"]["outcome"],
            "",
            row.paid + payload["observation"]["wall_seconds"],
        )
        self.num_results += 1

    def _requeue(self, row: Row, payload: Mapping[str, Any]) -> None:
        assert row.state == "running", row
        row.state, row.fence = "interrupted", row.fence + 1

    def _interrupt(self, row: Row, payload: Mapping[str, Any]) -> None:
        row.state, row.owner, row.fence = "interrupted", "", row.fence + 1

    def _release(self, row: Row, payload: Mapping[str, Any]) -> None:
        row.owner, row.fence = "", row.fence + 1

    def see(self) -> None:
        """The reporter looks at the registry as it was asked to."""
        look, self.look = self.look, None
        requests, self.requests = tuple(self.requests), []
        assert look is not None
        resumed = self.nobodys() if look.may_resume else []
        for row in resumed:
            row.owner, row.fence = "me", row.fence + 1
        self.hear(ms.Polled(requests, tuple(self.reserved(row) for row in resumed), tally=self.tally))

    def nobodys(self) -> list[Row]:
        """Runs that nobody holds."""
        return [row for row in self.rows.values() if row.owner == "" and row.state not in FINAL]

    def taken_by_another(self, run_id: str) -> None:
        """As after a lease that was over."""
        row = self.rows[run_id]
        row.owner, row.fence, row.state = "other", row.fence + 1, "interrupted" if row.state == "running" else row.state

    def settle(self) -> None:
        """Both threads do all that is there to do, but wait for nothing."""
        for _ in range(1000):
            if self.outbox:
                self.deliver()
            elif self.asked is not None:
                self.think()
            else:
                return
        raise AssertionError("no end of work")

    # Tune's loop.

    def ask(self, wait: bool = True) -> str:
        """Tune offers a slot: the id of the run that it starts, "declined", "finished", or "" while there is no
        answer.
        """
        self.hear(ms.SlotFree())
        if wait and not self.answers:
            self.settle()
        if wait and not self.answers:
            self.hear(ms.TimePassed(), after=1.0)
        return self.answer()

    def answer(self) -> str:
        match self.answers.pop() if self.answers else None:
            case ms.Start(run):
                return run.id
            case ms.NoRun(for_good):
                return "finished" if for_good else "declined"
        return ""

    def end(
        self, run_id: str, failure: str | None = None, *, score: float = 1.0, seconds: float = 1.0, signature: str = ""
    ) -> None:
        self.hear(ms.RunEnded(run_id, result(failure, score=score, seconds=seconds, signature=signature)))

    def lose(self, run_id: str) -> None:
        """Its trial driver dies."""
        self.hear(ms.RunEnded(run_id, None, is_error=True))

    def kinds(self, run_id: str) -> list[str]:
        """What was written of a run, in order."""
        return [message.kind for message in self.written if message.payload["run_id"] == run_id]


def result(failure: str | None = None, *, score: float = 1.0, seconds: float = 1.0, signature: str = "") -> RunResult:
    costs = Costs(train=Span(seconds, seconds, 0.0))
    if failure is None:
        return RunResult(Outcome.COMPLETED, score, costs, costs)
    kind, said = FailureKind(failure), signature or f"{failure}: here"
    outcome = Outcome.INTERRUPTED if kind is FailureKind.INFRASTRUCTURE else Outcome.FAILED
    return RunResult(outcome, None, costs, costs, failure=kind, signature=said, message="no")


def progress(steps: int, *, score: float | None = None, seconds: float = 1.0, nodes: tuple[str, ...] = ()) -> Progress:
    cost = Costs(train=Span(seconds, seconds, 0.0))
    point = None if score is None else Point(steps, cost.train, score)
    return Progress(steps, 100, 1.0, {}, point, cost, cost, nodes)


def settings(**changes: Any) -> Settings:
    return replace(Settings(), **changes)
