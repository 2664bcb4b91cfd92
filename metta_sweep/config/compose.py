"""Composes the configuration once, with Hydra's compose API; what comes out is a plain nested dict."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
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
        sources: file and line of each key.
        assignments: values that the command line set.
    """

    tree: Tree
    choices: Mapping[str, str]
    sources: Sources
    assignments: tuple[Assignment, ...]

    def at(self, key: str, problem: str) -> str:
        """One line about a key: where it stands, the key, what is wrong."""
        path = tuple(key.split("."))
        if any(path[: len(word.path)] == word.path for word in self.assignments):
            return f"{overrides.COMMAND_LINE}: {key}: {problem}"
        place = self._locate(path)
        return f"{place}: {key}: {problem}" if place else f"{key}: {problem}"

    def _locate(self, path: Path) -> str | None:
        """A key of a phase that the phase does not set itself stands with the sweep's own settings."""
        if path[:3] == ("sweep", "schedule", "phases") and path[4:5] == ("sweep",):
            own = ("sweep", *path[5:])
            if self.sources.depth(own) > self.sources.depth(path) - 4:
                return self.sources.locate(own)
        return self.sources.locate(path)


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
    with readable_errors():
        choices = _choices(primary, parsed, directories)
        _check_options(choices, directories)
        composed, listed, chosen = _hydra(primary, [_text(choice) for choice in choices], directories)
        sources = files.read_sources((file, package) for file, package, _ in listed)
        tree = names.canonical_tree(composed)
        tree = trees.remove(trees.remove(tree, ("sim_name",)), ("sweep", "sim_name"))
        tree = trees.merge(tree, tree.pop("sweep_job_overrides", None) or {})
        for file, package, is_added in listed:
            if is_added:  # what the command line adds (a patch) lies above the file's own overrides
                tree = trees.merge(tree, names.canonical_tree(_body(file, package)))
    tree = overrides.assign(overrides.assign(tree, environment), parsed.assignments)
    return Composition(tree, chosen, sources, parsed.assignments)


@dataclass(frozen=True, slots=True)
class _GroupWord:
    """A group override as Hydra wants it."""

    choice: Choice
    prefix: str


def _text(word: _GroupWord) -> str:
    if word.choice.option is None:
        return f"~{word.choice.group}"
    return f"{word.prefix}{word.choice.group}={word.choice.option}"


def _choices(primary: str, parsed: Words, directories: Sequence[FilePath]) -> list[_GroupWord]:
    """The command line's group choices, and the packaged defaults for groups that the user's own primary file leaves out."""
    present = _default_groups(primary, directories)
    wanted = {choice.group: choice for choice in _suite(primary, present, parsed, directories)}
    ours = _default_groups(primary, [files.packaged_configs()])
    missing = {group: Choice(group, option) for group, option in ours.items() if group not in present}
    implied = {**missing, **wanted}
    chosen = {choice.group for choice in parsed.choices}
    words = [choice for group, choice in implied.items() if group not in chosen] + list(parsed.choices)
    return [_GroupWord(choice, "" if choice.group in present else "+") for choice in words]


def _suite(primary: str, present: Mapping[str, str], parsed: Words, directories: Sequence[FilePath]) -> list[Choice]:
    """The suite that `sim_name:` in the sweep file, or else in the primary file, chooses."""
    sweep = next((choice.option for choice in reversed(parsed.choices) if choice.group == "sweep"), present.get("sweep"))
    bodies = [files.read_yaml(file) for config in (f"sweep/{sweep}", primary) if (file := files.find(directories, config))]
    return next(([Choice("sim", str(body["sim_name"]))] for body in bodies if body.get("sim_name")), [])


def _default_groups(primary: str, directories: Sequence[FilePath]) -> dict[str, str]:
    """Group -> option in the defaults list of a primary file."""
    file = files.find(directories, primary)
    if file is None:
        return {}
    entries = files.read_yaml(file).get("defaults", [])
    return {
        str(group).removeprefix("override ").removeprefix("optional ").lstrip("/"): str(option)
        for entry in entries
        if isinstance(entry, dict)
        for group, option in entry.items()
    }


def _check_options(words: Sequence[_GroupWord], directories: Sequence[FilePath]) -> None:
    problems = []
    for choice in (word.choice for word in words):
        known = files.options(directories, choice.group)
        if choice.option is not None and choice.option not in (*known, "null"):
            problems.append(f"{overrides.COMMAND_LINE}: {choice.group}={choice.option}: no such option{trees.hint(choice.option, known)}")
    if problems:
        raise ConfigError(*problems)


def _hydra(primary: str, words: list[str], directories: Sequence[FilePath]) -> tuple[Tree, list[tuple[FilePath, Path, bool]], dict[str, str]]:
    """What Hydra composes, the files it took (with their package and whether the command line added them), the option of each group."""
    added = {word[1:].split("=")[0] for word in words if word.startswith("+")}
    with _hydra_on(directories) as hydra:
        config = hydra_compose(primary, overrides=words, return_hydra_config=True)
        listed = hydra.config_loader().compute_defaults_list(primary, words, RunMode.RUN).defaults
        choices = {str(group): str(option) for group, option in config.hydra.runtime.choices.items() if not str(group).startswith("hydra/")}
        container = OmegaConf.to_container(config, resolve=False)
    assert isinstance(container, dict)
    tree: Tree = {str(key): value for key, value in container.items() if key != "hydra"}
    taken: list[tuple[FilePath, Path, bool]] = []
    for entry in listed:
        file = files.find(directories, entry.config_path)
        if file is not None:
            package = tuple(entry.package.split(".")) if entry.package else ()
            taken.append((file, package, any(entry.config_path.startswith(f"{group}/") for group in added)))
    return tree, taken, choices


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


def _body(file: FilePath, package: Path) -> Tree:
    body = {key: value for key, value in files.read_yaml(file).items() if key != "defaults"}
    return trees.put({}, package, body) if package else body


@contextmanager
def readable_errors() -> Iterator[None]:
    """Turn what YAML, OmegaConf and Hydra raise into one line with file and line."""
    try:
        yield
    except (yaml.YAMLError, OmegaConfBaseException, HydraException, OSError, UnicodeDecodeError) as error:
        raise ConfigError(_one_line(error)) from error


def _one_line(error: BaseException) -> str:
    chain: list[BaseException] = []
    cause: BaseException | None = error
    while cause is not None:
        chain.append(cause)
        cause = cause.__cause__ or cause.__context__
    marked = next((item for item in chain if isinstance(item, yaml.MarkedYAMLError) and item.problem_mark), None)
    if marked is not None and marked.problem_mark is not None:
        mark = marked.problem_mark
        return f"{files.display(FilePath(mark.name))}:{mark.line + 1}: YAML: {marked.problem}: {_line_text(FilePath(mark.name), mark.line)}"
    return " ".join(str(error).split())


def _line_text(file: FilePath, line: int) -> str:
    lines = file.read_text(encoding="utf-8", errors="replace").splitlines() if file.is_file() else []
    return repr(lines[line]) if line < len(lines) else "end of file"
