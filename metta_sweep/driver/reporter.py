"""The reporter's thread: it delivers the outbox, extends leases, and reads what other people want of the sweep."""

from __future__ import annotations

import logging
import queue
import time
from collections import deque
from collections.abc import Callable
from dataclasses import replace

from metta_sweep.analysis.ending import DRIVER_ENDED, DRIVER_STARTED
from metta_sweep.driver import messages as ms
from metta_sweep.driver.files import copy_events, write_run_files
from metta_sweep.driver.messages import ReservedRun
from metta_sweep.driver.rules import StopReason
from metta_sweep.driver.workers import SweepContext, Worker
from metta_sweep.errors import ConfigError, IllegalTransition, RegistryError, UnknownSweep
from metta_sweep.registry.outbox import Delivery, Outbox
from metta_sweep.registry.records import JsonObject, RunRecord, SweepState
from trainables import faults

logger = logging.getLogger(__name__)

DELIVERY_SECONDS = 30.0  # a guess: a registry that restarts is back by then; what is left waits on disk
PAUSE_SECONDS = 1.0  # a guess: a registry or disk that is away is not hammered, and a result is not late
# Moments at which tests let a driver die: just before the message is on disk.
FAULTS = {"start": "driver.start", "finish": "driver.result"}


class RunReporter(Worker):
    """Writes down what happens to runs: on disk before the machine goes on, in the registry soon after."""

    def __init__(self, context: SweepContext) -> None:
        super().__init__("reporter", context.post)
        self._context = context
        self._registry = context.registry
        self._job = context.job
        self._outbox = Outbox(self._job.directory / "outbox")
        self._files: deque[ReservedRun] = deque()
        self._heard = 0

    def begin(self, introduction: JsonObject, begun: float) -> bool:
        """Make the sweep active; False when it must not begin, for somebody stopped it since this driver was asked for.

        What others ask of the sweep from now on is obeyed, whatever its state says when this driver looks.

        Args:
            introduction: what readers are told of this driver.
            begun: when it was asked for, in monotonic seconds.

        Raises:
            ConfigError: its specification was changed since then.
        """
        name = self._job.sweep_name
        self._listen()
        age = time.monotonic() - begun
        try:
            sweep = self._registry.set_sweep_state(name, SweepState.ACTIVE, by="run", reason="", age_seconds=age)
        except IllegalTransition:
            return False
        if sweep.spec_yaml != self._job.spec_yaml:
            what = f"sweep_name={name}: `run --update` changed its specification meanwhile"
            raise ConfigError(f"{what}; run the same command again")
        self._registry.add_event(name, DRIVER_STARTED, run_id=None, by="run", detail=introduction)
        return True

    def _listen(self) -> None:
        try:
            self._heard = self._copy_events()
        except OSError:  # a full disk is no reason to be deaf
            events = self._registry.events(self._job.sweep_name)
            self._heard = max((event.sequence for event in events), default=0)

    def resume(self) -> ms.Polled:
        """Deliver what a dead driver left on disk, then claim what nobody alive holds. Raises `RegistryUnavailable`."""
        self._outbox.deliver(self._registry)
        return self._claim()

    def keep(self, kind: str, payload: JsonObject) -> None:
        """On disk when this returns; on a full one it waits for space, for nothing is acted on before it is durable."""
        if point := FAULTS.get(kind):
            faults.point(point)
        is_said = False
        while not self._closing.is_set():
            try:
                self._outbox.put(kind, payload)
                break
            except OSError as error:
                if not is_said:
                    what = f"{self._job.directory / 'outbox'}: {error.strerror or error}"
                    self._context.say(f"{what}; the sweep goes on when that is mended")
                is_said = True
                time.sleep(PAUSE_SECONDS)
        self.put(None)

    def tell(self, tell: ms.Tell) -> None:
        """Tell the registry's log and the person at the terminal of something that the driver saw."""
        logger.warning("%s", tell.text)
        self._context.say(tell.text)
        if tell.kind:
            detail = {"text": tell.text, **tell.detail}
            event = {"sweep": self._job.sweep_name, "kind": tell.kind, "run_id": None, "by": "run", "detail": detail}
            self.keep("add_event", event)

    def say_goodbye(self, reason: StopReason) -> None:
        """Tell readers why this driver ends; a full disk has no room for that, and nothing depends on it."""
        detail = {"reason": reason.reason, "is_finished": reason.is_done or reason.is_cap}
        event = {"sweep": self._job.sweep_name, "kind": DRIVER_ENDED, "run_id": None, "by": "run", "detail": detail}
        try:
            self._outbox.put("add_event", event)
        except OSError as error:
            logger.warning("%s: %s", self._job.directory / "outbox", error)

    def close(self) -> None:
        """Deliver everything, within `DELIVERY_SECONDS`; the rest waits on disk."""
        self.join(DELIVERY_SECONDS)
        if waiting := len(self._outbox.pending()):
            text = "%d messages could not be delivered; they wait on disk and go out with the next run"
            logger.warning(text, waiting)
        self._outbox.close()

    def work(self) -> None:
        while not self._closing.is_set():
            self._turn()
        deadline = time.monotonic() + DELIVERY_SECONDS / 2
        while self._outbox.pending() and time.monotonic() < deadline:
            self._guarded(self._deliver)
            time.sleep(0.2 if self._outbox.pending() else 0.0)
        self._guarded(self._write_files)
        self._guarded(self._copy_events)

    def _turn(self) -> None:
        try:
            command = self._commands.get(timeout=PAUSE_SECONDS)
        except queue.Empty:
            command = None
        match command:
            case ms.Start(run):
                self._files.append(run)
            case ms.ExtendLeases(run_ids):
                self._guarded(lambda: self._beat(run_ids))
            case ms.Poll(may_resume):
                self._guarded(lambda: self._look(may_resume), failed=ms.Polled())
                self._guarded(self._copy_events)
        self._guarded(self._write_files)
        self._guarded(self._deliver)

    def _guarded(self, turn: Callable[[], object], failed: ms.Event | None = None) -> None:
        """A registry that is away, or a full disk, is waited for, and `failed` posted; what is on disk is not lost."""
        try:
            turn()
        except (RegistryError, OSError) as error:
            logger.warning("registry or disk: %s", error)
            if failed is not None:
                self._post(failed)
            time.sleep(PAUSE_SECONDS)

    def _write_files(self) -> None:
        while self._files:
            run = self._files[0]
            write_run_files(self._job.run_directory(run.id), run.record, run.trial["spec"])
            self._files.popleft()

    def _deliver(self) -> None:
        for delivery in self._outbox.deliver(self._registry):
            self._post(self._delivered(delivery))

    def _delivered(self, delivery: Delivery) -> ms.Delivered:
        payload, kind = delivery.message.payload, delivery.message.kind
        run_id, fence = str(payload.get("run_id")), int(payload.get("fence", 0))
        if delivery.refusal is not None:
            logger.warning("%s: another driver holds it (%s)", run_id, delivery.refusal)
            return ms.Delivered(kind, run_id, fence, is_refused=True)
        if kind == "requeue" and isinstance(delivery.answer, RunRecord):
            if delivery.answer.owner is None:  # a service of an earlier version, which cannot keep the lease
                self._guarded(lambda: self._post(self._claim()))
                return ms.Delivered(kind, run_id, fence)
            return ms.Delivered(kind, run_id, fence, run=self._context.prepare(delivery.answer))
        return ms.Delivered(kind, run_id, fence)

    def _beat(self, run_ids: tuple[str, ...]) -> None:
        """Extend the leases of everything that this driver holds."""
        faults.point("driver.beat")
        lost = self._registry.heartbeat(self._context.owner, run_ids, lease_seconds=self._job.settings.lease_seconds)
        if lost:
            self._post(ms.LeasesLost(frozenset(lost)))

    def _look(self, may_resume: bool) -> None:
        """What people want; and, last, what other drivers left behind: a run that is taken over must be told of."""
        try:
            self._registry.get_sweep(self._job.sweep_name)
        except UnknownSweep:
            self._post(ms.Polled(is_deleted=True))
            return
        events = self._registry.events(self._job.sweep_name, after=self._heard)
        tally = self._context.tally() if self._context.rules.limits.has_money_cap else None
        looked = self._claim() if may_resume else ms.Polled()
        self._heard = max((event.sequence for event in events), default=self._heard)
        self._post(replace(looked, requests=tuple(event.kind for event in events), tally=tally))

    def _claim(self) -> ms.Polled:
        """Runs that nobody alive holds, ours from now on; those whose points are not of this sweep apart."""
        owner, lease_seconds = self._context.owner, self._job.settings.lease_seconds
        key = f"claim:{owner.pid}:{time.time_ns()}"
        records = self._registry.claim(self._job.sweep_name, owner, lease_seconds=lease_seconds, key=key)
        foreign = [(record, "; ".join(self._job.train.foreign(record.params)[:3])) for record in records]
        resumed = tuple(self._context.prepare(record) for record, why in foreign if not why)
        return ms.Polled(resumed=resumed, refused=tuple((record, why) for record, why in foreign if why))

    def _copy_events(self) -> int:
        return copy_events(self._registry, self._job.sweep_name, self._job.directory / "events.jsonl")
