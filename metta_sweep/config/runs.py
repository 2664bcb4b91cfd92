"""One run's configuration: from the unresolved template and a suggestion, or from a command line."""

from __future__ import annotations

import math
import re
import tempfile
from collections.abc import Collection, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Any

import yaml
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from metta_sweep.config import checks, files, hardware
from metta_sweep.config import tree as trees
from metta_sweep.config.compose import Composition, compose
from metta_sweep.config.environment import from_environment
from metta_sweep.config.job import Machine, TrainJob, TrainTemplate, WandbSettings
from metta_sweep.config.tree import Tree
from metta_sweep.config.whole import rounded
from metta_sweep.errors import ConfigError
from searchers.space import Space
from trainables.disk import PRIVATE, SHARED
from trainables.environments.probe import environment_problems
from trainables.errors import Problem
from trainables.fields import OneOf, Text, Whole, build, convert, in_range, nearest, texts, told
from trainables.kinds import kind_of
from trainables.plugins import import_plugins
from trainables.resources import Resources
from trainables.simulation.config import training_simulations

RUN_GROUPS = ("trainable", "trainer", "model", "env", "sim")
RUN_KEYS = ("plugins", "run", "seed", "device", "code_version", "metric", *RUN_GROUPS, "resources", "suggestion")
OWN_KEYS = frozenset({"plugins", "data_dir", "share_files", "seed", "device", "user", "wandb", "resources"})
COMMON_KEYS = OWN_KEYS.union(RUN_GROUPS)
TRAIN_KEYS = COMMON_KEYS | {"run", "metric", "suggestion"}
UMASKS = {"none": PRIVATE, "group": SHARED}
NAMES = ("run", "sweep_name")  # a missing one has its own message
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass(frozen=True, slots=True)
class OwnKeys:
    """Keys of the job that stand in no section; `SweepJob` says what they mean."""

    seed: Annotated[Whole, in_range("a whole number >= 0", lambda seed: seed >= 0)] = 0
    data_dir: Text = ""

    @property
    def directory(self) -> Path:
        """Where registry, sweeps and runs lie."""
        return Path(self.data_dir).expanduser().absolute()


def resolve_run(template: TrainTemplate, run_id: str, params: Mapping[str, Any], seed: int) -> Tree:
    """The plain, resolved mapping of one run, as `trainables.spec.RunSpec.from_mapping` takes it.

    Args:
        params: suggestion by dotted path; lies above everything else, and is data: nothing in it is interpolated.

    Raises:
        ConfigError: a point outside the search space, or an interpolation that cannot be resolved.
    """
    if foreign := template.foreign(params):
        raise ConfigError(*(f"{ascii(run_id)[1:-1]}: outside the search space: {text}" for text in foreign))
    tree = deepcopy(_parsed(template.tree_yaml))
    params = rounded(params, tree)
    fixed = tree.pop("suggestion", {})
    for name, value in params.items():  # first for what refers to it
        tree = trees.put(tree, trees.split(name), trees.literal(value))
    resolved, problems = resolve({**tree, "run": run_id, "seed": seed})
    if problems:
        raise ConfigError(*problems)
    for name, value in params.items():
        resolved = trees.put(resolved, trees.split(name), value)
    # A program that is not ours is told what was searched, by its dotted names.
    told = {**resolved, "suggestion": {**fixed, **params}}
    return run_mapping(_with_one_suite(told, params, _parsed(template.tree_yaml).get("env") or {}))


def _with_one_suite(resolved: Tree, params: Mapping[str, Any], written: Mapping[str, Any]) -> Tree:
    """With the training tasks as the suite, all runs of a sweep are measured on the same ones.

    The options of `env` are those that were written: with searched ones the search would find the task that is easiest.
    """
    curriculum = trees.get(resolved, ("trainer", "curriculum"))
    if not kind_of(resolved).plays_suite or trees.get(resolved, ("sim", "simulations")) or not curriculum:
        return resolved
    paths = [curriculum] if isinstance(curriculum, str) else list(curriculum.get("tasks", ()))
    searched = {trees.split(name)[1] for name in params if name.startswith("env.")}
    options = {name: value for name, value in (resolved.get("env") or {}).items() if name not in searched}
    options |= {name: written[name] for name in searched & written.keys()}
    return trees.put(resolved, ("sim", "simulations"), training_simulations(paths, options))


@cache
def _parsed(tree_yaml: str) -> Tree:
    """Parsing takes longer than all else that a run's configuration needs."""
    tree: Tree = yaml.safe_load(tree_yaml)
    return tree


def run_mapping(resolved: Mapping[str, Any]) -> Tree:
    """What a trainable gets of a resolved configuration."""
    left_out = {"suggestion"} if kind_of(resolved).plays_suite else set()  # it is in its own sections
    left_out |= set() if resolved.get("plugins") else {"plugins"}
    return {key: resolved[key] for key in RUN_KEYS if key in resolved and key not in left_out}


def template_of(tree: Mapping[str, Any], spaces: Sequence[Space]) -> TrainTemplate:
    """What the runs of a composed sweep get, all that their interpolations may refer to, and where points may lie."""
    sweep_only = ("sweep", "settings", "budget", "wandb", "run", "schedule")
    kept = {key: value for key, value in tree.items() if key not in sweep_only}
    return TrainTemplate(yaml.safe_dump(kept, sort_keys=True, allow_unicode=True), tuple(spaces))


def resolve(tree: Mapping[str, Any]) -> tuple[Tree, list[Problem]]:
    """The tree with its interpolations resolved, and what is wrong with those that cannot be."""
    problems: list[Problem] = []
    out = dict(tree)
    found = [(path, value) for path, value in trees.leaves(tree) if _needs_resolving(value)]
    unresolved = [(path, value) for path, value in found if ".".join(path) not in NAMES]
    config = OmegaConf.create(dict(tree) if unresolved else {})  # slow for a whole tree, and few runs need it
    for path, value in unresolved:
        key = ".".join(path)
        try:
            node = OmegaConf.select(config, key, throw_on_missing=True, throw_on_resolution_failure=True)
            plain = OmegaConf.to_container(node, resolve=True) if OmegaConf.is_config(node) else node
            out = trees.put(out, path, plain)
        except (OmegaConfBaseException, RecursionError) as error:
            problems.append(Problem(key, f"{value}: {_reason(error)}"))
    return out, problems


def _needs_resolving(value: Any) -> bool:
    return "${" in value or value == "???" if isinstance(value, str) else isinstance(value, list) and "${" in str(value)


def _reason(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return "the interpolation refers to itself, in a circle; break it"
    return str(error).splitlines()[0].strip().rstrip(".")


@dataclass(frozen=True, slots=True)
class TrainComposition:
    """`train_job` composed for this machine, not checked yet; `problems` are interpolations that cannot be resolved."""

    composed: Composition
    machine: Machine
    resolved: Tree
    problems: list[Problem]

    @classmethod
    def of(cls, overrides: Sequence[str], environ: Mapping[str, str], config_dirs: Sequence[Path]) -> TrainComposition:
        """Compose with a command line."""
        composed = compose("train_job", overrides, config_dirs, from_environment(environ), {"sim_name": "sim"})
        machine = hardware.detect(environ)
        return cls(composed, machine, *resolve(hardware.fill(composed.tree, machine)))


def load_train_job(overrides: Sequence[str], environ: Mapping[str, str], config_dirs: Sequence[Path] = ()) -> TrainJob:
    """Compose and check the configuration of `train` and `evaluate`; arguments and errors as of `load_sweep_job`.

    A word that is the path of a YAML file is a patch, wherever it lies.
    """
    patches = [word for word in overrides if files.is_file_word(word)]
    if missing := [word for word in patches if not Path(word).is_file()]:
        raise ConfigError(
            *(f"{word}: no such file; give a patch, as `best --output-dir` writes it" for word in missing)
        )
    if not patches:
        return _load_train_job(overrides, environ, config_dirs)
    with tempfile.TemporaryDirectory() as directory:  # each alone, where the search path finds it first
        words = [linked_patch(Path(word), Path(directory)) if word in patches else word for word in overrides]
        return _load_train_job(words, environ, [Path(directory), *config_dirs])


def linked_patch(file: Path, directory: Path) -> str:
    """Offer a file as an option of the group `trainer/patch` below `directory`; the word that chooses it."""
    option = re.sub(r"\W", "_", file.stem)
    link = directory / "trainer" / "patch" / f"{option}.yaml"
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(file.resolve())
    return f"+trainer/patch={option}"


def _load_train_job(overrides: Sequence[str], environ: Mapping[str, str], config_dirs: Sequence[Path]) -> TrainJob:
    train = TrainComposition.of(overrides, environ, config_dirs)
    resolved, problems = train.resolved, [*train.problems, *name_problems("run", train.resolved.get("run"))]
    suggestion = resolved.get("suggestion")
    roots = [str(name).split(".")[0] for name in suggestion] if isinstance(suggestion, Mapping) else []
    problems += unknown_keys(train.composed.tree, {*TRAIN_KEYS, *roots}, train.composed.choices)
    resources = read_resources(resolved, problems)
    wandb = build(WandbSettings, resolved.get("wandb"), "wandb", problems)
    umask = read_umask(resolved, problems)
    own = build(OwnKeys, {"data_dir": resolved.get("data_dir")}, "", problems)
    # A patch holds what a search proposed, sizes that do not divide included.
    is_written = "trainer/patch" not in train.composed.choices
    spec = None if problems else checks.read_spec(run_mapping(resolved), problems, is_written=is_written)
    problems += [problem for problem in not_finite(resolved) if not told(problems, problem.key)]
    problems += [] if problems or spec is None else environment_problems(spec)
    raise_located(train.composed, problems)
    assert spec is not None
    return TrainJob(
        run=str(resolved["run"]),
        data_dir=own.directory,
        spec=spec,
        resources=resources,
        wandb=wandb,
        machine=train.machine,
        umask=umask,
        notes=train.composed.all_notes(resolved),
    )


def not_finite(tree: Mapping[str, Any]) -> list[Problem]:
    """Every NaN and infinity in a configuration, whoever would read it."""
    return [
        Problem(".".join(path), f"need a finite number, got {item!r}")
        for path, value in trees.leaves(tree)
        for item in (value if isinstance(value, list) else [value])
        if isinstance(item, float) and not math.isfinite(item)
    ]


def unknown_keys(tree: Mapping[str, Any], known: Collection[str], groups: Collection[str]) -> list[Problem]:
    """Keys at the top that nothing reads. What an interpolation mentions, or begins with `x-`, is the user's own."""
    text = str(tree)
    unknown = [
        key
        for key in tree
        if key not in known and not key.startswith(trees.OWN) and not re.search(r"\$\{" + re.escape(key) + r"\b", text)
    ]
    return [Problem(key, f"unknown key{nearest(key, {*known, *groups})}") for key in unknown]


def name_problems(key: str, name: Any) -> list[Problem]:
    """Why a name cannot name a directory and a WandB group."""
    if name in (None, "", "???"):
        what = "; a new name starts a sweep, a known one continues it" if key == "sweep_name" else ""
        return [Problem(key, f"missing; add {key}=NAME{what}")]
    if not isinstance(name, str | int) or not NAME.fullmatch(str(name)) or ".." in str(name) or len(str(name)) > 100:
        fix = "use up to 100 letters, digits, '.', '_' and '-', a letter or digit first, and no '..'"
        return [Problem(key, f"{name!r} cannot name a directory; {fix}")]
    return []


def load_plugins(resolved: Mapping[str, Any], problems: list[Problem]) -> None:
    """Import what `plugins` names, before anything that they may have registered is looked up."""
    names, wrong = convert(resolved.get("plugins") or [], texts)
    found = import_plugins(names) if names is not None else [wrong]
    problems += [Problem("plugins", text) for text in found]


def read_umask(resolved: Mapping[str, Any], problems: list[Problem]) -> int:
    """Process umask under which `share_files` has everything written."""
    rule = OneOf(tuple(UMASKS), f"need {' or '.join(UMASKS)}, got {{}}")
    share, wrong = convert(resolved.get("share_files") or "none", rule)
    problems += [Problem("share_files", wrong)] if wrong else []
    return UMASKS[share or "none"]


def read_resources(resolved: Mapping[str, Any], problems: list[Problem]) -> Resources:
    """The resources section, checked for sense."""
    resources = build(Resources, resolved.get("resources"), "resources", problems)
    device, cpus = resolved.get("device"), resources.cpus_per_worker
    rules = {
        "resources.cpus_per_worker": (cpus > 0, f"need more than 0 cores, got {cpus:g}"),
        "resources.gpus_per_worker": _gpu_rule(resources.gpus_per_worker, resources.world_size, device),
        "device": (device in ("cpu", "cuda"), f"need auto, cpu or cuda, got {device!r}"),
    }
    problems += [Problem(key, text) for key, (holds, text) in rules.items() if not holds and not told(problems, key)]
    return resources


def _gpu_rule(gpus: float, world_size: int, device: Any) -> tuple[bool, str]:
    if gpus % 1 and (world_size > 1 or gpus > 1):
        fix = "use whole GPUs or resources.world_size=1 and less than 1"
        return False, f"{gpus:g}: a fraction of a GPU works for one rank only; {fix}"
    if device == "cuda" and gpus == 0:
        return False, "0 with device cuda; use 1, or device=cpu"
    return not (device == "cpu" and gpus > 0), f"{gpus:g}: runs with device cpu do not use GPUs; use 0, or device=cuda"


def raise_located(composed: Composition, problems: Sequence[Problem]) -> None:
    """Raises `ConfigError` with what is wrong, each problem once, with its file and line."""
    if problems:
        raise ConfigError(*dict.fromkeys(composed.at(problem.key, problem.text) for problem in problems))
