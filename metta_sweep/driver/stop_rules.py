"""When a sweep takes no more runs: pure rules over a tally of what is spent and promised."""

from __future__ import annotations

from dataclasses import dataclass

from metta_sweep.config.job import Budget

# A cap may be overspent by this share: a run is not cut for the last metres of its way.
OVERSPEND_SHARE = 0.02


@dataclass(frozen=True, slots=True)
class Tally:
    """What the sweep used so far and what its unfinished runs will still use.

    Attributes:
        num_runs: runs reserved so far, whatever became of them.
        elapsed_seconds: wall clock since the sweep was first started.
        spent_seconds: GPU seconds (slot seconds for runs without GPU) over all attempts, running ones up to now.
        committed_seconds: what reserved and running runs are predicted to still need, same unit.
        best_score: score of the incumbent, or None.
    """

    num_runs: int
    elapsed_seconds: float
    spent_seconds: float
    committed_seconds: float
    best_score: float | None


@dataclass(frozen=True, slots=True)
class Limits:
    """The stop rules of one sweep.

    Attributes:
        num_samples: runs of the whole sweep; None = endless.
        target_score: ends the sweep when reached; None = never.
        maximize: direction of the score.
        budget: money and time.
        has_gpus: whether `Budget.gpu_hours` can mean anything.
    """

    num_samples: int | None
    target_score: float | None
    maximize: bool
    budget: Budget
    has_gpus: bool


@dataclass(frozen=True, slots=True)
class Verdict:
    """Why the sweep takes no more runs. `is_cap`: money or time ended it, which the exit code says."""

    reason: str
    is_cap: bool


def cap_seconds(limits: Limits) -> float | None:
    """The tightest cap on GPU seconds (slot seconds without GPU), or None."""
    caps = []
    if limits.budget.gpu_hours is not None and limits.has_gpus:
        caps.append(limits.budget.gpu_hours * 3600.0)
    if limits.budget.dollars is not None and limits.budget.hourly_cost:
        caps.append(limits.budget.dollars / limits.budget.hourly_cost * 3600.0)
    return min(caps) if caps else None


def no_more_runs(limits: Limits, tally: Tally, next_seconds: float = 0.0) -> Verdict | None:
    """Why no further run may be reserved; None when one that is predicted to use `next_seconds` may."""
    if limits.num_samples is not None and tally.num_runs >= limits.num_samples:
        return Verdict(f"all {limits.num_samples} runs are done (sweep.num_samples)", is_cap=False)
    return target_reached(limits, tally) or over_cap(limits, tally, tally.committed_seconds + next_seconds)


def target_reached(limits: Limits, tally: Tally) -> Verdict | None:
    """Whether the incumbent is at least as good as `sweep.target_score`."""
    if limits.target_score is None or tally.best_score is None:
        return None
    reached = tally.best_score >= limits.target_score if limits.maximize else tally.best_score <= limits.target_score
    return (
        Verdict(f"score {tally.best_score:.4g} reached sweep.target_score={limits.target_score:g}", is_cap=False)
        if reached
        else None
    )


def over_cap(limits: Limits, tally: Tally, promised_seconds: float = 0.0) -> Verdict | None:
    """Whether a cap of money or time is reached, counting `promised_seconds` on top of what is spent."""
    budget = limits.budget
    if budget.wall_clock is not None and tally.elapsed_seconds >= budget.wall_clock:
        return Verdict(f"{tally.elapsed_seconds:.0f} s passed (budget.wall_clock={budget.wall_clock:g})", is_cap=True)
    cap = cap_seconds(limits)
    used = tally.spent_seconds + promised_seconds
    if cap is None or used < cap:
        return None
    return Verdict(describe_cap(limits, tally.spent_seconds, promised_seconds), is_cap=True)


def describe_cap(limits: Limits, spent_seconds: float, promised_seconds: float) -> str:
    """One line: what was spent and promised against the cap, in the cap's own unit."""
    budget = limits.budget
    if budget.dollars is not None and budget.hourly_cost:
        rate = budget.hourly_cost / 3600.0
        return (
            f"${spent_seconds * rate:.3f} spent + ${promised_seconds * rate:.3f} committed reach "
            f"budget.dollars={budget.dollars:g}"
        )
    return (
        f"{spent_seconds / 3600:.3f} GPU-hours spent + {promised_seconds / 3600:.3f} committed reach "
        f"budget.gpu_hours={budget.gpu_hours:g}"
    )


def must_stop_running(limits: Limits, tally: Tally) -> Verdict | None:
    """Whether running runs have to checkpoint and end now: the cap is overspent by more than `OVERSPEND_SHARE`."""
    cap = cap_seconds(limits)
    if cap is None or tally.spent_seconds < cap * (1.0 + OVERSPEND_SHARE):
        return None
    return Verdict(describe_cap(limits, tally.spent_seconds, 0.0), is_cap=True)
