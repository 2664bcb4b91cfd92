"""The schedule of a sweep: each phase's overrides merged with the sweep's own settings, and checked beforehand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any

from metta_sweep.config import overrides
from metta_sweep.config import tree as trees
from metta_sweep.config.job import Phase
from metta_sweep.config.overrides import Assignment
from metta_sweep.config.tree import Path, Tree
from metta_sweep.config.whole import whole_parameters
from searchers.config import ProteinConfig
from searchers.errors import SpaceError
from searchers.features import DEFAULT_FIDELITY
from searchers.length_cap import length_parameter
from searchers.space import Space
from trainables.errors import Problem
from trainables.fields import Flag, Table, Text, Whole, build, in_range, nearest

PHASE_KEYS = frozenset({"protein", "parameters", "constraints"})
NUMERIC_KEYS = frozenset({"min", "max", "mean", "scale"})


@dataclass(frozen=True, slots=True)
class PhaseEntry:
    """An entry of `schedule.phases`, as written.

    Attributes:
        name: shown wherever runs are.
        num_runs: runs until the next phase.
        auto: raise the longest training length only while the top ranks are unstable; see `searchers.length_cap`.
        sweep: settings and parameters that differ from the sweep's own.
    """

    name: Text = ""
    num_runs: Annotated[Whole, in_range("a whole number >= 1", lambda runs: runs >= 1)] | None = None
    auto: Flag = False
    sweep: Table | None = None


@dataclass(frozen=True, slots=True)
class Search:
    """What all phases have in common.

    Attributes:
        block: canonical `sweep` block of the configuration.
        fixed: parameters that the command line fixed, by dotted path.
        borrowed: training values that constraints mention but nothing searches, by dotted path.
        assignments: the command line's values below `sweep`, paths relative to it; they lie above every phase.
        run: mapping of a run without suggestion: which of its fields hold whole numbers.
        rounded: what to say about parameters that are rounded, by name; filled while phases are read.
    """

    block: Mapping[str, Any]
    fixed: Mapping[str, Any]
    borrowed: Mapping[str, Any]
    assignments: Sequence[Assignment]
    run: Mapping[str, Any]
    rounded: dict[str, str]


def read_phases(search: Search, problems: list[Problem]) -> tuple[Phase, ...]:
    """All phases, merged and checked; one nameless phase when there is no schedule."""
    schedule = search.block.get("schedule") or {}
    if not search.block.get("parameters") and not schedule:
        text = "nothing to search; list at least one parameter with min and max, or choices"
        problems.append(Problem("sweep.parameters", text))
    entries = schedule.get("phases") if isinstance(schedule, Mapping) else None
    if not schedule or entries == []:
        phase = _phase(search, search.block, PhaseEntry(""), 0, "sweep", problems)
        return (phase,) if phase else ()
    if not isinstance(entries, list) or set(schedule) != {"phases"}:
        given = ", ".join(map(str, schedule)) if isinstance(schedule, Mapping) else repr(schedule)
        problems.append(Problem("sweep.schedule", f"need phases: and nothing else, got {given}"))
        return ()
    return _read_entries(search, entries, problems)


def _read_entries(search: Search, entries: Sequence[Any], problems: list[Problem]) -> tuple[Phase, ...]:
    before = len(problems)
    if search.block.get("parameters"):  # what is wrong without any phase is said once
        _phase(search, search.block, PhaseEntry(""), 0, "sweep", problems)
    if len(problems) > before:
        return ()
    phases: list[Phase] = []
    first = 0
    names: set[str] = set()
    for index, raw in enumerate(entries):
        key = f"sweep.schedule.phases.{index}"
        is_last = index == len(entries) - 1
        entry = _read_entry(raw, key, is_last, problems)
        if entry is None:
            continue
        if entry.name in names:
            problems.append(Problem(f"{key}.name", f"{entry.name!r} is the name of two phases; give each its own"))
        names.add(entry.name)
        block = merge_block(search.block, entry.sweep or {})
        endless = replace(entry, num_runs=None) if is_last else entry
        phase = _phase(search, block, endless, first, key, problems)
        phases += [phase] if phase else []
        first += entry.num_runs or 0
    return tuple(phases)


def _read_entry(raw: Any, key: str, is_last: bool, problems: list[Problem]) -> PhaseEntry | None:
    before = len(problems)
    entry = build(PhaseEntry, raw, key, problems)
    told = {problem.key for problem in problems[before:]}
    unknown = [str(name) for name in entry.sweep or () if name not in PHASE_KEYS]
    problems += [Problem(f"{key}.sweep.{name}", f"unknown key{nearest(name, PHASE_KEYS)}") for name in unknown]
    if not entry.name and not told & {key, f"{key}.name"}:
        problems.append(Problem(f"{key}.name", "missing; give the phase a name"))
    if entry.num_runs is None and not is_last and not told & {key, f"{key}.num_runs"}:
        problems.append(Problem(f"{key}.num_runs", "need a whole number >= 1, got None"))
    return entry if len(problems) == before else None


def merge_block(base: Mapping[str, Any], over: Mapping[str, Any]) -> Tree:
    """A phase's overrides laid on the sweep's block; a new kind of distribution drops the keys that it cannot have."""
    pruned = dict(base)
    for path, _ in trees.leaves(over.get("parameters") or {}):
        pruned = _prune(pruned, ("parameters", *path[:-1]), path[-1], trees.get(over, ("parameters", *path[:-1])))
    return trees.merge(pruned, over)


def _prune(base: Tree, place: Path, key: str, new: Mapping[str, Any]) -> Tree:
    stale: set[str] = set()
    if key == "value":
        stale = {*NUMERIC_KEYS, "distribution", "choices"}
    elif key == "choices" or (key == "distribution" and new[key] == "categorical"):
        stale = {*NUMERIC_KEYS, "distribution"}
    elif key in ("min", "distribution"):
        stale = {"choices"}
    for name in stale - set(new):
        base = trees.remove(base, (*place, name))
    return base


def _phase(
    search: Search, block: Mapping[str, Any], entry: PhaseEntry, first: int, key: str, problems: list[Problem]
) -> Phase | None:
    block = overrides.lay(block, search.assignments)
    inside = f"{key}.sweep" if key != "sweep" else key
    before = len(problems)
    space = _read_space(search, block, inside, problems)
    protein = _read_protein(block, inside, problems)
    if entry.auto and space is not None and protein is not None:
        length = protein.fidelity or DEFAULT_FIDELITY
        if length_parameter(space, length) is None:
            text = f"true raises the longest {length}, which is not searched; add it to parameters, or leave auto out"
            problems.append(Problem(f"{key}.auto", text))
    if len(problems) > before or space is None or protein is None:
        return None
    return Phase(entry.name, first, entry.num_runs, space, protein, entry.auto)


def _read_space(search: Search, block: Mapping[str, Any], inside: str, problems: list[Problem]) -> Space | None:
    parameters = block.get("parameters") or {}
    if not isinstance(parameters, Mapping):
        problems.append(Problem(f"{inside}.parameters", f"need parameters below it, got {parameters!r}"))
        return None
    own = parameters
    borrowed = {name: value for name, value in search.borrowed.items() if trees.get(own, trees.split(name)) is None}
    for name, value in {**borrowed, **search.fixed}.items():
        parameters = trees.put(parameters, trees.split(name), {"value": value})
    whole = whole_parameters(parameters, search.run)
    search.rounded.update(whole.notes)
    if whole.problems:
        problems += [_placed(problem.key, problem.text, inside) for problem in whole.problems]
        return None
    constraints = block.get("constraints") or []
    try:
        return Space.from_config(whole.parameters, constraints, warn=False)
    except SpaceError as error:
        problems += [_placed(key, text, inside) for key, text in error.keyed]
    return None


def _placed(key: str, text: str, inside: str) -> Problem:
    return Problem(f"{inside}.{key}" if key == "constraints" else f"{inside}.parameters.{key}", text)


def doubts(phases: Sequence[Phase]) -> list[Problem]:
    """Conditions and constraints that never or always hold, once each."""
    found: dict[tuple[str, str], Problem] = {}
    for index, phase in enumerate(phases):
        inside = f"sweep.schedule.phases.{index}.sweep" if phase.name else "sweep"
        for doubt in phase.space.doubts:
            found.setdefault(doubt, _placed(*doubt, inside))
    return list(found.values())


def _read_protein(block: Mapping[str, Any], inside: str, problems: list[Problem]) -> ProteinConfig | None:
    settings = block.get("protein") or {}
    if not isinstance(settings, Mapping):
        problems.append(Problem(f"{inside}.protein", f"need settings below it, got {settings!r}"))
        return None
    if block.get("target_score") is not None:
        settings = {"target_score": block["target_score"], **settings}
    try:
        return ProteinConfig.from_mapping(settings)
    except SpaceError as error:
        problems += [Problem(f"{inside}.protein.{key}", text) for key, text in error.keyed]
    return None
