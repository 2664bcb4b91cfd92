"""The thread that keeps reserved points ready, so that a free slot never waits for the optimiser or the registry."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from metta_sweep.driver.outcome import reservation_of
from metta_sweep.driver.proposer import Proposer
from metta_sweep.driver.stop_rules import Verdict
from metta_sweep.errors import Fenced, IllegalTransition, NumberTaken, RegistryError
from metta_sweep.registry.api import Registry
from metta_sweep.registry.records import Owner, Reservation, RunRecord, RunState
from searchers import CurvePoint, RunningCurve

logger = logging.getLogger(__name__)

POLL_SECONDS = 1.0
RETRY_SECONDS = 2.0
# How long a free slot waits for a point that knows the newest result; the wait costs less than a run on old news.
FRESHNESS_SECONDS = 1.0
UNFINISHED = (RunState.RESERVED, RunState.RUNNING, RunState.INTERRUPTED)


@dataclass(frozen=True, slots=True)
class Entry:
    """A reserved run waiting for a slot.

    Attributes:
        record: as reserved.
        cursor: last observation behind its point; None when the point must stay as it is (it has run before).
        trial: what the trainable gets, resolved ahead.
        not_before: monotonic seconds before which it does not start.
    """

    record: RunRecord
    cursor: int | None
    trial: dict[str, Any]
    not_before: float = 0.0


@dataclass(frozen=True, slots=True)
class Lease:
    """Who reserves, and for how long a silent owner keeps what it reserved."""

    sweep: str
    owner: Owner
    seconds: float


@dataclass(frozen=True, slots=True)
class Hooks:
    """What the stock asks of the rest of the driver.

    Attributes:
        prepare: what the trainable gets for a run.
        may_reserve: why no further run may be reserved given its number and predicted cost, or None.
        on_advice: hears the id and the reason when the optimiser would end a running run.
    """

    prepare: Callable[[RunRecord], dict[str, Any]]
    may_reserve: Callable[[int, float], Verdict | None]
    on_advice: Callable[[str, str], None]


class Stock:
    """Reserved points, at least one per slot, each replaced before it starts when an observation arrives.

    Only its own thread touches the optimiser. `pop` never computes and never reaches the network or the disk.

    Args:
        registry: where points are reserved before anything starts.
        proposer: the optimiser behind it.
        lease: sweep, owner and lease.
        size: points to hold ready now.
        hooks: the rest of the driver.

    Attributes:
        suggest_seconds: that the last suggestion took.
    """

    def __init__(
        self, registry: Registry, proposer: Proposer, lease: Lease, *, size: Callable[[], int], hooks: Hooks
    ) -> None:
        self._registry = registry
        self._proposer = proposer
        self._lease = lease
        self._size = size
        self._hooks = hooks
        self._condition = threading.Condition()
        self._entries: list[Entry] = []
        self._replacing: str | None = None
        self._expected = 0
        self._told = 0
        self._seen = 0
        self._curves: dict[str, tuple[RunRecord, list[dict[str, Any]], int]] = {}
        self._verdict: Verdict | None = None
        self.suggest_seconds = 0.0
        self._closed = False
        self._thread = threading.Thread(target=self._work, name="stock", daemon=True)
        self._failure: BaseException | None = None

    def start(self, taken_up: Sequence[RunRecord]) -> None:
        """Begin with runs that were interrupted or reserved but never started, under their own ids."""
        for record in taken_up:
            self._entries.append(self._entry(record))
        self._thread.start()

    def pop(self) -> Entry | None:
        """The next run to start, or None when there is none (see `exhausted`).

        Waits at most `FRESHNESS_SECONDS` for a point that knows the newest observation.

        Raises:
            BaseException: whatever ended the stock's thread.
        """
        deadline = time.monotonic() + FRESHNESS_SECONDS
        with self._condition:
            while True:
                if self._failure is not None:
                    raise self._failure
                fresh = self._seen == self._expected
                now = time.monotonic()
                entry = next((e for e in self._entries if e.record.id != self._replacing and e.not_before <= now), None)
                if entry is not None and (entry.cursor is None or (fresh and entry.cursor >= self._proposer.cursor)):
                    break
                remaining = deadline - now
                if remaining <= 0 or self._closed or (fresh and entry is None and self._none_comes(now)):
                    break
                self._condition.wait(remaining)
            if entry is not None:
                self._entries.remove(entry)
                self._condition.notify_all()
            return entry

    def _none_comes(self, now: float) -> bool:
        """Whether no point is on its way: a stop rule forbids it, or the stock is full of lost runs that wait."""
        return self._verdict is not None or sum(entry.not_before > now for entry in self._entries) >= self._size()

    def take_up(self, records: Sequence[RunRecord], not_before: Mapping[str, float]) -> None:
        """Runs that were interrupted or lost their driver: they go first, but none before its time (monotonic seconds,
        by id).
        """
        entries = [replace(self._entry(record), not_before=not_before.get(record.id, 0.0)) for record in records]
        with self._condition:
            self._entries[:0] = entries
            self._condition.notify_all()

    def expect(self) -> None:
        """A run ended: its observation is on its way to the registry, or the run itself on its way back here; `tell`
        follows when it is there.
        """
        with self._condition:
            self._expected += 1

    def tell(self) -> None:
        """What was expected has come, or was refused for good."""
        with self._condition:
            self._told += 1
            self._condition.notify_all()

    def look_at(self, record: RunRecord, curve: Sequence[dict[str, Any]], total_steps: int) -> None:
        """Ask the optimiser whether this running run is worth going on with; `on_advice` hears when it is not."""
        with self._condition:
            self._curves[record.id] = (record, list(curve), total_steps)
            self._condition.notify_all()

    def reserved(self) -> list[RunRecord]:
        """Runs that wait here; their leases must be kept."""
        with self._condition:
            return [entry.record for entry in self._entries]

    @property
    def exhausted(self) -> Verdict | None:
        """Why no further point will come, once the stock is empty; None while more may come."""
        with self._condition:
            return self._verdict if not self._entries and self._seen == self._expected else None

    def close(self) -> None:
        """Stop the thread. What is reserved but never started stays so, and the clerk releases it."""
        with self._condition:
            self._closed = True
            self._condition.notify_all()
        if self._thread.is_alive():
            self._thread.join(timeout=30)

    def _work(self) -> None:
        try:
            while not self._closed:
                self._turn()
        except BaseException as error:  # handed to Tune's loop, which ends the sweep with it
            logger.exception("the optimiser's thread ended")
            with self._condition:
                self._failure = error
                self._condition.notify_all()

    def _turn(self) -> None:
        """One piece of work: news first, then the point that starts next, then the rest."""
        try:
            self._read_news()
            idle = not (self._advise_one() or self._refresh_one() or self._reserve_one())
        except NumberTaken:
            idle = False
        except RegistryError as error:
            logger.warning("registry: %s; trying again in %.0f s", error, RETRY_SECONDS)
            time.sleep(RETRY_SECONDS)
            return
        if idle:
            with self._condition:
                if self._seen == self._told and not self._curves and not self._closed:
                    self._condition.wait(POLL_SECONDS)

    def _read_news(self) -> None:
        with self._condition:
            told = self._told
        self._proposer.observe(self._registry.observations(self._lease.sweep, after=self._proposer.cursor))
        with self._condition:
            self._seen = told
            self._condition.notify_all()

    def _advise_one(self) -> bool:
        """Look at one curve, if one waits."""
        with self._condition:
            if not self._curves:
                return False
            record, curve, total_steps = self._curves.pop(next(iter(self._curves)))
        points = tuple(CurvePoint(point["env_steps"], point["seconds"], point["score"]) for point in curve)
        advice = self._proposer.advise(record, RunningCurve(record.params, points, total_steps))
        if advice is not None and advice.stop:
            logger.info("%s: stopped early: %s", record.id, advice.reason)
            self._hooks.on_advice(record.id, advice.reason)
        return True

    def _refresh_one(self) -> bool:
        """Replace the first stale point. Returns whether there was one."""
        with self._condition:
            stale = next((e for e in self._entries if e.cursor is not None and e.cursor < self._proposer.cursor), None)
        if stale is None:
            return False
        reservation = self._propose(stale.record.number, exclude=stale.record.id)
        with self._condition:
            if stale not in self._entries:
                return True  # it started meanwhile
            self._replacing = stale.record.id
        fresh: RunRecord | None = None
        try:
            key = f"{stale.record.id}:point:{reservation.cursor}:{stale.record.fence}"
            fresh = self._registry.replace_suggestion(stale.record.id, stale.record.fence, reservation, key=key)
        except (Fenced, IllegalTransition) as error:
            logger.warning("%s: %s", stale.record.id, error)
            with self._condition:
                self._entries.remove(stale)
        finally:
            with self._condition:
                self._replacing = None
                if fresh is not None:
                    self._entries[self._entries.index(stale)] = self._entry(fresh)
                self._condition.notify_all()
        return True

    def _reserve_one(self) -> bool:
        """Reserve the next point when the stock is short and the stop rules allow. Returns whether it did."""
        with self._condition:
            if len(self._entries) >= self._size() or self._closed:
                return False
        number = self._registry.next_number(self._lease.sweep)
        verdict = self._hooks.may_reserve(number, 0.0)
        reservation = self._propose(number) if verdict is None else None
        if reservation is not None:
            verdict = self._hooks.may_reserve(number, reservation.predicted_cost or 0.0)
        with self._condition:
            self._verdict = verdict
            self._condition.notify_all()
        if reservation is None or verdict is not None:
            return False
        key = f"{self._lease.sweep}:reserve:{number}:{self._lease.owner.pid}:{self._lease.owner.started}"
        record = self._registry.reserve(
            self._lease.sweep, reservation, self._lease.owner, lease_seconds=self._lease.seconds, key=key
        )
        entry = self._entry(record)
        with self._condition:
            self._entries.append(entry)
            self._condition.notify_all()
        return True

    def _entry(self, record: RunRecord) -> Entry:
        """A run that never started may still get a better point; one that ran keeps its own."""
        may_change = record.state is RunState.RESERVED and self._proposer.learns
        return Entry(record, record.cursor if may_change else None, self._hooks.prepare(record))

    def _propose(self, number: int, exclude: str = "") -> Reservation:
        pending = [
            run.params
            for run in self._registry.runs(self._lease.sweep, states=UNFINISHED)
            if run.id != exclude and run.number < number
        ]
        started = time.monotonic()
        suggestion = self._proposer.suggest(number, pending)
        self.suggest_seconds = time.monotonic() - started
        reservation = reservation_of(suggestion, self._proposer.phase(number).name, self._proposer.cursor)
        cap = self._proposer.length_cap(number)
        return (
            replace(reservation, explanation={**reservation.explanation, "length_cap": asdict(cap)})
            if cap
            else reservation
        )
