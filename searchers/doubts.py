"""Conditions that are likely not what was meant: those that never hold, and those that always do."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence

import numpy as np

from searchers.distributions import Parameter
from searchers.errors import Keyed
from searchers.expression import Expression
from searchers.observation import ParamValue
from searchers.values import column, constant, every_combination

MOST_COMBINATIONS = 2**16  # up to so many points are all looked at; a round number, not tuned
DRAWN = 2**14  # else so many are drawn: a condition that holds for a thousandth of the space is seen to hold


def doubts(
    parameters: Sequence[Parameter],
    fixed: Mapping[str, ParamValue],
    constraints: Sequence[Expression],
    conditions: Mapping[str, Expression],
) -> tuple[Keyed, ...]:
    """Key and text of each. A constraint that never holds is no doubt but an error of the space."""
    found = []
    for name, condition in conditions.items():
        count, holding = tried(condition, parameters, fixed)
        if not holding:
            found.append(
                (
                    f"{name}.when",
                    f"{condition.text!r} holds at none of {count:,} points tried: {name} is never "
                    f"searched{_hint(condition)}",
                )
            )
        elif holding == count and _mentions_free(condition, fixed):
            found.append(
                (
                    f"{name}.when",
                    f"{condition.text!r} holds at all of {count:,} points tried; leave it out if {name} always exists",
                )
            )
    for constraint in constraints:
        count, holding = tried(constraint, parameters, fixed)
        if holding == count and _mentions_free(constraint, fixed):
            found.append(
                ("constraints", f"{constraint.text!r} holds at all of {count:,} points tried: it excludes nothing")
            )
    return tuple(found)


def tried(expression: Expression, parameters: Sequence[Parameter], fixed: Mapping[str, ParamValue]) -> tuple[int, int]:
    """(points, points at which it holds): every combination of what it mentions where they can be counted, else random
    ones.
    """
    mentioned = tuple(parameter for parameter in parameters if parameter.name in expression.names)
    points = every_combination(mentioned, MOST_COMBINATIONS)
    if points is None:
        points = np.random.default_rng(0).uniform(-1.0, 1.0, (DRAWN, len(mentioned)))
    free = {parameter.name: column(parameter, points[:, i]) for i, parameter in enumerate(mentioned)}
    columns = {**free, **{name: constant(fixed[name], len(points)) for name in expression.names if name in fixed}}
    return len(points), int(expression(columns).sum())


def _mentions_free(expression: Expression, fixed: Mapping[str, ParamValue]) -> bool:
    return any(name not in fixed for name in expression.names)


def _hint(expression: Expression) -> str:
    """The word that a text in the expression is likely meant to be."""
    for text in expression.texts:
        near = difflib.get_close_matches(text, expression.words, n=1)
        if text not in expression.words and near:
            return f"; did you mean {near[0]}?"
    return ""
