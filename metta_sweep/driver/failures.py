"""When failures end the sweep: counted in completion order, one verdict at a time."""

from __future__ import annotations

from dataclasses import dataclass, replace

# The first runs all failing in the same line of code say that the code is broken, whatever the point.
SAME_SIGNATURE_RUNS = 2


@dataclass(frozen=True, slots=True)
class FailureCount:
    """Failures so far.

    Attributes:
        limit: `settings.max_consecutive_failures`; 0 = unlimited.
        consecutive: failed runs since the last success.
        succeeded: whether any run ever ended well.
        first_signatures: signatures of the code failures before the first success.
    """

    limit: int
    consecutive: int = 0
    succeeded: bool = False
    first_signatures: tuple[str, ...] = ()

    def after_success(self) -> FailureCount:
        return replace(self, consecutive=0, succeeded=True, first_signatures=())

    def after_failure(self, kind: str, signature: str) -> FailureCount:
        """Infrastructure failures do not count: the point and the code are not to blame."""
        if kind == "infrastructure":
            return self
        signatures = self.first_signatures
        if kind == "code" and not self.succeeded:
            signatures = (*signatures, signature)
        return replace(self, consecutive=self.consecutive + 1, first_signatures=signatures)

    def verdict(self) -> str | None:
        """Why the sweep must stop, or None."""
        same = len(self.first_signatures) >= SAME_SIGNATURE_RUNS and len(set(self.first_signatures)) == 1
        if same and self.consecutive == len(self.first_signatures):
            place = self.first_signatures[0]
            return f"the first {self.consecutive} runs all failed in the same place: {place}; fix the training code, then run the same command again"
        if self.limit and self.consecutive >= self.limit:
            return (
                f"{self.consecutive} runs failed in a row (settings.max_consecutive_failures={self.limit}); "
                "see their train.log, or set settings.max_consecutive_failures=0 to go on whatever happens"
            )
        return None
