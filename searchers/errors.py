"""Errors of the optimiser.

SearchError (Exception)
├── SpaceError (ValueError)              a parameter, constraint or point does not fit the space
├── ObservationError (ValueError)        a result that cannot be true
└── NoAffordableCandidate (RuntimeError) every candidate exceeds `max_suggestion_cost`
"""


class SearchError(Exception):
    """Root of all errors of this package."""


class SpaceError(SearchError, ValueError):
    """A parameter, a constraint or a point does not fit the search space."""


class ObservationError(SearchError, ValueError):
    """A result that cannot be true (a cost of zero, a score that is not finite)."""


class NoAffordableCandidate(SearchError, RuntimeError):
    """Every candidate is predicted to cost more than `max_suggestion_cost`."""
