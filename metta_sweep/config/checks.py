"""What the trainable itself would say about a run, asked before anything starts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from metta_sweep.config import tree as trees
from searchers.space import Space
from trainables.errors import SpecError
from trainables.spec import RunSpec

Problems = list[tuple[str, str]]


def spec_problems(run: Mapping[str, Any], is_written: bool) -> Problems:
    """(dotted key, what is wrong) of a run's mapping: unknown keys, wrong values, a metric that its suite does not report.

    Args:
        run: resolved plain mapping.
        is_written: whether a person wrote it; sizes that do not divide are refused then, and rounded in a point that a search proposed.
    """
    try:
        RunSpec.from_mapping(run, strict=is_written)
    except SpecError as error:
        return [(key, text) for key, _, text in (problem.partition(": ") for problem in error.problems)]
    return []


def parameter_problems(run: Mapping[str, Any], space: Space, inside: str) -> Problems:
    """Searched parameters that no run has, or whose values it does not take.

    Args:
        run: a mapping without problems.
        space: what is searched.
        inside: key of the block that holds `parameters`.
    """
    problems: Problems = []
    for name, leaf in space.to_config().items():
        place = f"{inside}.parameters.{name}"
        for key in ("min", "max", "choices", "value"):
            values = leaf.get(key, [])
            for value in values if isinstance(values, list) else [values]:
                problems += _probe(run, name, value, (place, key))
    return list(dict.fromkeys(problems))


def _probe(run: Mapping[str, Any], name: str, value: Any, place: tuple[str, str]) -> Problems:
    path = trees.split(name)
    present = trees.get(run, path)
    known = {".".join(other) for other, _ in trees.leaves(run)} | set(RunSpec.known_keys())
    if isinstance(present, Mapping) and present:
        return [(place[0], f"names a section of the training configuration, not a value{trees.hint(name, [k for k in known if k.startswith(name)])}")]
    wrong = [text for where, text in spec_problems(trees.put(run, path, value), is_written=False) if where == name]
    is_known = present is not None or name in known or name.startswith("env.")
    if not is_known or any(text.startswith("unknown key") for text in wrong):
        return [(place[0], f"no such parameter in the training configuration{trees.hint(name, known)}")]
    return [(".".join(place), text) for text in wrong]
