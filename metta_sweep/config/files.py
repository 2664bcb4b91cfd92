"""Config files on disk: where they are searched, what they offer, and on which line each key stands."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import yaml
from omegaconf._utils import get_yaml_loader

from metta_sweep.config import names
from metta_sweep.config.tree import Path as KeyPath
from metta_sweep.config.tree import Tree
from metta_sweep.errors import ConfigError


def packaged_configs() -> Path:
    """The config files that come with the package: `metta_sweep/_configs` when installed, `configs/` in a checkout."""
    package = Path(__file__).resolve().parent.parent
    installed = package / "_configs"
    return installed if installed.is_dir() else package.parent / "configs"


def search_directories(config_dirs: Sequence[Path]) -> tuple[Path, ...]:
    """The user's, `./configs`, the packaged ones: by precedence. Raises `ConfigError` when one of the user's is not."""
    if missing := [directory for directory in config_dirs if not directory.is_dir()]:
        what = "no such directory; give one that holds sweep/, trainer/, ..."
        raise ConfigError(*(f"--config-dir {directory}: {what}" for directory in missing))
    candidates = (*config_dirs, Path("configs"), packaged_configs())
    return tuple(dict.fromkeys(path.resolve() for path in candidates if path.is_dir()))


def options(directories: Iterable[Path], group: str) -> tuple[str, ...]:
    """Names that `group=` accepts, such as `arena/basic` for files in subdirectories."""
    places = [directory / group for directory in directories]
    found = {file.relative_to(place).with_suffix("").as_posix() for place in places for file in place.rglob("*.yaml")}
    return tuple(sorted(found))


def groups(directories: Iterable[Path]) -> frozenset[str]:
    """Names of all config groups: directories that hold YAML files, and their parents."""
    found = {file.parent.relative_to(directory) for directory in directories for file in directory.rglob("*.yaml")}
    return frozenset(str(group.as_posix()) for path in found for group in (path, *path.parents) if group != Path("."))


def find(directories: Iterable[Path], config: str) -> Path | None:
    """The file that `config` (`sweep/quick`) names, or None."""
    return next((file for directory in directories if (file := directory / f"{config}.yaml").is_file()), None)


def display(path: Path) -> str:
    """Short name for messages: relative to the current directory when below it."""
    real = path.resolve()
    return os.path.relpath(real) if real.is_relative_to(Path.cwd().resolve()) else str(real)


@dataclass(frozen=True, slots=True)
class Sources:
    """On which line of which file each canonical key stands; the file with the highest precedence counts."""

    lines: Mapping[KeyPath, str] = field(default_factory=dict)

    def locate(self, key: KeyPath) -> str | None:
        """`file:line` of the key, or of the nearest key above it; None when it stands in no file."""
        for length in range(len(key), 0, -1):
            if key[:length] in self.lines:
                return self.lines[key[:length]]
        return None

    def depth(self, key: KeyPath) -> int:
        """How many levels of the key stand in a file."""
        return next((length for length in range(len(key), 0, -1) if key[:length] in self.lines), 0)


def read_sources(files: Iterable[tuple[Path, KeyPath]]) -> Sources:
    """Key positions of YAML files, each given with the path under which its content is placed; later files win."""
    lines: dict[KeyPath, str] = {}
    for file, prefix in files:
        shown = display(file)
        for path, line in key_lines(file):
            key = (*prefix, *path)
            lines.update({place: f"{shown}:{line}" for place in _places(key)})
    return Sources(lines)


def _places(key: KeyPath) -> Iterable[KeyPath]:
    place = names.canonical(key)
    if place:
        yield place
    if place[:1] == ("sweep_job_overrides",) and len(place) > 1:  # it becomes the value of the training key itself
        yield place[1:]


class _Loader(yaml.CSafeLoader):
    """Reads numbers as OmegaConf does, ten times faster."""


_Loader.yaml_implicit_resolvers = get_yaml_loader().yaml_implicit_resolvers


def read_yaml(file: Path) -> Tree:
    """A YAML file as a nested dict, interpolations in place; values are read as Hydra reads them.

    Raises:
        yaml.YAMLError: bad syntax.
        ConfigError: its top level is not a mapping, or it is not text.
    """
    try:
        with file.open(encoding="utf-8") as stream:  # a stream gives error messages the file's name
            body = yaml.load(stream, Loader=_Loader)
    except UnicodeDecodeError as error:
        raise ConfigError(f"{display(file)}: not UTF-8 text ({error}); save it as UTF-8") from error
    if not isinstance(body, dict | None):
        raise ConfigError(f"{display(file)}:1: need keys at the top level, got {body!r}")
    return {str(key): value for key, value in (body or {}).items()}


def key_lines(file: Path) -> list[tuple[KeyPath, int]]:
    """Every key of a YAML file with its line, numbered from 1; list items are keyed by index."""
    with file.open(encoding="utf-8") as stream:
        root = yaml.compose(stream, Loader=yaml.CSafeLoader)
    found: list[tuple[KeyPath, int]] = []

    def walk(node: yaml.Node, path: KeyPath) -> None:
        if isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                here = (*path, str(key.value))
                found.append((here, key.start_mark.line + 1))
                walk(value, here)
        elif isinstance(node, yaml.SequenceNode):
            for index, value in enumerate(node.value):
                here = (*path, str(index))
                found.append((here, value.start_mark.line + 1))
                walk(value, here)

    if root is not None:
        walk(root, ())
    return found
