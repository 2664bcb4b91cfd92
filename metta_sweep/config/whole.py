"""Fields that hold whole numbers: their parameters are searched, and reach a run, as such, whatever is written."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from metta_sweep.config import tree as trees
from metta_sweep.config.tree import Tree
from searchers.distributions import DISTRIBUTIONS
from trainables.errors import Problem
from trainables.kinds import kind_of
from trainables.programs import PREFIX, declared_types
from trainables.spec import RunSpec

WHOLE_FORMS = {"uniform": "int_uniform", "log_normal": "int_log_normal"}
ROUNDED = "takes whole numbers: what {} gives is rounded"


def whole_names(run: Mapping[str, Any], names: Collection[str]) -> frozenset[str]:
    """Those of the parameters whose field in this run, or whose declared type in a program, is a whole number."""
    if kind_of(run).plays_suite:
        return frozenset(names) & _whole_fields()
    types = declared_types(trees.get(run, ("trainable", "types")) or {})
    own = {name for name in names if types.get(name.removeprefix(PREFIX)) is int}
    return frozenset(own | {name for name in names if name.startswith("trainable.") and name in _whole_fields()})


@cache
def _whole_fields() -> frozenset[str]:
    return frozenset(name for name, kind in RunSpec.known_keys().items() if kind is int)


def rounded(params: Mapping[str, Any], run: Mapping[str, Any]) -> dict[str, Any]:
    """The values with a whole number wherever the run needs one."""
    fractions = [name for name, value in params.items() if isinstance(value, float) and math.isfinite(value)]
    whole = whole_names(run, fractions)
    return {name: round(value) if name in whole else value for name, value in params.items()}


@dataclass(frozen=True, slots=True)
class WholeParameters:
    """A `parameters` block with whole-number forms of its distributions.

    Attributes:
        notes: what to say about each parameter that is rounded, by name.
        problems: of ranges without room.
    """

    parameters: Tree
    notes: Mapping[str, str]
    problems: tuple[Problem, ...]


def whole_parameters(parameters: Mapping[str, Any], run: Mapping[str, Any]) -> WholeParameters:
    """What is searched of a run's fields that hold whole numbers; `parameters` are in canonical spelling."""
    out: Tree = dict(parameters)
    notes: dict[str, str] = {}
    problems: list[Problem] = []
    ranges = {".".join(path[:-1]): path[:-1] for path, _ in trees.leaves(parameters) if path[-1] in ("min", "max")}
    for name in sorted(whole_names(run, ranges)):
        leaf = trees.get(parameters, ranges[name])
        kind = leaf.get("distribution", "uniform")
        known = DISTRIBUTIONS.get(kind)
        if "choices" in leaf or "value" in leaf or known is None or known.integer:
            continue
        low, high = _number(leaf.get("min")), _number(leaf.get("max"))
        if low is None or high is None or not low < high or (kind == "log_normal" and low <= 0):
            continue  # wrong for any field
        if math.ceil(low) >= math.floor(high):
            text = f"takes whole numbers, and there are not two from {low:g} to {high:g}"
            problems.append(Problem(f"{name}.min", f"{text}; widen the range, or use value:"))
            continue
        notes[name] = ROUNDED.format(kind)
        if kind in WHOLE_FORMS:
            out = trees.put(out, ranges[name], _whole_leaf(leaf, kind, math.ceil(low), math.floor(high)))
    return WholeParameters(out, notes, tuple(problems))


def _whole_leaf(leaf: Mapping[str, Any], kind: str, low: int, high: int) -> Tree:
    """The same range, from its first to its last whole number; a `mean` that is wrong stays."""
    mean = _number(leaf.get("mean"))
    is_inside = mean is not None and float(leaf["min"]) <= mean <= float(leaf["max"])
    centre = {"mean": min(max(round(mean), low), high)} if mean is not None and is_inside else {}
    return {**leaf, "distribution": WHOLE_FORMS[kind], "min": low, "max": high, **centre}


def _number(value: Any) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if math.isfinite(number) and not isinstance(value, bool) else None
