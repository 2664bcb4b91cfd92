"""The line above the table of runs: how far the sweep is, what it found and spent, and what it is doing now."""

from __future__ import annotations

from collections.abc import Iterator

from metta_sweep.analysis.duration import duration
from metta_sweep.capacity import counted
from metta_sweep.driver import messages as ms
from metta_sweep.driver.rules import cap_seconds
from metta_sweep.driver.state import State

SHORT_SECONDS = 1.0  # a guess: what takes less is over before somebody has read of it


def headline(state: State, now: float) -> str:
    """`12/60 runs, best single score 7.06, $1.20 of $5.00 spent, about 12 min left: 2 running, fitting the model`."""
    facts = [runs_text(state), *best_text(state), *spent_texts(state), *left_text(state)]
    return f"{', '.join(facts)}: {', '.join(doing(state, now)) or 'starting'}"


def num_ended(state: State) -> int:
    """Runs that have ended, whoever ran them; what other drivers run now counts as ended."""
    reserved = state.optimiser.tally.num_runs if state.optimiser.tally else sum(state.past.counts.values())
    open_runs = {*state.live, *state.returning, *(run.id for run in state.ready)}
    return max(reserved - len(open_runs), 0)


def runs_text(state: State) -> str:
    limit, ended = state.rules.limits.num_samples, num_ended(state)
    return counted(ended, "run") if limit is None else f"{ended}/{limit} runs"


def best_text(state: State) -> list[str]:
    return [] if state.best is None else [f"best single score {state.best:.4g}"]


def spent_texts(state: State) -> Iterator[str]:
    """What is spent of each cap."""
    if state.optimiser.tally is None:
        return
    limits, tally = state.rules.limits, state.tally(state.optimiser.tally)
    budget, cap = limits.budget, cap_seconds(limits)
    if cap is not None and budget.dollars is not None and budget.hourly_cost:
        yield f"${tally.spent_seconds * budget.hourly_cost / 3600:.2f} of ${budget.dollars:.2f} spent"
    if cap is not None and budget.gpu_hours is not None:
        yield f"{tally.spent_seconds / 3600:.3g} of {budget.gpu_hours:g} GPU-hours spent"
    if budget.wall_clock is not None:
        yield f"{duration(tally.elapsed_seconds)} of {duration(budget.wall_clock)} passed"


def left_text(state: State) -> list[str]:
    """Until the last run, at the mean pace of the runs that ended here in the current phase."""
    limit, slots = state.rules.limits.num_samples, state.capacity.slots
    newest = max(state.runs, key=lambda run: run.record.number, default=None)
    phase = newest.record.phase if newest else ""
    mean = state.past.seconds_per_run(phase)
    if limit is None or not slots or not mean:
        return []
    already = sum(min(run.spent.wall_seconds, mean) for run in state.live.values())
    left = (limit - num_ended(state)) * mean - already
    return [f"about {duration(max(left, 0.0) / slots)} left"]


def doing(state: State, now: float) -> Iterator[str]:
    """What runs, and what everything else waits for."""
    if state.live:
        yield f"{len(state.live)} running"
    if state.stop.reason is not None:
        yield "writing checkpoints" if state.stop.now and state.live else "no new runs"
        return
    if state.waiting.since is not None:
        yield f"waiting for a place for {duration(now - state.waiting.since)}"
    elif not state.capacity.slots:
        yield "waiting for a node"
    optimiser = state.optimiser
    if isinstance(optimiser.asked, ms.Propose) and now - optimiser.asked_at >= SHORT_SECONDS:
        yield f"fitting the model for {duration(now - optimiser.asked_at)}"
    elif state.resting:
        yield f"resting {duration(max(state.resting) - now)} after a failed run"
    elif state.ready and len(state.live) >= state.capacity.wanted:
        yield f"{len(state.ready)} waiting for a slot"
