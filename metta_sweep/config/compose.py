"""Composes the configuration once, with Hydra's compose API; what comes out is a plain nested dict."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path as FilePath

import yaml
from hydra import compose as hydra_compose
from hydra import version
from hydra._internal.hydra import Hydra
from hydra._internal.utils import create_config_search_path
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from metta_sweep.config import files, names, overrides
from metta_sweep.config import tree as trees
from metta_sweep.config.files import Sources
from metta_sweep.config.overrides import Assignment, Choice, Words
from metta_sweep.config.tree import Path, Tree
from metta_sweep.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Composition:
    """One composed configuration.

    Attributes:
        tree: canonical keys, `sweep_job_overrides` and the command line's values merged in, interpolations still in place.
        choices: option chosen for each config group.
        sources: file and line of each key; read when they are asked for.
        assignments: values that the command line set.
    """

    tree: Tree
    choices: Mapping[str, str]
    sources: Callable[[], Sources]
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
        primary: name of the primary config file.
        words: overrides in Hydra's grammar.
        config_dirs: the user's own config directories, searched before `./configs` and the packaged ones.
        environment: values that lie above the files and below the command line.
        aliases: keys of the command line that mean other keys.

    Raises:
        ConfigError: a word, file or group that cannot be read or found.
    """
    directories = files.search_directories(config_dirs)
    parsed = overrides.parse(words, files.groups(directories) | {"sweep"}, aliases or {})
    with readable_errors(directories):
        choices = _choices(primary, parsed, directories)
        _check_options(choices, directories)
        recipe = _Recipe(primary, tuple(map(_text, choices)), tuple(word.choice.group for word in choices if word.is_extra), directories)
        composed, chosen = _hydra(recipe)
        tree = names.canonical_tree(composed)
        tree = trees.remove(trees.remove(tree, ("sim_name",)), ("sweep", "sim_name"))
        tree = trees.merge(tree, tree.pop("sweep_job_overrides", None) or {})
        for body in _extra_bodies(recipe):
            tree = trees.merge(tree, names.canonical_tree(body))
    tree = overrides.assign(overrides.assign(tree, environment), parsed.assignments)
    return Composition(tree, chosen, cache(partial(_sources, recipe)), parsed.assignments)


@dataclass(frozen=True, slots=True)
class _GroupWord:
    """A group override for Hydra.

    Attributes:
        choice: which option of which group.
        is_append: whether the primary file has no such group, so that Hydra wants a `+`.
        is_extra: whether no primary file of ours has it either: a patch, which lies above all files.
        origin: where it stands, for messages.
    """

    choice: Choice
    is_append: bool
    is_extra: bool
    origin: str


@dataclass(frozen=True, slots=True)
class _Recipe:
    """What Hydra composes: a primary file, group overrides, those of them that are extra, and where files are searched."""

    primary: str
    words: tuple[str, ...]
    extra: tuple[str, ...]
    directories: tuple[FilePath, ...]


def _text(word: _GroupWord) -> str:
    if word.choice.option is None:
        return f"~{word.choice.group}"
    return f"{'+' if word.is_append else ''}{word.choice.group}={word.choice.option}"


def _choices(primary: str, parsed: Words, directories: Sequence[FilePath]) -> list[_GroupWord]:
    """The command line's group choices, and the packaged defaults for groups that the user's own primary file leaves out."""
    present = _default_groups(primary, directories)
    wanted = {choice.group: (choice, origin) for choice, origin in _suite(primary, present, parsed, directories)}
    ours = _default_groups(primary, [files.packaged_configs()])
    missing = {group: (Choice(group, option), primary) for group, option in ours.items() if group not in present}
    implied = {**missing, **wanted}
    chosen = {choice.group for choice in parsed.choices}
    words = [(choice, origin) for group, (choice, origin) in implied.items() if group not in chosen]
    words += [(choice, f"{overrides.COMMAND_LINE}: {choice.group}={choice.option}") for choice in parsed.choices]
    return [_GroupWord(choice, choice.group not in present, choice.group not in {*present, *ours}, origin) for choice, origin in words]


def _suite(primary: str, present: Mapping[str, str], parsed: Words, directories: Sequence[FilePath]) -> list[tuple[Choice, str]]:
    """The suite that `sim_name:` in the sweep file, or else in the primary file, chooses."""
    sweep = next((choice.option for choice in reversed(parsed.choices) if choice.group == "sweep"), present.get("sweep"))
    for config in (f"sweep/{sweep}", primary):
        file = files.find(directories, config)
        name = files.peek(file).get("sim_name") if file else None
        if file and name:
            line = dict(files.key_lines(file))[("sim_name",)]
            return [(Choice("sim", str(name)), f"{files.display(file)}:{line}: sim_name: {name}")]
    return []


def _default_groups(primary: str, directories: Sequence[FilePath]) -> dict[str, str]:
    """Group -> option in the defaults list of a primary file."""
    file = files.find(directories, primary)
    if file is None:
        return {}
    entries = files.peek(file).get("defaults") or []
    return {
        str(group).removeprefix("override ").removeprefix("optional ").lstrip("/"): str(option)
        for entry in entries
        if isinstance(entry, dict)
        for group, option in entry.items()
    }


def _check_options(words: Sequence[_GroupWord], directories: Sequence[FilePath]) -> None:
    problems = []
    for word in words:
        option = word.choice.option
        known = files.options(directories, word.choice.group)
        if option is not None and option not in (*known, "null"):
            problems.append(f"{word.origin}: no such option{trees.hint(option, known)}")
    if problems:
        raise ConfigError(*problems)


def _hydra(recipe: _Recipe) -> tuple[Tree, dict[str, str]]:
    """What Hydra composes, and the option of each group."""
    with _hydra_on(recipe.directories):
        config = hydra_compose(recipe.primary, overrides=list(recipe.words), return_hydra_config=True)
        choices = {str(group): str(option) for group, option in config.hydra.runtime.choices.items() if not str(group).startswith("hydra/")}
        container = OmegaConf.to_container(config, resolve=False)
    assert isinstance(container, dict)
    return {str(key): value for key, value in container.items() if key != "hydra"}, choices


def _files(recipe: _Recipe) -> list[tuple[FilePath, Path, bool]]:
    """The files that Hydra takes, in order: with the key under which each is placed, and whether it is an extra one."""
    extra = tuple(f"{group}/" for group in recipe.extra)
    with _hydra_on(recipe.directories) as hydra:
        entries = hydra.config_loader().compute_defaults_list(recipe.primary, list(recipe.words), RunMode.RUN).defaults
    found = ((files.find(recipe.directories, entry.config_path), entry) for entry in entries)
    return [
        (file, tuple(entry.package.split(".")) if entry.package else (), entry.config_path.startswith(extra))
        for file, entry in found
        if file is not None
    ]


@contextmanager
def _hydra_on(directories: Sequence[FilePath]) -> Iterator[GlobalHydra]:
    """Hydra with our search path; its global state is gone afterwards."""
    GlobalHydra.instance().clear()
    version.setbase("1.3")
    first, *rest = directories
    search_path = create_config_search_path(str(first))
    for directory in rest:
        search_path.append("user", str(directory), anchor="user" if directory is not rest[0] else "main")
    try:
        Hydra.create_main_hydra2(task_name="metta_sweep", config_search_path=search_path)
        yield GlobalHydra.instance()
    finally:
        GlobalHydra.instance().clear()


def _sources(recipe: _Recipe) -> Sources:
    return files.read_sources((file, package) for file, package, _ in _files(recipe))


def _extra_bodies(recipe: _Recipe) -> Iterator[Tree]:
    """Contents of what the command line adds (a patch): Hydra lays it below the file's own `sweep_job_overrides`, it belongs above them."""
    if not recipe.extra:
        return
    for file, package, is_extra in _files(recipe):
        if is_extra:
            body = {key: value for key, value in files.read_yaml(file).items() if key != "defaults"}
            yield trees.put({}, package, body) if package else body


@contextmanager
def readable_errors(directories: Sequence[FilePath]) -> Iterator[None]:
    """Turn what YAML, OmegaConf and Hydra raise into one line with file and line."""
    try:
        yield
    except (yaml.YAMLError, OmegaConfBaseException, HydraException, OSError, UnicodeDecodeError) as error:
        raise ConfigError(_one_line(error, directories)) from error


def _one_line(error: BaseException, directories: Sequence[FilePath]) -> str:
    chain: list[BaseException] = []
    cause: BaseException | None = error
    while cause is not None:
        chain.append(cause)
        cause = cause.__cause__ or cause.__context__
    marked = next((item for item in chain if isinstance(item, yaml.MarkedYAMLError) and item.problem_mark), None)
    if marked is not None and marked.problem_mark is not None:
        mark = marked.problem_mark
        return f"{files.display(FilePath(mark.name))}:{mark.line + 1}: YAML: {marked.problem}: {_line_text(FilePath(mark.name), mark.line)}"
    return _missing_file(str(error), directories) or " ".join(str(error).split())


def _missing_file(message: str, directories: Sequence[FilePath]) -> str | None:
    """The line of the defaults list that names a file which does not exist."""
    found = re.match(r"In '(?P<config>[^']+)': Could not (?:load|find) '(?P<missing>[^']+)'", message)
    file = files.find(directories, found["config"]) if found else None
    if found is None or file is None:
        return None
    group, _, option = found["missing"].rpartition("/")
    lines = file.read_text(encoding="utf-8").splitlines()
    line = next((number for number, text in enumerate(lines, 1) if option in text), 1)
    return f"{files.display(file)}:{line}: defaults: no config {found['missing']}{trees.hint(option, files.options(directories, group))}"


def _line_text(file: FilePath, line: int) -> str:
    lines = file.read_text(encoding="utf-8", errors="replace").splitlines() if file.is_file() else []
    return repr(lines[line]) if line < len(lines) else "end of file"
