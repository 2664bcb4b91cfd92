"""Config files on disk: where they are searched, what they offer, and on which line each key stands."""

from __future__ import annotations

import io
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml
from omegaconf._utils import get_yaml_loader
from yaml._yaml import CParser

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


def is_file_word(word: str) -> bool:
    """Whether a word of a command line names a YAML file, and sets no key."""
    return Path(word).suffix in (".yaml", ".yml") and ("=" not in word or Path(word).is_file())


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


class _Loader(CParser, get_yaml_loader()):  # type: ignore[misc]  # omegaconf makes its class in a function
    """Reads what OmegaConf's own loader reads, with the same errors, ten times faster."""

    def __init__(self, stream: Any) -> None:
        CParser.__init__(self, stream)
        yaml.constructor.SafeConstructor.__init__(self)
        yaml.resolver.Resolver.__init__(self)


class _Named(io.StringIO):
    """A text whose file is named in what YAML says of it."""

    def __init__(self, file: Path, text: str) -> None:
        super().__init__(text)
        self.name = str(file)


def read_text(file: Path) -> str:
    """Raises `ConfigError` when the file is not text."""
    try:
        return file.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{display(file)}: not UTF-8 text ({error}); save it as UTF-8") from error


# One composition reads a file up to four times, each time by its text: what was edited is read again.
@lru_cache(maxsize=256)  # our own files are some 60, and a person's fit beside them
def parsed(file: Path, text: str) -> Any:
    """The content of a YAML file, to be left as it is. Raises `yaml.YAMLError` for bad syntax."""
    return yaml.load(_Named(file, text), Loader=_Loader)


def read_yaml(file: Path) -> Tree:
    """A YAML file as a nested dict, interpolations in place; values are read as Hydra reads them.

    Raises:
        yaml.YAMLError: bad syntax.
        ConfigError: its top level is not a mapping, or it is not text.
    """
    body = parsed(file, read_text(file))
    if not isinstance(body, dict | None):
        raise ConfigError(f"{display(file)}:1: need keys at the top level, got {body!r}")
    return {str(key): _copied(value) for key, value in (body or {}).items()}


def _copied(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _copied(item) for key, item in value.items()}
    return [_copied(item) for item in value] if isinstance(value, list) else value


def key_lines(file: Path) -> tuple[tuple[KeyPath, int], ...]:
    """Every key of a YAML file with its line, numbered from 1; list items are keyed by index."""
    return _key_lines(file, read_text(file))


@lru_cache(maxsize=256)  # as of `parsed`
def _key_lines(file: Path, text: str) -> tuple[tuple[KeyPath, int], ...]:
    root = yaml.compose(_Named(file, text), Loader=yaml.CSafeLoader)
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
    return tuple(found)
