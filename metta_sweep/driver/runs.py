"""What becomes of runs: how they start, report, end, are lost, given back and handed over.

A part of `step.py`, as pure.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

from metta_sweep.driver import messages as ms
from metta_sweep.driver.messages import LiveRun, ReservedRun
from metta_sweep.driver.rules import FailureCount, retry_seconds
from metta_sweep.driver.state import State, Transition
from metta_sweep.errors import SweepAborted
from metta_sweep.registry.records import JsonObject, NewObservation, RunRecord, RunState
from trainables.failures import Failure, same_ending, twice
from trainables.result import Costs, FailureKind, Outcome, Point, Progress, RunResult, Span

# A run that this driver lost so often is given up; each attempt goes on from the last checkpoint. What people interrupt
# is not counted.
MAX_LOSSES = 8
# A run that died at once still took something; a cost of zero has no logarithm.
MIN_COST_SECONDS = 1e-3


def start(turn: Transition, run: ReservedRun) -> None:
    """The run is on its way to a worker."""
    state, earlier = turn.state, turn.state.past.interrupted.get(run.id)
    live = LiveRun(run.record, RunState.RUNNING, turn.now, before=earlier.spent if earlier else Span())
    ready = tuple(one for one in state.ready if one.id != run.id)
    turn.set(ready=ready, live={**state.live, run.id: live}, past=state.past.minus(run.id))
    turn.write("start", run.record, num_gpus=state.rules.num_gpus)
    turn.do(ms.Start(run, state.capacity.cordoned))


def on_progressed(turn: Transition, event: ms.Progressed) -> None:
    run, progress, rules = turn.state.live.get(event.run_id), event.progress, turn.state.rules
    point = progress.point
    if run is None:
        return
    if not progress.total_env_steps:  # a program does not know which of its parameters is its length
        progress = replace(progress, total_env_steps=rules.asked_steps(run.record.params))
    if progress.nodes and progress.nodes != run.nodes:  # told once, and again when its workers were moved
        turn.write("record_nodes", run.record, nodes=progress.nodes)
    if point is not None:
        turn.write("record_progress", run.record, curve=[curve_point(point, rules.clock)])
    is_new = point is not None and (not run.curve or point.env_steps > run.curve[-1].env_steps)
    curve = (*run.curve, point) if is_new and point is not None else run.curve
    run = replace(run, progress=progress, curve=curve, nodes=progress.nodes or run.nodes)
    turn.set(live={**turn.state.live, run.record.id: run})
    if point is not None and rules.early_stopping:
        points = tuple(curve_point(one, rules.clock) for one in curve)
        advise = ms.Advise(run.record, points, progress.total_env_steps)
        turn.set_optimiser(curves={**turn.state.optimiser.curves, run.record.id: advise})


def on_run_ended(turn: Transition, event: ms.RunEnded) -> None:
    run, result = turn.state.live.get(event.run_id), event.result
    if run is None:
        return
    judge_nodes(turn, run, event)
    result = blamed(turn, event.run_id, result) if result is not None else None
    if result is None:
        vanished(turn, run)
    elif result.is_lost and losses_of(turn, run) < MAX_LOSSES:
        lose(turn, run, result.message, asdict(result.attempt_costs))
    elif result.outcome is Outcome.INTERRUPTED and not result.is_lost:
        give_back(turn, run, result.message or "asked to stop", asdict(result.attempt_costs))
    else:
        finish(turn, run, finished(result.given_up(), turn.state.rules.clock))


def judge_nodes(turn: Transition, run: LiveRun, event: ms.RunEnded) -> None:
    """Fast losses in a row are counted on each node that a run was on; any of them may be the one to blame.

    A process that ends with its run, since its node will be taken away, is an error to Tune, but lost nothing. A node
    that died takes all its runs with it, and no more: to avoid it by its name would cost every warm process elsewhere.
    """
    settings = turn.state.rules.settings
    lost = event.is_error and (event.result is None or event.result.is_lost)
    is_loss = lost and turn.now - run.started_at <= settings.fast_loss_seconds
    for node in sorted(event.nodes & turn.state.capacity.nodes.keys()):
        before = turn.state.capacity.fast_losses
        losses = before.get(node, 0) + 1 if is_loss else 0
        turn.set_capacity(fast_losses={**before, node: losses} if losses else without(before, node))
        if 0 < settings.max_fast_losses <= losses:
            cordon(turn, node, losses)


def cordon(turn: Transition, node: str, losses: int) -> None:
    """Its slots are gone when nodes are counted next. The last node stays: without it nothing would run at all, and the
    count of the sweep ends what it cannot do."""
    capacity, seconds = turn.state.capacity, turn.state.rules.settings.fast_loss_seconds
    if node in capacity.cordoned or not set(capacity.nodes) - {*capacity.cordoned, node}:
        return
    turn.set_capacity(cordoned=tuple(sorted({*capacity.cordoned, node})))
    text = f"node {node} takes no more runs: it lost {losses} runs in a row within {seconds:g} s of their start"
    turn.do(ms.Tell("node_cordoned", text, {"node": node, "losses": losses}))


def blamed(turn: Transition, run_id: str, result: RunResult) -> RunResult:
    """The result as it counts: a worker that ended itself as in the attempt before is no loss; its code does that."""
    before = turn.state.endings.get(run_id)
    turn.set(endings=without(turn.state.endings, run_id))
    if not result.is_lost:
        return result
    failure = Failure(FailureKind.INFRASTRUCTURE, result.signature, result.message)
    turn.set(endings={**turn.state.endings, run_id: failure})
    if not same_ending(before, failure):
        return result
    again = twice(failure)
    return replace(result, outcome=Outcome.FAILED, failure=again.kind, message=again.message)


def vanished(turn: Transition, run: LiveRun) -> None:
    """Tune ended the run: on our request, or because its trial driver died."""
    state, run_id, clock = turn.state, run.record.id, turn.state.rules.clock
    reason = state.stops.get(run_id)
    costs = state.checkpointed.get(run_id) or (asdict(run.progress.attempt_costs) if run.progress else {})
    if reason is not None and run.progress is not None and run.curve:
        score, early = run.curve[-1].score, Outcome.STOPPED_EARLY
        finish(turn, run, cut_off(run, clock, early, score, curve=run.curve, message=reason))
    elif run_id in state.lost or state.stop.now:
        give_back(turn, run, "another driver holds it" if run_id in state.lost else "asked to stop", costs)
    elif losses_of(turn, run) < MAX_LOSSES:
        lose(turn, run, "its trial driver or node was lost", costs)
    else:
        message = f"lost its trial driver or node {MAX_LOSSES} times"
        finish(turn, run, given_up(run, clock, "infrastructure: lost", message))


def losses_of(turn: Transition, run: LiveRun) -> int:
    """How often the run was lost, this time included."""
    return turn.state.losses.get(run.record.id, 0) + 1


def finish(turn: Transition, run: LiveRun, observation: NewObservation) -> None:
    """The run has its result."""
    turn.write("finish", run.record, observation=asdict(observation))
    leave(turn, run, observation.outcome, observation)
    losses = without(turn.state.losses, run.record.id)  # whoever tries it again begins to count afresh
    turn.set(best=better(turn.state, observation.score), losses=losses)
    failures = turn.state.failures
    if observation.outcome is not Outcome.FAILED:
        count_failures(turn, failures.after_success())
        return
    if observation.failure != FailureKind.INFRASTRUCTURE:
        turn.set(resting=(*turn.state.resting, turn.now + turn.state.rules.settings.rollout_retry_delay))
    count_failures(turn, failures.after_failure(observation.failure or FailureKind.CODE, observation.signature))


def lose(turn: Transition, run: LiveRun, reason: str, costs: JsonObject) -> None:
    """Workers, node or trial driver are gone: the run goes on from its checkpoint, each time after a longer pause."""
    losses = losses_of(turn, run)
    pause = retry_seconds(turn.state.rules.settings.infrastructure_retry_delay, losses)
    turn.set(losses={**turn.state.losses, run.record.id: losses})
    count_failures(turn, turn.state.failures.after_failure(FailureKind.INFRASTRUCTURE, ""))
    give_back(turn, run, reason, costs, not_before=turn.now + pause)


def give_back(turn: Transition, run: LiveRun, reason: str, costs: JsonObject, not_before: float = 0.0) -> None:
    """The run goes on later: here, or, when this driver ends or holds it no more, wherever somebody takes it up."""
    run_id = run.record.id
    stays = turn.state.stop.reason is None and not turn.state.has_ended and run_id not in turn.state.lost
    turn.write("requeue" if stays else "interrupt", run.record, reason=reason, costs=costs)
    leave(turn, run, Outcome.INTERRUPTED)
    if stays:
        turn.set(returning={**turn.state.returning, run_id: not_before})


def leave(turn: Transition, run: LiveRun, outcome: Outcome, result: NewObservation | None = None) -> None:
    """The run is no longer live, and its message is on the way."""
    run_id, before = run.record.id, turn.state
    turn.set(
        live=without(before.live, run_id),
        past=before.past.plus(replace(run, state=RunState(outcome), result=result)),
        undelivered=before.undelivered | {run_id},
        stops=without(before.stops, run_id),
        lost=before.lost - {run_id},
        checkpointed=without(before.checkpointed, run_id),
    )
    turn.set_optimiser(curves=without(before.optimiser.curves, run_id))


def count_failures(turn: Transition, failures: FailureCount) -> None:
    turn.set(failures=failures)
    if verdict := failures.verdict():
        turn.abort(SweepAborted(verdict))


def better(state: State, score: float | None) -> float | None:
    """The better of the best score so far and this one."""
    if score is None or state.best is None:
        return state.best if score is None else score
    return max(state.best, score) if state.rules.limits.maximize else min(state.best, score)


def without(items: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    return {name: item for name, item in items.items() if name != key} if key in items else items


def on_checkpointed(turn: Transition, event: ms.Checkpointed) -> None:
    turn.set(checkpointed={**turn.state.checkpointed, **event.costs})


def on_loop_ended(turn: Transition, event: ms.LoopEnded) -> None:
    """What was cut off or never started is given back: a driver elsewhere need not wait for the lease."""
    if turn.state.has_ended:
        return
    turn.set(has_ended=True, asking_since=None)
    for run in turn.state.live.values():
        vanished(turn, run)
    for reserved in turn.state.ready:
        turn.write("release", reserved.record)
    turn.set(ready=())


def hold(turn: Transition, run: ReservedRun, *, first: bool) -> None:
    """The run waits for a slot; after the end it is anybody's.

    What this driver still has of it is older: another one took it meanwhile, and is dead. That ends before it starts.
    The pause of a lost run is kept, whoever held it since.
    """
    state = turn.state
    if state.has_ended:
        turn.write("release", run.record)
        return
    others = tuple(one for one in state.ready if one.id != run.id)
    run = replace(run, not_before=state.returning.get(run.id, run.not_before))
    ready, lost = (run, *others) if first else (*others, run), state.lost | ({run.id} & state.live.keys())
    turn.set(ready=ready, returning=without(state.returning, run.id), lost=lost)


def refuse(turn: Transition, record: RunRecord, reason: str) -> None:
    """The run fails without a start, and nothing is learned from it: its point is not of this sweep."""
    message = f"refused, outside the search space: {reason}"
    turn.do(ms.Tell("", f"{record.id}: {message}"))
    turn.write("start", record, num_gpus=0.0)
    result = given_up(None, turn.state.rules.clock, "refused: outside the search space", message)
    turn.write("finish", record, observation=asdict(result))
    turn.set(undelivered=turn.state.undelivered | {record.id})


def hand_over(turn: Transition, run_ids: frozenset[str], fence: float = math.inf) -> None:
    """Another driver holds these runs, up to this fence: live ones end at their next report, others do not start."""
    state = turn.state
    lost = {run_id for run_id in run_ids & state.live.keys() if state.live[run_id].record.fence <= fence}
    ready = tuple(run for run in state.ready if run.id not in run_ids or run.record.fence > fence)
    turn.set(lost=state.lost | lost, ready=ready)


# What is stored of a run's end.


def searched_cost(costs: Costs, clock: str) -> float:
    """What the point itself costs: training plus evaluation.

    Set-up depends on whether a worker was warm, and curve points on how often we look; neither is about the point.
    """
    part: Span = costs.train + costs.evaluate
    return max(float(getattr(part, clock)), MIN_COST_SECONDS)


def finished(result: RunResult, clock: str) -> NewObservation:
    """What the registry stores about a run that ended."""
    cost, wall = (searched_cost(result.costs, one) for one in (clock, "wall_seconds"))
    return NewObservation.of(result, cost, wall, curve=tuple(curve_point(point, clock) for point in result.curve))


def cut_off(run: LiveRun | None, clock: str, outcome: Outcome, score: float | None, **why: Any) -> NewObservation:
    """A run that told no result: what its newest report says, and how it ended."""
    told = run.progress if run and run.progress else Progress(env_steps=0, total_env_steps=0, steps_per_second=0.0)
    steps, nodes = told.env_steps, told.nodes
    result = RunResult(outcome, score, told.costs, told.attempt_costs, env_steps=steps, nodes=nodes, **why)
    return finished(result, clock)


def given_up(run: LiveRun | None, clock: str, signature: str, message: str) -> NewObservation:
    """A run that nobody will start again, through no fault of its point."""
    failure = FailureKind.INFRASTRUCTURE
    return cut_off(run, clock, Outcome.FAILED, None, failure=failure, signature=signature, message=message)


def curve_point(point: Point, clock: str) -> dict[str, Any]:
    """A learning-curve point as the registry stores it, in the sweep's cost clock."""
    told = {"env_steps": point.env_steps, "seconds": float(getattr(point.train, clock)), "score": point.score}
    return told if point.score_se is None else {**told, "score_se": point.score_se}
