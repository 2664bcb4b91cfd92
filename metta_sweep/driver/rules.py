"""When a sweep takes no more runs, and when failures end it: pure rules over what is spent, promised and lost.

Failed runs (hyperparameters, code) count against `settings.max_consecutive_failures`; lost runs (infrastructure)
against the more generous `settings.max_infrastructure_failures`, and each waits longer before it starts again. A run
that ends well sets both to zero. As many in a row as a limit says are borne; one more ends the sweep.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from metta_sweep.analysis.duration import elapsed
from metta_sweep.analysis.ending import all_done
from metta_sweep.config.job import Budget
from trainables.result import FailureKind

# A cap may be overspent by this share: a run is not cut for the last metres of its way.
OVERSPEND_SHARE = 0.02
# The first runs all failing in the same line of code say that the code is broken, whatever the point.
SAME_SIGNATURE_RUNS = 2
# A lost run waits twice as long each time, but never longer than this: by then a node is replaced or it will not be.
MAX_RETRY_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Tally:
    """What the sweep used so far, over all its drivers, and what its unfinished runs will still use.

    Attributes:
        num_runs: runs reserved so far, whatever became of them; the number of the next one.
        elapsed_seconds: wall clock since the sweep was first started.
        spent_seconds: GPU seconds (slot seconds for runs without GPU) over all attempts; of running ones only where a
            driver has added its own.
        committed_seconds: what unfinished runs are predicted to still need, same unit.
        best_score: score of the incumbent, where a driver has added it.
    """

    num_runs: int
    elapsed_seconds: float = 0.0
    spent_seconds: float = 0.0
    committed_seconds: float = 0.0
    best_score: float | None = None


@dataclass(frozen=True, slots=True)
class SweepLimits:
    """The stop rules of one sweep; `has_gpus`: whether `Budget.gpu_hours` can mean anything."""

    num_samples: int | None
    target_score: float | None
    maximize: bool
    budget: Budget
    has_gpus: bool

    @property
    def has_money_cap(self) -> bool:
        """Whether money may end the sweep."""
        return cap_seconds(self) is not None


@dataclass(frozen=True, slots=True)
class StopReason:
    """Why the sweep takes no more runs.

    Attributes:
        reason: in words.
        is_cap: money or time ended it, which the exit code says.
        is_done: it has all its runs, or its target.
    """

    reason: str
    is_cap: bool
    is_done: bool = False


STOPPED_BY_COMMAND = StopReason("stopped by the `stop` command", is_cap=False)  # in the words of the command line
STOPPED_BY_USER = StopReason("interrupted; the same command continues it", is_cap=False)  # says what to do next
# Its points would be of a specification that the sweep no longer has.
STOPPED_BY_UPDATE = StopReason(
    "`run --update` changed the sweep's specification; the same command continues it", is_cap=False
)


def cap_seconds(limits: SweepLimits) -> float | None:
    """The tightest cap on GPU seconds (slot seconds without GPU), or None."""
    caps = []
    if limits.budget.gpu_hours is not None and limits.has_gpus:
        caps.append(limits.budget.gpu_hours * 3600.0)
    if limits.budget.dollars is not None and limits.budget.hourly_cost:
        caps.append(limits.budget.dollars / limits.budget.hourly_cost * 3600.0)
    return min(caps) if caps else None


def no_more_runs(limits: SweepLimits, tally: Tally, next_seconds: float = 0.0) -> StopReason | None:
    """Why no further run may be reserved; None when one that is predicted to use `next_seconds` may."""
    if limits.num_samples is not None and tally.num_runs >= limits.num_samples:
        return StopReason(all_done(limits.num_samples), is_cap=False, is_done=True)
    return target_reached(limits, tally) or over_cap(limits, tally, tally.committed_seconds + next_seconds)


def target_reached(limits: SweepLimits, tally: Tally) -> StopReason | None:
    """Whether the incumbent is at least as good as `sweep.target_score`."""
    if limits.target_score is None or tally.best_score is None:
        return None
    score, target = tally.best_score, limits.target_score
    if score < target if limits.maximize else score > target:
        return None
    return StopReason(f"score {score:.4g} reached sweep.target_score={target:g}", is_cap=False, is_done=True)


def over_cap(limits: SweepLimits, tally: Tally, promised_seconds: float = 0.0) -> StopReason | None:
    """Whether a cap of money or time is reached, counting `promised_seconds` on top of what is spent."""
    budget = limits.budget
    if budget.wall_clock is not None and tally.elapsed_seconds >= budget.wall_clock:
        passed = f"{elapsed(tally.elapsed_seconds)} passed"
        return StopReason(f"{passed} (budget.wall_clock={budget.wall_clock:g})", is_cap=True)
    cap = cap_seconds(limits)
    if cap is None or tally.spent_seconds + promised_seconds < cap:
        return None
    return StopReason(describe_cap(limits, tally.spent_seconds, promised_seconds), is_cap=True)


def describe_cap(limits: SweepLimits, spent_seconds: float, promised_seconds: float) -> str:
    """One line: what was spent and promised against the cap, in the cap's own unit."""
    budget = limits.budget
    if budget.dollars is not None and budget.hourly_cost:
        rate = budget.hourly_cost / 3600.0
        spent, promised = spent_seconds * rate, promised_seconds * rate
        return f"${spent:.3f} spent + ${promised:.3f} reserved for runs reach budget.dollars={budget.dollars:g}"
    spent, promised = spent_seconds / 3600, promised_seconds / 3600
    return f"{spent:.3f} GPU-hours spent + {promised:.3f} reserved for runs reach budget.gpu_hours={budget.gpu_hours:g}"


def must_stop_running(limits: SweepLimits, tally: Tally) -> StopReason | None:
    """Whether running runs have to checkpoint and end now: the cap is overspent by more than `OVERSPEND_SHARE`."""
    cap = cap_seconds(limits)
    if cap is None or tally.spent_seconds < cap * (1.0 + OVERSPEND_SHARE):
        return None
    return StopReason(describe_cap(limits, tally.spent_seconds, 0.0), is_cap=True)


@dataclass(frozen=True, slots=True)
class FailureCount:
    """Failures so far.

    Attributes:
        limit: `settings.max_consecutive_failures`; 0 = unlimited, and broken code does not end the sweep either.
        lost_limit: `settings.max_infrastructure_failures`; 0 = unlimited.
        consecutive: failed runs since the last success.
        lost: runs that lost their workers, node or trial driver since the last success.
        succeeded: whether any run ever ended well.
        first_signatures: signatures of the code failures before the first success.
    """

    limit: int
    lost_limit: int = 0
    consecutive: int = 0
    lost: int = 0
    succeeded: bool = False
    first_signatures: tuple[str, ...] = ()

    def after_success(self) -> FailureCount:
        return replace(self, consecutive=0, lost=0, succeeded=True, first_signatures=())

    def after_failure(self, kind: FailureKind, signature: str) -> FailureCount:
        """Infrastructure has its own counter: the point and the code are not to blame."""
        if kind == FailureKind.INFRASTRUCTURE:
            return replace(self, lost=self.lost + 1)
        signatures = self.first_signatures
        if kind == FailureKind.CODE and not self.succeeded:
            signatures = (*signatures, signature)
        return replace(self, consecutive=self.consecutive + 1, first_signatures=signatures)

    def verdict(self) -> str | None:
        """Why the sweep must stop, or None."""
        if self.limit and self._shows_broken_code():
            return (
                f"the first {self.consecutive} runs all failed in the same place: {self.first_signatures[0]}; "
                "fix the training code, then run the same command again (settings.max_consecutive_failures=0 goes on "
                "anyway)"
            )
        if self.limit and self.consecutive > self.limit:
            advice = "see their train.log, or set settings.max_consecutive_failures=0 to go on whatever fails"
            return f"{self.consecutive} runs failed in a row (settings.max_consecutive_failures={self.limit}); {advice}"
        if self.lost_limit and self.lost > self.lost_limit:
            return (
                f"{self.lost} times in a row a run lost its workers, node or trial driver "
                f"(settings.max_infrastructure_failures={self.lost_limit}); "
                "see the runs' messages in `status` and Ray's own logs; the same command continues the sweep"
            )
        return None

    def _shows_broken_code(self) -> bool:
        """Whether all runs so far failed in one and the same place."""
        places = self.first_signatures
        return SAME_SIGNATURE_RUNS <= len(places) == self.consecutive and len(set(places)) == 1


def cost_clock(cost: str, num_gpus: float) -> str:
    """Field of `Span` that the optimiser's cost is read from: `auto` means GPU seconds when there are, else CPU."""
    if cost == "auto":
        cost = "gpu" if num_gpus > 0 else "cpu"
    return f"{cost}_seconds"


def retry_seconds(first_seconds: float, losses: int) -> float:
    """How long a run that was lost `losses` times in a row waits before it starts again."""
    return min(first_seconds * 2.0 ** (losses - 1), MAX_RETRY_SECONDS)
