"""What an evaluation plays: a suite of simulations on episodes that training never sees."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from trainables.environments.catalog import Family, resolve
from trainables.errors import Problem
from trainables.fields import Count, Flag, Positive, Table, Text, Texts, convert, join, whole


@dataclass(frozen=True, slots=True)
class SuiteConfig:
    """The `sim` section of a configuration.

    Attributes:
        name: of the suite; "" = as the path of the training tasks says: `arena` for `/env/mettagrid/arena/basic`.
        episodes: per simulation, unless that says otherwise.
        seed: names the held-out episodes; the same number means the same maps, whatever was trained.
        greedy: True: the likeliest action; False: actions are sampled, as in training.
        simulations: by name: `env` (path), optionally `episodes`, and overrides of the task; none = the training tasks
            themselves, with the options of `env`.
        metrics: further metrics as `package.module:function`; see `trainables.simulation.aggregate`.
    """

    name: Text = ""
    episodes: Positive = 32
    seed: Count = 0
    greedy: Flag = False
    simulations: Table = field(default_factory=dict)
    metrics: Texts = ()


@dataclass(frozen=True, slots=True)
class Simulation:
    """One part of a suite. `path` as in the configuration, `options` the overrides of its task."""

    name: str
    path: str
    options: Mapping[str, Any]
    family: Family
    episodes: int


@dataclass(frozen=True, slots=True)
class Suite:
    """A checked suite; see `SuiteConfig` for the fields."""

    name: str
    simulations: tuple[Simulation, ...]
    seed: int
    greedy: bool
    metrics: tuple[str, ...]


def training_simulations(paths: Sequence[str], options: Mapping[str, Any]) -> dict[str, Any]:
    """The training tasks as `sim.simulations`."""
    return {path.rpartition("/")[2]: {**options, "env": path} for path in paths}


def resolve_suite(
    config: SuiteConfig, training_paths: Sequence[str], options: Mapping[str, Any], problems: list[Problem]
) -> Suite:
    """The suite that a configuration asks for.

    Args:
        config: the `sim` section.
        training_paths: of the tasks that are trained on.
        options: of those tasks, the `env` section.
        problems: gets one line for each thing that is wrong.
    """
    entries = dict(config.simulations) or training_simulations(training_paths, options)
    groups = {f"/{path}".split("/")[-2] for path in training_paths}
    found = [_resolve_simulation(str(name), entry, config, problems) for name, entry in entries.items()]
    simulations = tuple(simulation for simulation in found if simulation is not None)
    for metric in config.metrics:
        if metric.count(":") != 1:
            problems.append(Problem("sim.metrics", f"need package.module:function, got {metric!r}"))
    name = config.name or (groups.pop() if len(groups) == 1 else "suite")
    return Suite(name, simulations, config.seed, config.greedy, config.metrics)


def _resolve_simulation(name: str, entry: object, config: SuiteConfig, problems: list[Problem]) -> Simulation | None:
    key = join("sim.simulations", name)
    if not isinstance(entry, Mapping) or not isinstance(entry.get("env"), str):
        problems.append(Problem(key, f"need a mapping with env: /env/..., got {entry!r}"))
        return None
    options = {str(option): value for option, value in entry.items() if option not in ("env", "episodes")}
    asked = entry.get("episodes", config.episodes)
    episodes, _ = convert(asked, whole)
    if episodes is None or episodes < 1:
        problems.append(Problem(join(key, "episodes"), f"need a whole number of at least 1, got {asked!r}"))
        return None
    family = resolve(entry["env"], options, join(key, "env"), key, problems)
    return None if family is None else Simulation(name, entry["env"], options, family, episodes)


def misfit_problems(training_paths: Sequence[str], training: Family, suite: Suite) -> list[Problem]:
    """A line for each simulation of another kind of environment than is trained on: no policy reads both."""
    wrong = f"cannot be played by a policy of trainer.curriculum {', '.join(training_paths)} (env=)"
    remedy = "choose a suite of its task with sim=, or sim=auto for the training tasks"
    return [
        Problem(f"sim.simulations.{simulation.name}.env", f"{simulation.path} {wrong}; {remedy}")
        for simulation in suite.simulations
        if type(simulation.family) is not type(training)
    ]
