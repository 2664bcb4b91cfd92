"""When failures end the sweep: two counters, in completion order, and one verdict at a time.

Failed runs (hyperparameters, code) count against `settings.max_consecutive_failures`; lost runs (infrastructure)
against the more generous `settings.max_infrastructure_failures`, and each waits longer before it starts again. A run
that ends well sets both to zero. As many in a row as a limit says are borne; one more ends the sweep.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from trainables.result import FailureKind

# The first runs all failing in the same line of code say that the code is broken, whatever the point.
SAME_SIGNATURE_RUNS = 2
# A lost run waits twice as long each time, but never longer than this: by then a node is replaced or it will not be.
MAX_RETRY_SECONDS = 60.0


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
            return (
                f"{self.consecutive} runs failed in a row (settings.max_consecutive_failures={self.limit}); "
                "see their train.log, or set settings.max_consecutive_failures=0 to go on whatever fails"
            )
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


def retry_seconds(first_seconds: float, losses: int) -> float:
    """How long a run that was lost `losses` times in a row waits before it starts again."""
    return min(first_seconds * 2.0 ** (losses - 1), MAX_RETRY_SECONDS)
