"""The registry thread: owns outbox and heartbeats, so that Tune's loop never waits for the registry."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from metta_sweep.config.job import SweepJob
from metta_sweep.driver import outcome
from metta_sweep.driver.board import Board, LiveRun
from metta_sweep.driver.control import Control
from metta_sweep.driver.event_log import copy_events
from metta_sweep.driver.failures import FailureCount, retry_seconds
from metta_sweep.driver.run_files import write_run_files
from metta_sweep.driver.spending import Spending
from metta_sweep.driver.stock import Entry, Stock
from metta_sweep.driver.stop_rules import Verdict
from metta_sweep.errors import RegistryError, SweepAborted, UnknownSweep
from metta_sweep.registry.api import Registry
from metta_sweep.registry.outbox import Delivery, Outbox
from metta_sweep.registry.records import STOP_EVENTS, STOP_NOW, JsonObject, NewObservation, Owner, RunRecord
from trainables import faults
from trainables.failures import Failure, same_ending, twice
from trainables.result import FailureKind, Outcome, RunResult

logger = logging.getLogger(__name__)

# How often the thread looks for requests of `stop` and for runs that lost their driver; leases have their own setting.
LOOK_SECONDS = 2.0
CLOSE_SECONDS = 30.0
PAUSE_SECONDS = 1.0
STOPPED = Verdict("stopped by the `stop` command", is_cap=False)
# A run that this driver lost so often is given up; each attempt goes on from the last checkpoint. What people interrupt
# is not counted.
MAX_LOSSES = 8


@dataclass(frozen=True, slots=True)
class Desk:
    """What the clerk knows of the sweep.

    Attributes:
        num_gpus: GPUs that one run holds.
        clock: field of `Span` that the optimiser's cost is read from.
        say: tells the person at the terminal.
    """

    job: SweepJob
    owner: Owner
    num_gpus: float
    clock: str
    say: Callable[[str], None]


class Clerk:
    """Writes down what happens to runs: on disk before the caller goes on, in the registry soon after.

    The methods `start`, `progress`, `ended` and `ended_without_result` are called from Tune's loop.
    """

    def __init__(self, registry: Registry, desk: Desk, board: Board, control: Control, spending: Spending) -> None:
        self._registry = registry
        self._desk = desk
        self._board = board
        self._control = control
        self._spending = spending
        self._outbox = Outbox(desk.job.directory / "outbox")
        settings = desk.job.settings
        self._failures = FailureCount(settings.max_consecutive_failures, settings.max_infrastructure_failures)
        self._losses: Counter[str] = Counter()
        self._endings: dict[str, Failure] = {}
        self._checkpointed: dict[str, JsonObject] = {}
        self._not_before: dict[str, float] = {}
        self._wake = threading.Event()
        self._closed = False
        self._nodes: dict[str, tuple[int, tuple[str, ...]]] = {}
        self._files: queue.SimpleQueue[Entry] = queue.SimpleQueue()
        self._looked_at = self._beat_at = time.monotonic()
        self._thread = threading.Thread(target=self._work, name="clerk", daemon=True)
        self.stock: Stock | None = None
        self._returning = 0
        self._heard = 0

    def listen(self) -> None:
        """From now on, what others ask of the sweep is obeyed, whatever its state says when this driver looks."""
        name = self._desk.job.sweep_name
        try:
            self._heard = copy_events(self._registry, name, self._desk.job.directory / "events.jsonl")
        except OSError:  # a full disk is no reason to be deaf
            self._heard = max((event.sequence for event in self._registry.events(name)), default=0)

    def open(self) -> list[RunRecord]:
        """Deliver what a dead driver left on disk, then take up every run that nobody alive holds.

        Raises:
            RegistryUnavailable: cannot be reached now.
        """
        self._outbox.deliver(self._registry)
        taken_up = self._claim()
        for record in self._registry.observations(self._desk.job.sweep_name):
            self._spending.scored(record.observation.score)
        self._thread.start()
        return taken_up

    def start(self, entry: Entry) -> None:
        """The run is on its way to a worker."""
        faults.point("driver.start")
        self._files.put(entry)
        self._put("start", entry.record, num_gpus=self._desk.num_gpus)

    def progress(self, run: LiveRun) -> None:
        """The run reported; a new curve point is stored, and the stopping rule may look at it."""
        if run.progress is None:
            return
        self._note_nodes(run.record, run.progress.nodes)
        if run.progress.point is None:
            return
        self._put("record_progress", run.record, curve=[outcome.curve_point(run.progress.point, self._desk.clock)])
        if self._desk.job.sweep.early_stopping and self.stock is not None:
            self.stock.look_at(
                run.record,
                [outcome.curve_point(point, self._desk.clock) for point in run.curve],
                run.progress.total_env_steps,
            )

    def _note_nodes(self, record: RunRecord, nodes: tuple[str, ...]) -> None:
        """Where this attempt runs; told once, and again when its workers were moved."""
        if nodes and self._nodes.get(record.id) != (record.fence, nodes):
            self._nodes[record.id] = (record.fence, nodes)
            self._put("record_nodes", record, nodes=nodes)

    def ended(self, record: RunRecord, result: RunResult) -> None:
        """The run ended with a result of its own."""
        result = self._twice_the_same(record.id, result)
        if result.is_lost and self._losses[record.id] + 1 < MAX_LOSSES:
            self._lost(record, result.message, asdict(result.attempt_costs))
        elif result.outcome is Outcome.INTERRUPTED and not result.is_lost:
            self._interrupt(record, result.message or "asked to stop", asdict(result.attempt_costs))
        else:
            self._finish(record, outcome.finished(result.given_up(), self._desk.clock))

    def _twice_the_same(self, run_id: str, result: RunResult) -> RunResult:
        """A worker that ended itself as in the attempt before is no loss: its code does that."""
        before = self._endings.pop(run_id, None)
        if not result.is_lost:
            return result
        self._endings[run_id] = failure = Failure(FailureKind.INFRASTRUCTURE, result.signature, result.message)
        if not same_ending(before, failure):
            return result
        again = twice(failure)
        return replace(result, outcome=Outcome.FAILED, failure=again.kind, message=again.message)

    def checkpointed(self, run_id: str, costs: JsonObject) -> None:
        """The run wrote a checkpoint because it was asked to; Tune will tell its end without a result."""
        self._checkpointed[run_id] = costs

    def ended_without_result(self, record: RunRecord) -> None:
        """Tune ended the run: on our request, or because its trial driver died."""
        live = self._board.get(record.id)
        reason = self._control.stop_reason(record.id)
        costs = self._checkpointed.pop(record.id, None) or (
            asdict(live.progress.attempt_costs) if live.progress else {}
        )
        if reason is not None and live.progress is not None and live.curve:
            self._finish(record, outcome.stopped_early(live.progress, live.curve, reason, self._desk.clock))
        elif self._control.is_lost(record.id) or self._control.stop_now:
            self._interrupt(
                record, "another driver holds it" if self._control.is_lost(record.id) else "asked to stop", costs
            )
        elif self._losses[record.id] + 1 < MAX_LOSSES:
            self._lost(record, "its trial driver or node was lost", costs)
        else:
            message = f"lost its trial driver or node {MAX_LOSSES} times"
            self._finish(record, outcome.lost(live.progress, message, self._desk.clock))

    def tell(self, kind: str, text: str, detail: Mapping[str, Any]) -> None:
        """Tell the registry's log and the person at the terminal of something that the driver saw; see `Note`."""
        logger.warning("%s", text)
        self._desk.say(text)
        event = {
            "sweep": self._desk.job.sweep_name,
            "kind": kind,
            "run_id": None,
            "by": "run",
            "detail": {"text": text, **detail},
        }
        self._keep("add_event", event)

    def close(self, unfinished: Sequence[RunRecord]) -> None:
        """Give back runs that were cut off and deliver everything, within `CLOSE_SECONDS`; the rest waits on disk."""
        for record in unfinished:
            self.ended_without_result(record)
        for record in self.stock.reserved() if self.stock is not None else []:
            self._put("release", record)  # never started: a driver on another host need not wait for the lease
        self._closed = True
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(timeout=CLOSE_SECONDS)
        if waiting := len(self._outbox.pending()):
            logger.warning(
                "%d messages could not be delivered; they wait on disk and go out with the next run", waiting
            )
        self._outbox.close()

    def _finish(self, record: RunRecord, observation: NewObservation) -> None:
        faults.point("driver.result")
        self._put("finish", record, observation=asdict(observation))
        if self.stock is not None:
            self.stock.expect()
        self._board.ended(record.id, observation.outcome, observation)
        self._spending.scored(observation.score)
        if observation.outcome is Outcome.FAILED:
            self._count(self._failures.after_failure(observation.failure or FailureKind.CODE, observation.signature))
        else:
            self._count(self._failures.after_success())

    def _count(self, failures: FailureCount) -> None:
        self._failures = failures
        if verdict := failures.verdict():
            self._control.abort(SweepAborted(verdict))

    def _lost(self, record: RunRecord, reason: str, costs: JsonObject) -> None:
        """Workers, node or trial driver are gone: the run goes on from its checkpoint, after a pause that grows each
        time.
        """
        self._losses[record.id] += 1
        self._not_before[record.id] = time.monotonic() + retry_seconds(
            self._desk.job.settings.infrastructure_retry_delay, self._losses[record.id]
        )
        self._interrupt(record, reason, costs)
        self._count(self._failures.after_failure(FailureKind.INFRASTRUCTURE, ""))

    def _interrupt(self, record: RunRecord, reason: str, costs: JsonObject) -> None:
        if self.stock is not None:
            self.stock.expect()
        self._put("interrupt", record, reason=reason, costs=costs)
        self._board.ended(record.id, Outcome.INTERRUPTED)

    def _put(self, kind: str, record: RunRecord, **payload: Any) -> None:
        self._keep(kind, {"run_id": record.id, "fence": record.fence, **payload})

    def _keep(self, kind: str, payload: dict[str, Any]) -> None:
        """On disk when this returns; on a full one it waits for space, for nothing is acted on before it is durable."""
        is_said = False
        while True:
            try:
                self._outbox.put(kind, payload)
                break
            except OSError as error:
                if not is_said:
                    self._desk.say(
                        f"{self._desk.job.directory / 'outbox'}: {error.strerror or error}; the sweep goes on when "
                        "that is mended"
                    )
                is_said = True
                time.sleep(PAUSE_SECONDS)
        self._wake.set()

    def _work(self) -> None:
        while not self._closed:
            self._wake.wait(min(LOOK_SECONDS, self._desk.job.settings.heartbeat_seconds))
            self._wake.clear()
            self._guarded(self._turn)
        deadline = time.monotonic() + CLOSE_SECONDS / 2
        while self._outbox.pending() and time.monotonic() < deadline:
            self._guarded(self._deliver)
            time.sleep(0.2 if self._outbox.pending() else 0.0)
        self._guarded(self._write_files)
        self._guarded(self._copy_events)

    def _guarded(self, turn: Any) -> None:
        """A registry that is away, or a disk that is full, is waited for; what is on disk is not lost."""
        try:
            turn()
        except (RegistryError, OSError) as error:
            logger.warning("registry or disk: %s", error)
            time.sleep(PAUSE_SECONDS)

    def _turn(self) -> None:
        self._write_files()
        self._deliver()
        now = time.monotonic()
        if now - self._beat_at >= self._desk.job.settings.heartbeat_seconds:
            self._beat_at = now
            self._beat()
        if now - self._looked_at >= LOOK_SECONDS:
            self._looked_at = now
            self._look()

    def _write_files(self) -> None:
        while not self._files.empty():
            entry = self._files.get()
            try:
                write_run_files(self._desk.job.run_directory(entry.record.id), entry.record, entry.trial["spec"])
            except OSError:
                self._files.put(entry)
                raise

    def _deliver(self) -> None:
        deliveries = self._outbox.deliver(self._registry)
        for delivery in deliveries:
            self._note(delivery)
        self._returning += sum(delivery.message.kind == "interrupt" for delivery in deliveries)
        if self._returning:
            self._take_up()

    def _take_up(self) -> None:
        """Claim what nobody alive holds; then what this driver interrupted is back, or is another's."""
        if self.stock is None:
            return
        if self._control.draining is None and not self._closed:
            self.stock.take_up(self._claim(), self._not_before)
        for _ in range(self._returning):
            self.stock.tell()
        self._returning = 0

    def _note(self, delivery: Delivery) -> None:
        """What an answer means for this driver."""
        run_id = str(delivery.message.payload.get("run_id"))
        if delivery.refusal is not None:
            logger.warning("%s: another driver holds it (%s)", run_id, delivery.refusal)
            self._control.lose_run(run_id)
        if delivery.message.kind == "finish" and self.stock is not None:
            self.stock.tell()

    def _beat(self) -> None:
        """Extend the leases of everything this driver holds, while Tune's loop turns."""
        faults.point("driver.beat")
        job = self._desk.job
        if self._control.loop_silent_seconds >= job.settings.lease_seconds / 2:
            return
        held = [run.record.id for run in self._board.running()] + [
            record.id for record in (self.stock.reserved() if self.stock else [])
        ]
        for run_id in self._registry.heartbeat(self._desk.owner, held, lease_seconds=job.settings.lease_seconds):
            if self._board_says_running(run_id):
                self._control.lose_run(run_id)

    def _look(self) -> None:
        """What other people want of the sweep, what other drivers left behind."""
        try:
            self._registry.get_sweep(self._desk.job.sweep_name)
        except UnknownSweep:
            self._control.abort(
                SweepAborted(f"sweep {self._desk.job.sweep_name}: somebody deleted it from the registry")
            )
            return
        for event in self._registry.events(self._desk.job.sweep_name, after=self._heard):
            self._heard = event.sequence
            self._obey(event.kind)
        self._copy_events()
        if verdict := self._spending.must_stop_running():
            self._control.drain(verdict, now=True)
        self._take_up()

    def _copy_events(self) -> None:
        copy_events(self._registry, self._desk.job.sweep_name, self._desk.job.directory / "events.jsonl")

    def _board_says_running(self, run_id: str) -> bool:
        return any(run.record.id == run_id for run in self._board.running())

    def _obey(self, kind: str) -> None:
        if kind in STOP_EVENTS:
            self._control.drain(STOPPED, now=kind == STOP_NOW)
        elif kind == "spec_updated":  # its points would be of a specification that the sweep no longer has
            self._control.drain(
                Verdict("`run --update` changed the sweep's specification; the same command continues it", is_cap=False)
            )

    def _claim(self) -> list[RunRecord]:
        settings = self._desk.job.settings
        key = f"claim:{self._desk.owner.pid}:{time.time_ns()}"
        claimed = self._registry.claim(
            self._desk.job.sweep_name, self._desk.owner, lease_seconds=settings.lease_seconds, key=key
        )
        return [record for record in claimed if self._is_ours(record)]

    def _is_ours(self, record: RunRecord) -> bool:
        """Whether the run's point lies in the search space; one that does not fails without a start, and nothing is
        learned from it.
        """
        foreign = self._desk.job.train.foreign(record.params)
        if foreign:
            message = f"refused, outside the search space: {'; '.join(foreign[:3])}"
            self._desk.say(f"{record.id}: {message}")
            self._put("start", record, num_gpus=0.0)
            self._put("finish", record, observation=asdict(outcome.refused(message, self._desk.clock)))
            if self.stock is not None:
                self.stock.expect()  # the delivery of its end tells the stock
        return not foreign
