"""What a reader needs to know of a sweep that exists: where its registry is, and what its specification says."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from metta_sweep.config.compose import compose
from metta_sweep.config.environment import from_environment
from metta_sweep.config.job import Budget, Phase, Settings, SweepSpec, WandbSettings
from metta_sweep.config.load import ALIASES
from metta_sweep.config.runs import RUN_GROUPS, OwnKeys, load_plugins, name_problems, read_umask, resolve
from metta_sweep.config.spec_text import SWEEP_KEYS, memory_in
from metta_sweep.errors import ConfigError, InvalidRequest
from metta_sweep.registry.specs import check_spec, parse_spec
from metta_sweep.typed_commands import Address, key_word, shown_path
from searchers.config import ProteinConfig
from searchers.space import Space
from trainables.fields import build

OPTION = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_./-]{0,99}")


@dataclass(frozen=True, slots=True)
class Location:
    """Which sweep ("" when none is named) in which registry."""

    sweep_name: str
    data_dir: Path
    sweep_server_uri: str | None
    budget: Budget
    wandb: WandbSettings
    max_observations_to_load: int
    umask: int


@dataclass(frozen=True, slots=True)
class RegisteredSweep:
    """A specification as `SweepJob.spec_yaml` wrote it.

    Attributes:
        sweep: what is searched; stop rules are no part of it, so `num_samples` and `target_score` are None.
        train: what all runs have in common, resolved, without what belongs to a machine.
        choices: option of each config group that runs are made of.
    """

    sweep: SweepSpec
    seed: int
    train: Mapping[str, Any]
    choices: Mapping[str, str]


def load_location(
    overrides: Sequence[str], environ: Mapping[str, str], config_dirs: Sequence[Path] = (), *, need_sweep: bool = True
) -> Location:
    """Registry and sweep of a command that only reads; the rest of the configuration is not looked at.

    Raises `ConfigError` when no sweep is named although one is needed, and for a word that cannot be read.
    """
    composed = compose("sweep_job", overrides, config_dirs, from_environment(environ), ALIASES)
    keys = ("sweep_name", "plugins", "data_dir", "share_files", "settings", "budget", "wandb")
    resolved, _ = resolve({key: composed.tree.get(key) for key in keys})
    name = resolved.get("sweep_name")
    is_named = name not in (None, "", "???")
    problems = name_problems("sweep_name", name) if need_sweep or is_named else []
    settings = build(Settings, resolved.get("settings"), "settings", problems)
    wandb = build(WandbSettings, resolved.get("wandb"), "wandb", problems)
    budget = build(Budget, resolved.get("budget"), "budget", problems)
    umask = read_umask(resolved, problems)
    own = build(OwnKeys, {"data_dir": resolved.get("data_dir")}, "", problems)
    load_plugins(resolved, problems)  # distributions of the sweep that is read; its record names no module
    if problems:
        raise ConfigError(*problems)
    return Location(
        sweep_name=str(name) if is_named else "",
        data_dir=own.directory,
        sweep_server_uri=settings.sweep_server_uri,
        budget=budget,
        wandb=wandb,
        max_observations_to_load=settings.max_observations_to_load,
        umask=umask,
    )


def address_of(
    data_dir: Path,
    uri: str | None,
    overrides: Sequence[str],
    environ: Mapping[str, str],
    config_dirs: Sequence[Path],
) -> Address:
    """What a bare command lacks to find this registry and these files, whether `overrides` or a sweep file say where.

    Args:
        uri: of the registry service; None without one.
        overrides, environ, config_dirs: of the command that found them.
    """
    bare = load_location([], environ, config_dirs, need_sweep=False)
    words = [word for word in overrides if word.lstrip("+").startswith("plugins=")]
    if data_dir != bare.data_dir:
        words.append(key_word("data_dir", shown_path(data_dir)))
    if uri is not None and uri != bare.sweep_server_uri:
        from metta_sweep.registry.trouble import without_password  # imports the database's parts

        words.append(key_word("settings.sweep_server_uri", without_password(uri)))
    return Address(tuple(words), tuple(map(str, config_dirs)))


def read_spec(spec_yaml: str) -> RegisteredSweep:
    """The search as it was registered: space, optimiser and direction of every phase.

    Somebody else may have written it: it is data. A `searcher` that it names is never imported.

    Raises:
        InvalidRequest: it says something that no specification does, or nothing: no driver has described the sweep yet.
        LookupError, TypeError, ValueError: a part is missing or wrong; read it inside `registry.reader.readable`.
    """
    if not spec_yaml:
        raise InvalidRequest("no driver has given it a specification yet")
    check_spec(spec_yaml)
    spec = parse_spec(spec_yaml)
    check_choices(spec["choices"])
    keys = {key: spec[key] for key in SWEEP_KEYS}
    memory = memory_in(spec_yaml)
    sweep = SweepSpec(**keys, phases=read_phases(spec["phases"]), fixed=spec["fixed"], remembered=memory)
    return RegisteredSweep(sweep, spec["seed"], spec["train"], spec["choices"])


def check_choices(choices: Mapping[str, Any]) -> None:
    """Raises `InvalidRequest` for what is no option of runs' config groups: it becomes a word for Hydra, and a file."""
    for group, option in choices.items():
        if group not in RUN_GROUPS or not isinstance(option, str) or not OPTION.fullmatch(option) or ".." in option:
            raise InvalidRequest(f"choices: {group!a}: {option!a} is not an option of {', '.join(RUN_GROUPS)}")


def read_phases(texts: Sequence[Mapping[str, Any]]) -> tuple[Phase, ...]:
    """Phases in order; each begins where the one before ends."""
    phases: list[Phase] = []
    first = 0
    for text in texts:
        space = Space.from_config(text["parameters"], text["constraints"], warn=False)
        protein = ProteinConfig.from_stored(text["protein"])
        phases.append(Phase(text["name"], first, text["num_runs"], space, protein, text["auto"]))
        first += text["num_runs"] or 0
    return tuple(phases)
