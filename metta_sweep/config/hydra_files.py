"""Composes config files with Hydra, without its own configuration: of logging, sweeps and output nothing is used here.

Hydra's public `compose` reads its own twelve files and its structured configuration, and gives the list of files only
by doing the same again: together three quarters of the time that reading a sweep took.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from hydra import version
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.config_repository import ConfigRepository
from hydra._internal.config_search_path_impl import ConfigSearchPathImpl
from hydra._internal.core_plugins.file_config_source import FileConfigSource
from hydra._internal.defaults_list import create_defaults_list
from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.default_element import ResultDefault
from hydra.core.plugins import Plugins
from hydra.plugins.config_source import ConfigResult, ConfigSource
from omegaconf import OmegaConf

from metta_sweep.config import files
from metta_sweep.config.tree import Tree

HYDRAS_OWN = "hydra"  # section and groups that configure Hydra itself


@dataclass(frozen=True, slots=True)
class ComposedFiles:
    """One primary file with its groups.

    Attributes:
        tree: values, interpolations in place.
        choices: option of each group.
        entries: the files in order, the lowest first.
    """

    tree: Tree
    choices: Mapping[str, str]
    entries: tuple[ResultDefault, ...]


def composed_files(primary: str | None, words: Sequence[str], directories: Sequence[Path]) -> ComposedFiles:
    """What Hydra makes of a primary file, or of none, and group overrides.

    Args:
        directories: where files are searched, the first that has one wins.

    Raises:
        HydraException, OmegaConfBaseException, yaml.YAMLError, OSError: a file that is not there or cannot be read.
    """
    Plugins.instance()  # registers the kinds of places that a search path may name
    version.setbase("1.3")
    search_path = ConfigSearchPathImpl()
    for directory in directories:
        search_path.append("main", f"file://{directory}")
    search_path.append("schema", "structured://")
    loader = ConfigLoaderImpl(search_path)
    loader.repository = _Files(search_path)
    parsed, repository = loader._parse_overrides_and_create_caching_repo(primary, list(words))
    found = create_defaults_list(repository, primary, parsed, prepend_hydra=False, skip_missing=False)
    config = loader._compose_config_from_defaults_list(defaults=found.defaults, repo=repository)
    content = OmegaConf.to_container(config, resolve=False)
    assert isinstance(content, dict)
    return ComposedFiles(
        tree={str(key): value for key, value in content.items() if key != HYDRAS_OWN},
        choices={str(group): str(option) for group, option in found.overrides.known_choices.items()},
        entries=tuple(found.defaults),
    )


class _Files(ConfigRepository):  # type: ignore[misc]  # hydra is not typed
    """Hydra's way to find files; ours to read them."""

    sources: list[ConfigSource]

    def initialize_sources(self, config_search_path: ConfigSearchPath) -> None:
        super().initialize_sources(config_search_path)
        self.sources = [
            _QuickSource(source.provider, source.path) if source.scheme() == FileConfigSource.scheme() else source
            for source in self.sources
        ]

    def load_config(self, config_path: str) -> ConfigResult | None:
        """Without the defaults that choose a part of Hydra itself."""
        result = super().load_config(config_path)
        if result is not None and result.defaults_list:
            named = [(entry, getattr(entry, "group", None) or "") for entry in result.defaults_list]
            result.defaults_list = [entry for entry, group in named if group.lstrip("/").split("/")[0] != HYDRAS_OWN]
        return result


class _QuickSource(FileConfigSource):  # type: ignore[misc]  # hydra is not typed
    """Files of a directory, a text read once."""

    def load_config(self, config_path: str) -> ConfigResult:
        file = Path(self.path, self._normalize_file_name(config_path))
        text = files.read_text(file)
        content = files.parsed(file, text)
        if not isinstance(content, dict):
            return super().load_config(config_path)
        return ConfigResult(
            config=OmegaConf.create(content),
            path=self.full_path(),
            provider=self.provider,
            header=self._get_header_dict(text[:512]),
        )
