"""The driver as a state machine: `step(state, event, now) -> (state, commands)`, pure.

Everything that a driver decides is decided here: which run starts, waits, goes on or is given up, when a slot rests,
when the sweep ends, what people are told. No thread, clock, Ray, disk or registry is touched: workers tell what
happened in events and carry out the commands (`messages.py`). The commands of one step are carried out in order, so
what a `WriteMessage` holds is on disk before any command after it is acted on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from metta_sweep.analysis.duration import elapsed
from metta_sweep.capacity import SLOTS_CHANGED, missing, slots_text
from metta_sweep.driver import messages as ms
from metta_sweep.driver import runs
from metta_sweep.driver.messages import ReservedRun
from metta_sweep.driver.rules import STOPPED_BY_COMMAND, STOPPED_BY_UPDATE, must_stop_running, no_more_runs
from metta_sweep.driver.state import (
    FRESHNESS_SECONDS,
    LOOK_SECONDS,
    POLL_SECONDS,
    WAITING_SHARE,
    State,
    Transition,
    Waiting,
)
from metta_sweep.errors import ClusterError, SweepAborted
from metta_sweep.registry.records import STOP_EVENTS, STOP_NOW

NUM_NAMED = 3  # a guess: runs that a line names; a cluster that is not there yet has hundreds that wait
SPEC_UPDATED = "spec_updated"  # kind of the event that `run --update` leaves in the registry


def step(state: State, event: ms.Event, now: float) -> tuple[State, tuple[ms.MachineCommand, ...]]:
    """What follows from an event; `now` is seconds on the driver's clock, never less than in the step before."""
    turn = Transition(state, now)
    HANDLERS[type(event)](turn, event)
    answer_tune(turn)
    feed_optimiser(turn)
    keep_time(turn)
    if turn.state.is_settled and not turn.state.is_over:
        turn.set(is_over=True)
        turn.do(ms.End())
    return turn.state, tuple(turn.commands)


# What Tune's loop tells.


def on_slot_free(turn: Transition, event: ms.SlotFree) -> None:
    """One slot alone holds up nobody; of many, each takes from what all may wait together."""
    state = turn.state
    saved = state.may_wait + WAITING_SHARE * (turn.now - state.answered_at)
    may_wait = FRESHNESS_SECONDS if state.capacity.wanted == 1 else min(saved, FRESHNESS_SECONDS)
    turn.set(asking_since=turn.now, may_wait=may_wait)


def on_loop_turned(turn: Transition, event: ms.LoopTurned) -> None:
    """The loop is alive; a run without a place is told, and when nothing runs meanwhile, waited for not without end."""
    turn.set(loop_seen_at=turn.now)
    now, before, settings = turn.now, turn.state.waiting, turn.state.rules.settings
    if not event.waiting:
        turn.set(waiting=Waiting())
        return
    since = now if before.since is None else before.since
    idle_since = None if event.num_running else now if before.idle_since is None else before.idle_since
    is_due = now - since >= settings.placement_warning_seconds and not before.is_told
    turn.set(waiting=Waiting(since, idle_since, before.is_told or is_due))
    if is_due:
        detail = {"runs": list(event.waiting), "seconds": round(now - since, 1)}
        turn.do(ms.Tell("waiting_for_resources", waiting_text(turn, event.waiting, now - since), detail))
    if idle_since is not None and 0 < settings.placement_timeout_seconds <= now - idle_since:
        text = waiting_text(turn, event.waiting, now - idle_since)
        turn.abort(ClusterError(f"{text} (settings.placement_timeout_seconds)"))


def waiting_text(turn: Transition, waiting: tuple[str, ...], seconds: float) -> str:
    rules, nodes = turn.state.rules, turn.state.rules.usable(turn.state.capacity)
    more = f" and {len(waiting) - NUM_NAMED} more" if len(waiting) > NUM_NAMED else ""
    waited = f"waited {elapsed(round(seconds))} for a place"
    return f"{', '.join(waiting[:NUM_NAMED])}{more}: {waited}: {missing(rules.resources, nodes)}"


def on_capacity_seen(turn: Transition, event: ms.CapacitySeen) -> None:
    turn.set_capacity(nodes=event.nodes, leaving=event.leaving)
    before, slots = turn.state.capacity.slots, turn.state.rules.count_slots(turn.state.capacity)
    turn.set_capacity(slots=slots)
    if slots != before:
        turn.do(ms.Tell(SLOTS_CHANGED, slots_text(slots), {"slots": slots}))


# People, clocks, threads.


def on_stop_asked(turn: Transition, event: ms.StopAsked) -> None:
    turn.set(stop=replace(turn.state.stop, by_user=turn.state.stop.by_user or event.by_user))
    turn.drain(event.reason, now=event.now)


def on_tick(turn: Transition, event: ms.TimePassed) -> None:
    """Only time passed: what is due is done after every event."""


def on_tell(turn: Transition, event: ms.Tell) -> None:
    turn.do(event)


def on_worker_failed(turn: Transition, event: ms.WorkerFailed) -> None:
    turn.set(error=turn.state.error or event.error)


# The optimiser's thread.


def on_learned(turn: Transition, event: ms.Learned) -> None:
    optimiser = turn.state.optimiser
    turn.set(best=runs.better(turn.state, event.best))
    turn.set_optimiser(
        asked=None,
        cursor=event.cursor,
        seen=max(optimiser.seen, optimiser.asked_news),
        learned_at=turn.now,
        next_number=event.tally.num_runs,
        tally=event.tally,
        limit=no_more_runs(turn.state.rules.limits, turn.state.tally(event.tally)),
    )


def on_idle(turn: Transition, event: ms.Idle) -> None:
    turn.set_optimiser(asked=None, next_number=None)


def on_advised(turn: Transition, event: ms.Advised) -> None:
    turn.set_optimiser(asked=None)
    if event.reason is not None and event.run_id in turn.state.live:
        turn.set(stops={event.run_id: event.reason, **turn.state.stops})


def on_suggestion_ready(turn: Transition, event: ms.SuggestionReady) -> None:
    rules, reservation, asked = turn.state.rules, event.reservation, turn.state.optimiser.asked
    turn.set_optimiser(asked=None, suggest_seconds=event.seconds)
    if isinstance(asked, ms.Propose) and asked.instead_of is not None:
        if any(run is asked.instead_of for run in turn.state.ready):  # else it started meanwhile
            turn.ask(ms.Reserve(reservation, asked.instead_of))
        return
    seconds = rules.slot_seconds(reservation.predicted_cost or 0.0)
    limit = no_more_runs(rules.limits, turn.state.tally(event.tally), seconds)
    turn.set_optimiser(limit=limit)
    if limit is None and turn.state.stop.reason is None and not turn.state.has_ended:
        turn.ask(ms.Reserve(reservation))


def on_reserved(turn: Transition, event: ms.Reserved) -> None:
    asked = turn.state.optimiser.asked
    turn.set_optimiser(asked=None, next_number=None)
    if isinstance(asked, ms.Reserve) and asked.instead_of is not None:
        ready = tuple(event.run if run is asked.instead_of else run for run in turn.state.ready)
        turn.set(ready=tuple(run for run in ready if run is not None))
    elif event.run is not None:
        runs.hold(turn, event.run, first=False)
        if event.tally is not None:  # no need to look for the next number
            limit = no_more_runs(turn.state.rules.limits, turn.state.tally(event.tally))
            turn.set_optimiser(next_number=event.tally.num_runs, tally=event.tally, limit=limit)


# The registry.


def on_delivered(turn: Transition, event: ms.Delivered) -> None:
    """What an answer means for this driver."""
    run_id = event.run_id
    if event.is_refused:
        runs.hand_over(turn, frozenset({run_id}), fence=event.fence)
    if event.kind in ("finish", "interrupt", "requeue") and run_id in turn.state.undelivered:
        turn.set(undelivered=turn.state.undelivered - {run_id})
        turn.set_optimiser(news=turn.state.optimiser.news + 1)
    if event.kind == "requeue" and run_id in turn.state.returning:
        if event.run is not None:
            runs.hold(turn, event.run, first=True)
        turn.set(returning=runs.without(turn.state.returning, run_id))


def on_leases_lost(turn: Transition, event: ms.LeasesLost) -> None:
    runs.hand_over(turn, event.run_ids)


def on_looked(turn: Transition, event: ms.Polled) -> None:
    turn.set(is_looking=False)
    if event.is_deleted:
        turn.abort(SweepAborted(f"sweep {turn.state.rules.sweep}: somebody deleted it from the registry"))
    for kind in event.requests:
        if kind in STOP_EVENTS:
            turn.drain(STOPPED_BY_COMMAND, now=kind == STOP_NOW)
        elif kind == SPEC_UPDATED:
            turn.drain(STOPPED_BY_UPDATE)
    for run in reversed(event.resumed):
        runs.hold(turn, run, first=True)
    for record, why in event.refused:
        runs.refuse(turn, record, why)
    limits, tally = turn.state.rules.limits, event.tally
    if tally is not None and (reason := must_stop_running(limits, turn.state.tally(tally))):
        turn.drain(reason, now=True)


# What follows from any event.


def answer_tune(turn: Transition) -> None:
    """Answer the slot that Tune offers, as soon as the answer is known."""
    since, may_wait = turn.state.asking_since, turn.state.may_wait
    if since is None:
        return
    answer = answer_to_slot(turn.state, since + may_wait, turn.now)
    if answer is None:
        return
    turn.set(asking_since=None, may_wait=max(since + may_wait - turn.now, 0.0), answered_at=turn.now)
    if isinstance(answer, ReservedRun):
        runs.start(turn, answer)
        return
    if answer.for_good and turn.state.optimiser.limit is not None:
        turn.drain(turn.state.optimiser.limit)
    turn.do(answer)


def answer_to_slot(state: State, deadline: float, now: float) -> ReservedRun | ms.NoRun | None:
    """The run to start, or why there is none; None while a point that knows the newest result is worth waiting for."""
    if state.error is not None or state.has_ended:
        return ms.NoRun()
    if state.stop.reason is not None:
        return ms.NoRun(for_good=not state.live)
    num_resting = sum(until > now for until in state.resting)
    run, is_full = state.next_run(now), len(state.live) + num_resting >= state.capacity.wanted
    if state.is_limited and not state.ready:
        return ms.NoRun(for_good=not state.live)
    if is_full:
        return ms.NoRun()
    knows_all = run is not None and (run.cursor is None or (state.is_fresh and run.cursor >= state.optimiser.cursor))
    if run is not None and (knows_all or now >= deadline):
        return run
    # All that waits has its time later, and nothing else will be reserved: a wait would only hold the loop.
    may_get_more = not state.is_limited and len(state.ready) < state.capacity.wanted
    is_futile = state.is_fresh and not may_get_more and all(one.not_before > now for one in state.ready)
    return ms.NoRun() if is_futile or now >= deadline else None


def feed_optimiser(turn: Transition) -> None:
    """Give the optimiser's thread its next work: news first, then the point that starts next, then the rest."""
    state, optimiser = turn.state, turn.state.optimiser
    if optimiser.asked is not None or state.has_ended or state.error is not None:
        return
    if optimiser.seen < optimiser.news:
        turn.ask(ms.Learn())
    elif optimiser.curves:
        run_id, advise = next(iter(optimiser.curves.items()))
        turn.set_optimiser(curves=runs.without(optimiser.curves, run_id))
        turn.ask(advise)
    elif state.stale_run is not None and state.stop.reason is None:
        turn.ask(ms.Propose(state.stale_run.record.number, state.stale_run))
    elif state.has_room and optimiser.limit is None and optimiser.next_number is not None:
        turn.ask(ms.Propose(optimiser.next_number))
    elif (state.has_room and optimiser.limit is None) or turn.now - optimiser.learned_at >= POLL_SECONDS:
        turn.ask(ms.Learn())


def keep_time(turn: Transition) -> None:
    """What is done every so often."""
    state, now, settings = turn.state, turn.now, turn.state.rules.settings
    if state.resting:
        turn.set(resting=tuple(until for until in state.resting if until > now))
    if state.has_ended:
        return
    # A heartbeat says that Tune's loop is alive: a driver that hangs loses its runs.
    if now - state.beat_at >= settings.heartbeat_seconds and now - state.loop_seen_at < settings.lease_seconds / 2:
        turn.set(beat_at=now)
        turn.do(ms.ExtendLeases(state.held))
    if now - state.looked_at >= LOOK_SECONDS and not state.is_looking:
        turn.set(looked_at=now, is_looking=True)
        turn.do(ms.Poll(may_resume=state.stop.reason is None))


# One for every event: another is a mistake of ours, and ends the driver.
HANDLERS: Mapping[type, Callable[[Transition, Any], None]] = {
    ms.SlotFree: on_slot_free,
    ms.Progressed: runs.on_progressed,
    ms.RunEnded: runs.on_run_ended,
    ms.CapacitySeen: on_capacity_seen,
    ms.LoopTurned: on_loop_turned,
    ms.Checkpointed: runs.on_checkpointed,
    ms.LoopEnded: runs.on_loop_ended,
    ms.StopAsked: on_stop_asked,
    ms.TimePassed: on_tick,
    ms.Learned: on_learned,
    ms.Advised: on_advised,
    ms.SuggestionReady: on_suggestion_ready,
    ms.Reserved: on_reserved,
    ms.Idle: on_idle,
    ms.Delivered: on_delivered,
    ms.Polled: on_looked,
    ms.LeasesLost: on_leases_lost,
    ms.WorkerFailed: on_worker_failed,
    ms.Tell: on_tell,
}
