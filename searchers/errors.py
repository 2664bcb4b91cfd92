"""Errors of the optimiser.

SearchError (Exception)
├── SpaceError (ValueError)              parameters, constraints, settings or points that do not fit; every problem at
once ├── ObservationError (ValueError)        a result that cannot be true
├── StateError (ValueError)              a file that is no saved search
└── NoAffordableCandidate (RuntimeError) every candidate exceeds `max_suggestion_cost`
"""

from __future__ import annotations

# Dotted key ("" where only the caller knows it), and what is wrong: the value and the fix.
Keyed = tuple[str, str]


class SearchError(Exception):
    """Root of all errors of this package."""


class SpaceError(SearchError, ValueError):
    """A parameter, a constraint, a setting or a point does not fit.

    Attributes:
        keyed: everything that is wrong.
    """

    def __init__(self, *problems: Keyed | str) -> None:
        super().__init__(*problems)
        self.keyed = tuple(("", one) if isinstance(one, str) else one for one in problems)

    @property
    def problems(self) -> tuple[str, ...]:
        """One line each, the key first."""
        return tuple(f"{key}: {text}" if key else text for key, text in self.keyed)

    def __str__(self) -> str:
        return "\n".join(self.problems)


class ObservationError(SearchError, ValueError):
    """A result that cannot be true (a cost of zero, a score that is not finite)."""


class StateError(SearchError, ValueError):
    """A file that is no saved search, or one of a version whose files are not read any more."""


class NoAffordableCandidate(SearchError, RuntimeError):
    """Every candidate is predicted to cost more than `max_suggestion_cost`."""
