"""Errors of the optimiser.

SearchError (Exception)
├── SpaceError (ValueError)              parameters, constraints, settings or points that do not fit; every problem at
once ├── ObservationError (ValueError)        a result that cannot be true
├── StateError (ValueError)              a file that is no saved search
└── NoAffordableCandidate (RuntimeError) every candidate exceeds `max_suggestion_cost`
"""

from __future__ import annotations


class SearchError(Exception):
    """Root of all errors of this package."""


class SpaceError(SearchError, ValueError):
    """A parameter, a constraint, a setting or a point does not fit.

    Attributes:
        problems: one line each, the key first, then the value and the fix.
    """

    def __init__(self, *problems: str) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class ObservationError(SearchError, ValueError):
    """A result that cannot be true (a cost of zero, a score that is not finite)."""


class StateError(SearchError, ValueError):
    """A file that is no saved search, or one of a version whose files are not read any more."""


class NoAffordableCandidate(SearchError, RuntimeError):
    """Every candidate is predicted to cost more than `max_suggestion_cost`."""
