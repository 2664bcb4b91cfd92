"""The words of the command line: which choose config groups, which set values, in Hydra's override grammar."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException

from metta_sweep.config import names
from metta_sweep.config import tree as trees
from metta_sweep.config.tree import ABSENT, Path, Tree
from metta_sweep.errors import ConfigError
from trainables.fields import nearest

NAMES = ("run", "sweep_name")
COMMAND_LINE = "command line"


@dataclass(frozen=True, slots=True)
class GroupChoice:
    """`group=option` or, with `option` None, `~group`."""

    group: str
    option: str | None


@dataclass(frozen=True, slots=True)
class Assignment:
    """`key=value`, `+key=value`, `++key=value` or `~key`.

    Attributes:
        value: what is assigned; `ABSENT` deletes.
        is_addition: whether it was `+key=value`, which must not find a value already there.
    """

    path: Path
    value: Any
    text: str
    is_addition: bool = False


@dataclass(frozen=True, slots=True)
class Words:
    """A parsed command line."""

    choices: tuple[GroupChoice, ...]
    assignments: tuple[Assignment, ...]


def parse(overrides: Sequence[str], groups: Collection[str], aliases: Mapping[str, str]) -> Words:
    """Read override strings as typed.

    Args:
        groups: names of all config groups, such as `trainer/patch`.
        aliases: keys that mean other keys, such as `run` for `sweep_name`.

    Raises:
        ConfigError: with every word that cannot be read.
    """
    choices: list[GroupChoice] = []
    assignments: list[Assignment] = []
    problems: list[str] = []
    parser = OverridesParser.create()
    for text in overrides:
        try:
            word = _word(parser.parse_override(text), groups, aliases)
            assignments += _leaves(word) if isinstance(word, Assignment) else ()
        except HydraException as error:
            why = f"cannot be read as key=value ({str(error).splitlines()[0].strip()})"
            problems.append(f"{COMMAND_LINE}: {text}: {why}; quote values with special characters: 'key=\"...\"'")
        except ValueError as error:
            problems.append(f"{COMMAND_LINE}: {text}: {error}")
        else:
            choices += [word] if isinstance(word, GroupChoice) else []
    if problems:
        raise ConfigError(*problems)
    return Words(tuple(choices), tuple(assignments))


def _word(override: Override, groups: Collection[str], aliases: Mapping[str, str]) -> GroupChoice | Assignment:
    key = aliases.get(override.key_or_group, override.key_or_group)
    text = str(override.input_line)
    if override.is_sweep_override():
        fix = "put the parameter under sweep.parameters instead"
        raise ValueError(f"several values at once are Hydra's multirun; {fix}")
    value = override.value()
    if key in NAMES and isinstance(value, bool | int | float):  # `run=inf` and `run=10` are names like any other
        value = text.partition("=")[2].strip()
    if key == "sweep_params":  # the second page: ++sweep_params=sweep/demo_sweep
        return GroupChoice("sweep", str(value).removeprefix("sweep/").removesuffix(".yaml"))
    if key in groups and (isinstance(value, str) or override.is_delete()):
        return GroupChoice(key, None if override.is_delete() else str(value).removesuffix(".yaml"))
    if "/" in key or override.package is not None:
        raise ValueError(f"no config group {key}{nearest(key, groups)}")
    return Assignment(trees.split(key), ABSENT if override.is_delete() else value, text, override.is_add())


def _leaves(word: Assignment) -> list[Assignment]:
    """The word with its path, and the keys of a mapping that it gives, in canonical spelling."""
    if not isinstance(word.value, dict) or not word.value:
        place = _place(word.path)
        return [Assignment(place, names.canonical_value(place, word.value), word.text, word.is_addition)]
    found = [(_place(path), value) for path, value in trees.leaves(word.value, word.path)]
    return [Assignment(place, names.canonical_value(place, value), word.text) for place, value in found]


def _place(path: Path) -> Path:
    place = names.canonical(path)
    # On the command line these are values for every run, like those without the prefix.
    return place[1:] if place[0] == "sweep_job_overrides" and len(place) > 1 else place


def assign(tree: Mapping[str, Any], assignments: Sequence[Assignment]) -> Tree:
    """The tree with the command line's values. Raises `ConfigError`: `~key` of no key, `+key` where a value is."""
    out = dict(tree)
    problems: list[str] = []
    for assignment in assignments:
        problem = _misfit(out, assignment)
        problems += [f"{COMMAND_LINE}: {assignment.text}: {problem}"] if problem else []
        out = lay(out, [assignment])
    if problems:
        raise ConfigError(*problems)
    return out


def _misfit(tree: Mapping[str, Any], assignment: Assignment) -> str | None:
    if wrong := trees.no_entry(tree, assignment.path):
        return wrong
    key = ".".join(assignment.path)
    old = trees.get(tree, assignment.path, ABSENT)
    if assignment.value is ABSENT and old is ABSENT:
        return f"{key}: nothing to delete{nearest(key, {'.'.join(path) for path, _ in trees.leaves(tree)})}"
    if assignment.is_addition and old not in (ABSENT, None, {}) and not isinstance(assignment.value, dict | list):
        return f"{key} is {old!r} already; use {key}= or ++{key}= to replace it"
    return None


def lay(tree: Mapping[str, Any], assignments: Sequence[Assignment]) -> Tree:
    """The tree with values put, and keys removed, whatever is there; mappings are merged."""
    out = dict(tree)
    for assignment in assignments:
        old = trees.get(out, assignment.path)
        if assignment.value is ABSENT:
            out = trees.remove(out, assignment.path)
        elif isinstance(assignment.value, dict) and isinstance(old, dict):
            out = trees.put(out, assignment.path, trees.merge(old, assignment.value))
        else:
            out = trees.put(out, assignment.path, assignment.value)
    return out
