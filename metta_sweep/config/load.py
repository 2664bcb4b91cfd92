"""From override strings to a validated `SweepJob`; everything that is wrong is said at once."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from metta_sweep.config import checks, files, hardware, names, runs
from metta_sweep.config import tree as trees
from metta_sweep.config.compose import Composition, compose, readable_errors
from metta_sweep.config.environment import from_environment
from metta_sweep.config.job import Budget, Machine, Settings, SweepJob, SweepKeys, SweepSpec, WandbSettings
from metta_sweep.config.overrides import Assignment
from metta_sweep.config.phases import Search, doubts, read_phases
from metta_sweep.config.spec_text import spec_yaml
from metta_sweep.config.tree import ABSENT, Tree
from metta_sweep.config.whole import rounded
from metta_sweep.errors import ConfigError
from trainables.environments.probe import environment_problems
from trainables.errors import Problem
from trainables.fields import build, nearest, told
from trainables.spec import RunSpec

ALIASES = {"run": "sweep_name", "sim_name": "sim"}
JOB_KEYS = runs.COMMON_KEYS | {"sweep_name", "settings", "budget", "sweep"}
BLOCKS = frozenset({"parameters", "protein", "constraints", "schedule"})
# Keys of a W&B sweep file, and what says the same here
CONVERTS = "`python -m metta_sweep convert FILE` rewrites a W&B sweep file"
FOREIGN_KEYS = {
    "program": f"of a W&B sweep file; here trainable.command says what a run is; {CONVERTS}",
    "command": f"of a W&B sweep file; here trainable.command says what a run is; {CONVERTS}",
    "run_cap": "of a W&B sweep file; here it is num_samples",
    "early_terminate": "of a W&B sweep file; here early_stopping: true ends poor runs early",
    "project": "of a W&B sweep file; here it is wandb.project, on the command line or in the job",
    "entity": "of a W&B sweep file; here it is wandb.entity, on the command line or in the job",
    "name": "of a W&B sweep file; here it is sweep_name, on the command line",
    "description": "of a W&B sweep file; write it as a comment",
}
BELOW_SWEEP = {
    **{key: f"sweep.protein.{key}" for key in names.PROTEIN_KEYS},
    **{key: f"sweep.{key}" for key in (*SweepKeys.__dataclass_fields__, *BLOCKS)},
}


def load_sweep_job(overrides: Sequence[str], environ: Mapping[str, str], config_dirs: Sequence[Path] = ()) -> SweepJob:
    """Compose, merge and check everything that `run` needs; nothing is started and nothing is written.

    Args:
        overrides: Hydra override grammar; `sweep_name=` (or `run=`) names the sweep, `sweep=` chooses the sweep file.
        environ: environment variables; WANDB_*, NUM_GPUS and NUM_CPUS are read.
        config_dirs: the user's own config directories, searched before `./configs` and the packaged ones.

    Raises:
        ConfigError: every problem at once, one line each: file and line, key, value, fix.
    """
    composed = compose("sweep_job", overrides, config_dirs, from_environment(environ), ALIASES)
    return _Loader(composed, hardware.detect(environ)).job()


def validate_file(
    path: Path, overrides: Sequence[str], environ: Mapping[str, str], config_dirs: Sequence[Path] = ()
) -> SweepJob:
    """Check a sweep file or a job file (one with `sweep_name`), wherever it lies, as `run` would.

    Args:
        overrides: may change anything but the file itself; without `sweep_name=` the file's name is taken.

    Raises:
        ConfigError: the file does not exist, or everything that is wrong.
    """
    if not path.is_file():
        raise ConfigError(f"{path}: no such file; give a sweep file, such as configs/sweep/quick.yaml")
    with readable_errors(()):
        is_job = "sweep_name" in files.read_yaml(path)
    option = re.sub(r"\W", "_", path.stem)
    words = [] if is_job else [f"sweep={option}"]
    if not any(word.split("=")[0] in ("sweep_name", "run") for word in overrides):
        words.append(f"sweep_name={option}")
    with tempfile.TemporaryDirectory() as directory:  # the file alone, where the search path finds it first
        link = Path(directory) / ("sweep_job.yaml" if is_job else f"sweep/{option}.yaml")
        link.parent.mkdir(exist_ok=True)
        link.symlink_to(path.resolve())
        own = path.resolve().parent if is_job else path.resolve().parent.parent
        is_ours = is_job or path.resolve().parent.name == "sweep"  # files beside it may be referred to
        dirs = [Path(directory), *config_dirs, *([own] if is_ours else [])]
        return load_sweep_job([*words, *overrides], environ, dirs)


class _Loader:
    """One load: collects problems while it reads section after section."""

    def __init__(self, composed: Composition, machine: Machine) -> None:
        self._composed = composed
        self._machine = machine
        self._tree = hardware.fill(composed.tree, machine)
        self._resolved, self._problems = runs.resolve(self._tree)
        self._unresolved = {problem.key for problem in self._problems}
        runs.load_plugins(self._resolved, self._problems)
        self._fixed = self._fixed_parameters()
        self._rounded: dict[str, str] = {}

    def job(self) -> SweepJob:
        """The validated job. Raises `ConfigError` with every problem at once."""
        resolved, problems = self._resolved, self._problems
        problems += runs.name_problems("sweep_name", resolved.get("sweep_name"))
        problems += self._unknown_keys()
        settings = self._settings()
        budget = self._budget()
        wandb = build(WandbSettings, resolved.get("wandb"), "wandb", problems)
        own = build(runs.OwnKeys, {"seed": resolved.get("seed", 0), "data_dir": resolved.get("data_dir")}, "", problems)
        umask = runs.read_umask(resolved, problems)
        resources = runs.read_resources(resolved, problems)
        sweep = self._sweep()
        self._check_runs(sweep)
        problems += [problem for problem in runs.not_finite(resolved) if not told(problems, problem.key)]
        runs.raise_located(self._composed, _first_of(self._unresolved, problems))
        assert sweep is not None  # what could not be read is a problem
        tree = trees.put(self._tree, ("metric",), sweep.metric)
        return SweepJob(
            sweep_name=str(resolved["sweep_name"]),
            data_dir=own.directory,
            seed=own.seed,
            device=str(resolved["device"]),
            sweep=sweep,
            settings=settings,
            resources=resources,
            budget=budget,
            wandb=wandb,
            train=runs.template_of({**tree, "suggestion": dict(self._fixed)}, [phase.space for phase in sweep.phases]),
            spec_yaml=spec_yaml(resolved, sweep, own.seed, self._composed.choices),
            notes=self._notes(settings, sweep),
            machine=self._machine,
            umask=umask,
        )

    def _notes(self, settings: Settings, sweep: SweepSpec) -> tuple[str, ...]:
        """What a person should know before the start."""
        fixed = "{}={!r} on the command line fixes this parameter; it is not searched"
        notes = [fixed.format(key, value) for key, value in self._fixed.items()]
        if (limit := settings.max_observations_to_load) != Settings().max_observations_to_load:
            key = f"settings.max_observations_to_load={limit}"
            notes.append(f"{key} bounds what comes in from WandB; a sweep learns from all its runs")
        notes += [self._composed.at(f"sweep.parameters.{name}", text) for name, text in self._rounded.items()]
        found = (*doubts(sweep.phases), *checks.length_doubts(self._resolved, sweep))
        notes += [self._composed.at(doubt.key, doubt.text) for doubt in found]
        return (*notes, *self._composed.all_notes(self._resolved))

    def _fixed_parameters(self) -> Tree:
        """Swept parameters that the command line gave a value."""
        parameters = trees.get(self._resolved, ("sweep", "parameters"))
        searched = [path for path, _ in trees.leaves(parameters)] if isinstance(parameters, Mapping) else []
        given = [word for word in self._composed.assignments if word.value is not ABSENT]
        return {
            ".".join(path): trees.get(self._resolved, path)
            for word in given
            for path, _ in trees.leaves(trees.put({}, word.path, word.value))
            if any(parameter[: len(path)] == path for parameter in searched)
        }

    def _unknown_keys(self) -> list[Problem]:
        searched = trees.get(self._tree, ("sweep", "parameters"))  # a program's own parameters may be given a value
        own = set(searched) if isinstance(searched, Mapping) else set()
        found = runs.unknown_keys(self._tree, {*JOB_KEYS, *own}, {*self._composed.choices, *ALIASES})
        below = {key: Problem(key, f"unknown key; did you mean {place}?") for key, place in BELOW_SWEEP.items()}
        return [below.get(one.key, one) for one in found]

    def _settings(self) -> Settings:
        settings = build(Settings, self._resolved.get("settings"), "settings", self._problems)
        keys = ("settings.heartbeat_seconds", "settings.lease_seconds")
        if not told(self._problems, *keys) and not 0 < settings.heartbeat_seconds <= settings.lease_seconds / 2:
            text = f"need more than 0 and at most half of lease_seconds={settings.lease_seconds:g}"
            why = "a late heartbeat would lose the runs of a living driver"
            self._problems.append(Problem(keys[0], f"{text}, got {settings.heartbeat_seconds:g}; {why}"))
        return settings

    def _budget(self) -> Budget:
        budget = build(Budget, self._resolved.get("budget"), "budget", self._problems)
        if budget.dollars is not None and budget.hourly_cost is None and not told(self._problems, "budget.hourly_cost"):
            text = "needs budget.hourly_cost, in dollars per GPU-hour (per slot-hour without GPUs)"
            self._problems.append(Problem("budget.dollars", f"{budget.dollars:g} {text}"))
        return budget

    def _sweep(self) -> SweepSpec | None:
        block = self._resolved.get("sweep")
        if not isinstance(block, Mapping):
            self._problems.append(Problem("sweep", f"need a sweep file: sweep=quick, got {block!r}"))
            return None
        known = {*SweepKeys.__dataclass_fields__, *BLOCKS, *names.PROTEIN_KEYS}
        unknown = [str(key) for key in block if key not in known and not str(key).startswith(trees.OWN)]
        self._problems[:] = [one for one in self._problems if one.key.removeprefix("sweep.") not in unknown]
        self._unresolved -= {f"sweep.{key}" for key in unknown}
        hints = {key: FOREIGN_KEYS.get(key) or f"unknown key{nearest(key, known)}" for key in unknown}
        self._problems += [Problem(f"sweep.{key}", hint) for key, hint in hints.items()]
        scalars = {key: value for key, value in block.items() if key in SweepKeys.__dataclass_fields__}
        keys = build(SweepKeys, scalars, "sweep", self._problems)
        search = Search(block, self._fixed, self._borrowed(block), self._below_sweep(), self._resolved, self._rounded)
        return SweepSpec(**asdict(keys), phases=read_phases(search, self._problems), fixed=self._fixed)

    def _borrowed(self, block: Mapping[str, Any]) -> Tree:
        """Training values that constraints, those of phases among them, mention without being searched."""
        parameters = block.get("parameters")
        searched = {path for path, _ in trees.leaves(parameters)} if isinstance(parameters, Mapping) else set()
        phases = trees.get(block, ("schedule", "phases"))
        lists = [trees.get(part, ("constraints",)) for part in (block, *_blocks_of(phases))]
        texts = [text for constraints in lists if isinstance(constraints, list) for text in constraints]
        mentioned = {name for text in texts for name in names.REFERENCE.findall(str(text))}
        above = {".".join(path[:length]) for path in searched for length in range(1, len(path) + 1)}
        values = {name: trees.get(self._resolved, trees.split(name)) for name in sorted(mentioned - above)}
        return {name: value for name, value in values.items() if isinstance(value, int | float | str | bool)}

    def _below_sweep(self) -> list[Assignment]:
        below = [word for word in self._composed.assignments if word.path[0] == "sweep" and len(word.path) > 1]
        values = [trees.get(self._resolved, word.path, ABSENT) for word in below]
        return [Assignment(word.path[1:], value, word.text) for word, value in zip(below, values, strict=True)]

    def _check_runs(self, sweep: SweepSpec | None) -> None:
        """Ask the trainable about the configuration, then about each searched parameter."""
        center = {**self._fixed, **(sweep.phases[0].space.center() if sweep and sweep.phases else {})}
        metric = sweep.metric if sweep else "reward"
        run = runs.run_mapping({**self._resolved, "run": "run", "metric": metric, "suggestion": center})
        told_to_program = [name for name in run.get("suggestion", {}) if name not in self._fixed]
        places = {"metric": "sweep.metric", **{name: f"sweep.parameters.{name}" for name in told_to_program}}
        wrong = checks.spec_problems(run, is_written=True)
        found = [Problem(places.get(problem.key, problem.key), problem.text) for problem in wrong]
        self._problems += [problem for problem in found if not told(self._problems, problem.key)]
        if sweep is None or found:
            return
        for index, phase in enumerate(sweep.phases):
            inside = f"sweep.schedule.phases.{index}.sweep" if phase.name else "sweep"
            self._problems += checks.parameter_problems(run, phase.space, inside)
        self._problems += checks.length_problems(run, sweep)
        if not self._problems:
            point = checks.with_params(run, rounded(center, run))
            self._problems += environment_problems(RunSpec.from_mapping(point, strict=False))


def _blocks_of(phases: Any) -> list[Mapping[str, Any]]:
    """What each phase lays on the sweep's block."""
    entries = [phase.get("sweep") for phase in phases if isinstance(phase, Mapping)] if isinstance(phases, list) else []
    return [entry for entry in entries if isinstance(entry, Mapping)]


def _first_of(unresolved: Collection[str], problems: list[Problem]) -> list[Problem]:
    """The problems without those that only follow from an interpolation that could not be resolved."""
    return [one for index, one in enumerate(problems) if one.key not in unresolved or index < len(unresolved)]
