"""Composes files, environment and command line; what comes out is a plain nested dict."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path as FilePath

import yaml
from hydra.core.default_element import ResultDefault
from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from metta_sweep.config import files, layers, names, overrides
from metta_sweep.config import tree as trees
from metta_sweep.config.files import Sources
from metta_sweep.config.hydra_files import composed_files
from metta_sweep.config.layers import Layer
from metta_sweep.config.moot import moot_notes
from metta_sweep.config.overrides import Assignment, GroupChoice, Words
from metta_sweep.config.tree import ABSENT, Path, Tree
from metta_sweep.errors import ConfigError
from trainables.fields import nearest


@dataclass(frozen=True, slots=True)
class Composition:
    """One composed configuration.

    Attributes:
        tree: canonical keys, with `sweep_job_overrides` and the command line's values, interpolations in place.
        sources, notes, written: read when asked for: file and line of each key; what somebody wrote into a file and
            another file replaced; places of all values in files that are not ours.
    """

    tree: Tree
    choices: Mapping[str, str]
    sources: Callable[[], Sources]
    notes: Callable[[], tuple[str, ...]]
    written: Callable[[], frozenset[Path]]
    assignments: tuple[Assignment, ...]

    def at(self, key: str, problem: str) -> str:
        """One line about a key: where it stands, the key, what is wrong."""
        path = tuple(key.split("."))
        place = self._locate(path)
        given = any(path[: len(word.path)] == word.path for word in self.assignments)
        above = any(word.path[: len(path)] == path for word in self.assignments)  # a word made the key
        if given or (above and path not in self.sources().lines):
            place = overrides.COMMAND_LINE
        return f"{place}: {key}: {problem}" if place else f"{key}: {problem}"

    def all_notes(self, resolved: Tree) -> tuple[str, ...]:
        """A line for each key that somebody wrote and that another file replaces, or another key makes idle."""
        written = self.written() | {word.path for word in self.assignments if word.value is not ABSENT}
        return (*self.notes(), *moot_notes(resolved, written, self.at))

    def _locate(self, path: Path) -> str | None:
        """A key of a phase that the phase does not set itself stands with the sweep's own settings."""
        if path[:3] == ("sweep", "schedule", "phases") and path[4:5] == ("sweep",):
            own = ("sweep", *path[5:])
            if self.sources().depth(own) > self.sources().depth(path) - 4:
                return self.sources().locate(own)
        return self.sources().locate(path)


def compose(
    primary: str,
    words: Sequence[str],
    config_dirs: Sequence[FilePath],
    environment: Sequence[Assignment] = (),
    aliases: Mapping[str, str] | None = None,
) -> Composition:
    """Compose `primary` (`sweep_job` or `train_job`) with a command line.

    Args:
        config_dirs: the user's own config directories, searched before `./configs` and the packaged ones.
        environment: values that lie above the files and below the command line.
        aliases: keys of the command line that mean other keys.

    Raises:
        ConfigError: a word, file or group that cannot be read or found.
    """
    directories = files.search_directories(config_dirs)
    parsed = overrides.parse(words, files.groups(directories) | {"sweep"}, aliases or {})
    with readable_errors(directories):
        tree, chosen, found = _composed(primary, parsed, directories)
        tree = trees.remove(trees.remove(tree, ("sim_name",)), ("sweep", "sim_name"))
        tree = _with_overrides(tree)
        for layer in found if parsed.choices else ():
            if layer.is_above:
                tree = _with_overrides(trees.merge(tree, layers.body_of(layer)))
    tree = overrides.assign(overrides.assign(tree, environment), parsed.assignments)
    values = cache(lambda: layers.read(found))
    return Composition(
        tree=tree,
        choices=chosen,
        sources=cache(lambda: files.read_sources((layer.file, layer.package) for layer in found)),
        notes=lambda: (*layers.replaced(values(), environment), *layers.suite_note(values(), chosen.get("sim"))),
        written=lambda: layers.written(values()),
        assignments=parsed.assignments,
    )


def _composed(
    primary: str, parsed: Words, directories: tuple[FilePath, ...]
) -> tuple[Tree, Mapping[str, str], tuple[Layer, ...]]:
    """The canonical tree, each group's option, the files; again when a file further down names the suite."""
    suite = _suite(primary, parsed, directories)
    while True:
        choices = _choices(primary, parsed, directories, suite)
        _check_options(choices, directories)
        typed = tuple(f"{choice.group}/{choice.option}" for choice in parsed.choices)
        extra = tuple(f"{word.choice.group}/" for word in choices if word.is_extra)
        words, base = (tuple(_text(word) for word in choices if word.is_base is flag) for flag in (False, True))
        recipe = _Recipe(primary, words, base, typed, extra, directories)
        composed, chosen, found = _composed_files(recipe)
        tree = names.canonical_tree(composed)
        named = trees.get(tree, ("sweep", "sim_name")) or tree.get("sim_name")
        if not named or chosen.get("sim") == str(named) or any(choice.group == "sim" for choice in parsed.choices):
            return tree, chosen, found
        place = ("sim_name",) if trees.get(tree, ("sweep", "sim_name")) is None else ("sweep", "sim_name")
        sources = files.read_sources((layer.file, layer.package) for layer in found)
        suite = [(GroupChoice("sim", str(named)), f"{sources.locate(place)}: sim_name: {named}")]


def _with_overrides(tree: Tree) -> Tree:
    """The tree with its `sweep_job_overrides` merged in."""
    values = tree.get("sweep_job_overrides")
    rest = trees.remove(tree, ("sweep_job_overrides",))
    return trees.merge(rest, values) if isinstance(values, Mapping) else rest


@dataclass(frozen=True, slots=True)
class _GroupWord:
    """A group override for Hydra, and where it stands.

    Attributes:
        is_append: whether the primary file has no such group, so that Hydra wants a `+`.
        is_extra: whether no primary file of ours has it either: a patch, which lies above all files.
        is_base: whether only ours has it.
    """

    choice: GroupChoice
    is_append: bool
    is_extra: bool
    is_base: bool
    origin: str


@dataclass(frozen=True, slots=True)
class _Recipe:
    """What Hydra composes.

    Attributes:
        base: words for groups that the user's own primary file leaves out: they lie below it.
        typed: configs that the command line names, such as `hardware/macbook`.
        extra: prefixes of configs in groups that no primary file of ours has.
    """

    primary: str
    words: tuple[str, ...]
    base: tuple[str, ...]
    typed: tuple[str, ...]
    extra: tuple[str, ...]
    directories: tuple[FilePath, ...]

    @property
    def parts(self) -> tuple[tuple[str | None, tuple[str, ...]], ...]:
        """(primary file, group overrides) of what is composed, the lowest first."""
        return (*(((None, self.base),) if self.base else ()), (self.primary, self.words))


def _text(word: _GroupWord) -> str:
    if word.choice.option is None:
        return f"~{word.choice.group}"
    return f"{'+' if word.is_append else ''}{word.choice.group}={word.choice.option}"


def _choices(
    primary: str, parsed: Words, directories: Sequence[FilePath], suite: Sequence[tuple[GroupChoice, str]]
) -> list[_GroupWord]:
    """The command line's group choices, and our defaults for groups that the user's own primary file leaves out."""
    present = _default_groups(primary, directories)
    wanted = {choice.group: (choice, origin) for choice, origin in suite}
    ours = _default_groups(primary, [files.packaged_configs()])
    missing = {group: (GroupChoice(group, option), primary) for group, option in ours.items() if group not in present}
    implied = {**missing, **wanted}
    chosen = {choice.group for choice in parsed.choices}
    words = [(choice, origin) for group, (choice, origin) in implied.items() if group not in chosen]
    words += [(choice, f"{overrides.COMMAND_LINE}: {choice.group}={choice.option}") for choice in parsed.choices]
    return [
        _GroupWord(
            choice=choice,
            is_append=choice.group not in present,
            is_extra=choice.group not in {*present, *ours},
            is_base=choice.group in ours and choice.group not in present and choice.option is not None,
            origin=origin,
        )
        for choice, origin in words
    ]


def _suite(primary: str, parsed: Words, directories: Sequence[FilePath]) -> list[tuple[GroupChoice, str]]:
    """The suite that `sim_name:` in the sweep file, or else in the primary file, chooses."""
    present = _default_groups(primary, directories).get("sweep")
    sweep = next((choice.option for choice in reversed(parsed.choices) if choice.group == "sweep"), present)
    for config in (f"sweep/{sweep}", primary):
        file = files.find(directories, config)
        name = files.read_yaml(file).get("sim_name") if file else None
        if file and name:
            line = dict(files.key_lines(file))[("sim_name",)]
            return [(GroupChoice("sim", str(name)), f"{files.display(file)}:{line}: sim_name: {name}")]
    return []


def _default_groups(primary: str, directories: Sequence[FilePath]) -> dict[str, str]:
    """Group -> option in the defaults list of a primary file."""
    file = files.find(directories, primary)
    if file is None:
        return {}
    entries = [entry for entry in files.read_yaml(file).get("defaults") or [] if isinstance(entry, dict)]
    pairs = [(str(group), str(option)) for entry in entries for group, option in entry.items()]
    return {group.removeprefix("override ").removeprefix("optional ").lstrip("/"): option for group, option in pairs}


def _check_options(words: Sequence[_GroupWord], directories: Sequence[FilePath]) -> None:
    problems = []
    for word in words:
        option = word.choice.option
        known = files.options(directories, word.choice.group)
        if option is not None and option not in (*known, "null"):
            problems.append(f"{word.origin}: no such option{nearest(option, known)}")
    if problems:
        raise ConfigError(*problems)


def _composed_files(recipe: _Recipe) -> tuple[Tree, dict[str, str], tuple[Layer, ...]]:
    """What Hydra composes, the option of each group, and the files that it takes, in order."""
    parts = [composed_files(primary, words, recipe.directories) for primary, words in recipe.parts]
    tree: Tree = {}
    choices: dict[str, str] = {}
    for part in parts:
        tree = trees.merge(tree, part.tree)
        choices |= part.choices
    entries = [entry for part in parts for entry in part.entries]
    parents = {entry.config_path: entry.parent for entry in entries}
    found = ((files.find(recipe.directories, entry.config_path), entry) for entry in entries)
    return tree, choices, tuple(_layer(recipe, file, entry, parents) for file, entry in found if file is not None)


def _layer(recipe: _Recipe, file: FilePath, entry: ResultDefault, parents: Mapping[str, str | None]) -> Layer:
    package = tuple(entry.package.split(".")) if entry.package else ()
    above: list[str] = []
    parent = entry.parent
    while parent is not None and parent not in above:
        above.append(parent)
        parent = parents.get(parent)
    # A section's own file (model=lstm) holds that section's defaults; what is laid on the whole job (env=, hardware=)
    # is the user's word.
    typed = [config for config in (entry.config_path, *above) if config in recipe.typed]
    is_word = not package and not all(config.startswith("sweep/") for config in typed)
    return Layer(
        file=file,
        config=entry.config_path,
        package=package,
        parents=tuple(above),
        is_typed=entry.config_path in recipe.typed,
        is_above=is_word or entry.config_path.startswith(recipe.extra),
    )


@contextmanager
def readable_errors(directories: Sequence[FilePath]) -> Iterator[None]:
    """Turn what YAML, OmegaConf and Hydra raise into one line with file and line."""
    try:
        yield
    except (yaml.YAMLError, OmegaConfBaseException, HydraException, OSError) as error:
        raise ConfigError(_one_line(error, directories)) from error


def _one_line(error: BaseException, directories: Sequence[FilePath]) -> str:
    chain: list[BaseException] = []
    cause: BaseException | None = error
    while cause is not None:
        chain.append(cause)
        cause = cause.__cause__ or cause.__context__
    marked = next((item for item in chain if isinstance(item, yaml.MarkedYAMLError) and item.problem_mark), None)
    if marked is not None and marked.problem_mark is not None:
        file, line = FilePath(marked.problem_mark.name), marked.problem_mark.line
        return f"{files.display(file)}:{line + 1}: YAML: {marked.problem}: {_line_text(file, line)}"
    return _missing_file(str(error), directories) or " ".join(str(error).split())


def _missing_file(message: str, directories: Sequence[FilePath]) -> str | None:
    """The line of the defaults list that names a file which does not exist."""
    found = re.match(r"In '(?P<config>[^']+)': Could not (?:load|find) '(?P<missing>[^']+)'", message)
    file = files.find(directories, found["config"]) if found else None
    if found is None or file is None:
        return None
    missing = found["missing"]
    group, _, option = missing.rpartition("/")
    lines = file.read_text(encoding="utf-8").splitlines()
    line = next((number for number, text in enumerate(lines, 1) if option in text), 1)
    near = nearest(option, files.options(directories, group))
    return f"{files.display(file)}:{line}: defaults: no config {missing}{near}"


def _line_text(file: FilePath, line: int) -> str:
    lines = file.read_text(encoding="utf-8", errors="replace").splitlines() if file.is_file() else []
    return repr(lines[line]) if line < len(lines) else "end of file"
