"""Every key that can be written, with a value that is not its default."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any, get_type_hints

from metta_sweep.config import tree as trees
from metta_sweep.config.job import Budget, Settings, SweepKeys, WandbSettings
from metta_sweep.config.names import PARAMETER_ALIASES
from metta_sweep.config.phases import PhaseEntry
from searchers.config import CHOICES as PROTEIN_CHOICES
from searchers.config import ProteinConfig
from trainables.environments.mettagrid_tasks import Task
from trainables.ppo.config import (
    CheckpointConfig,
    CurveConfig,
    ModelConfig,
    OptimizerConfig,
    PpoConfig,
    TrainerConfig,
)
from trainables.programs import TrainableConfig
from trainables.resources import Resources
from trainables.simulation.config import SuiteConfig

COMMAND = {"trainable": {"kind": "command", "command": "python train.py {overrides}"}}
FUNCTION = {"trainable": {"kind": "function", "function": "json:loads"}}
PLACES = ("command line", "job file", "sweep file", "train")
# The dataclass that owns the keys of each section.
SECTIONS: dict[str, type] = {
    "settings": Settings,
    "budget": Budget,
    "resources": Resources,
    "wandb": WandbSettings,
    "sweep": SweepKeys,
    "sweep.protein": ProteinConfig,
    "trainer": TrainerConfig,
    "trainer.ppo": PpoConfig,
    "trainer.optimizer": OptimizerConfig,
    "trainer.checkpoint": CheckpointConfig,
    "trainer.simulation": CurveConfig,
    "trainable": TrainableConfig,
    "model": ModelConfig,
    "env": Task,
    "sim": SuiteConfig,
}


@dataclass(frozen=True, slots=True)
class Key:
    """A key that can be written.

    Attributes:
        name: dotted, as on the command line.
        value: another one than the default.
        meaning: from the dataclass that owns it.
        beside: what else is set, in every place: a key that needs another one is not tried alone.
        places: where it can stand.
        means: the key that it is another name of.
    """

    name: str
    value: Any
    meaning: str
    beside: Mapping[str, Any] = field(default_factory=dict)
    places: tuple[str, ...] = PLACES
    means: str = ""

    @property
    def target(self) -> str:
        """Where it arrives in the resolved job."""
        return self.means or self.name


# Values that are another valid one, where "one more" or "another of the choices" is not.
VALUES: dict[str, Any] = {
    "device": "cuda",
    "resources.strategy": "SPREAD",
    "resources.node_labels": ["market=spot"],
    "resources.world_size": 2,
    "settings.sweep_server_uri": "http://localhost:8000",
    "wandb.mode": "offline",
    "wandb.tags": ["mine"],
    "sweep.metric": "heart.gained",
    "sweep.goal": "minimize",
    "sweep.method": "random",
    "sweep.cost": "wall",
    "sweep.searcher": "package.Searcher",
    "sweep.memory": ["arena_a"],
    "sweep.protein.fidelity": "trainer.total_timesteps",
    "trainer.curriculum": "/env/mettagrid/arena/advanced",
    "trainer.simulation.replay_dir": "replays",
    "trainable.kind": "function",
    "trainable.function": "json:dumps",
    "trainable.pattern": "(?P<score>x)",
    "trainable.metrics": ["loss"],
    "trainable.parameters": {"width": 3},
    "trainable.types": {"width": "int"},
    "trainable.environment": {"NAME": "x"},
    "sim.simulations": {"walk": {"env": "/env/mettagrid/navigation"}},
    "sim.metrics": ["json:loads"],
    "trainer.num_envs": 64,
    "trainer.batch_size": 16384,
    "trainer.minibatch_size": 1024,
    "env.window": 7,
}
APART = [{"seed": number} for number in range(2, 9)]  # keys that make others idle are not set together with them
BESIDE: dict[str, dict[str, Any]] = {
    "sweep.method": APART[0],
    "sweep.searcher": APART[1],
    "trainer.curriculum": APART[2],
    "sim.simulations": APART[2],
    "device": {"resources.gpus_per_worker": 1},
    "resources.gpus_per_worker": {"device": "cuda"},
    "budget.dollars": {"budget.hourly_cost": 2.0},
    "sweep.protein.objective": {"sweep.protein.target_score": 3.0},
    "sweep.protein.target_score": {"sweep.protein.objective": "target"},
    "trainer.precision": {"device": "cuda", "resources.gpus_per_worker": 1},
    "trainer.cuda_graphs": {"device": "cuda", "resources.gpus_per_worker": 1, "trainer.compile": True},
    "trainable.kind": {"trainable.function": "json:loads"},
    "trainable.types": {"trainable.parameters": {"width": 3}},
}


def all_keys() -> list[Key]:
    """Job, sweep file and run, in the order of the table."""
    keys = [
        Key("sweep_name", "other", "names runs, directories and the WandB group", places=("command line", "job file")),
        Key(
            "run",
            "other",
            "of `train`: names the run; of a sweep: the same as `sweep_name`",
            places=("command line", "train"),
        ),
        Key("data_dir", "/elsewhere", "registry, sweeps and runs"),
        Key("plugins", ["colorsys"], "modules of your own to import first: distributions, environments"),
        Key("share_files", "group", "who else may use what is written: none, or group"),
        Key("seed", 7, "of the optimiser, and base of the runs' seeds"),
        _key("device", "auto", str, "auto, cpu or cuda"),
        Key(
            "user",
            "someone",
            "chooses `user/NAME.yaml` when there is one",
            places=("command line", "job file", "train"),
        ),
        Key(
            "sim_name",
            "navigation",
            "the suite, as `sim=NAME`",
            places=("command line", "job file", "sweep file", "train"),
        ),
        Key("metric", "heart.gained", "of `train`: the score, as the suite reports it", places=("train",)),
    ]
    for section in ("settings", "budget"):
        keys += _section(section, PLACES[:3])
    keys += [*_section("resources"), *_section("wandb")]
    return [*keys, *_sweep_keys(), *_run_keys(), *_alias_keys()]


def _sweep_keys() -> Iterator[Key]:
    meanings = attributes(SweepKeys)
    hints = get_type_hints(SweepKeys, include_extras=True)
    for item in fields(SweepKeys):
        yield _key(f"sweep.{item.name}", item.default, hints[item.name], meanings[item.name], PLACES[:3])
    for key in _section("sweep.protein", PLACES[:3]):
        yield key
        name = key.name.removeprefix("sweep.protein.")
        if name not in ("budget", "target_score"):  # these two mean the job's and the stop rule's there
            yield Key(
                f"sweep.{name}",
                key.value,
                f"the same as `{key.name}`",
                key.beside,
                ("command line", "sweep file"),
                key.name,
            )
    constraint = "trainer.total_timesteps > 50000"
    yield Key("sweep.constraints", [constraint], "conditions that every suggestion fulfils", places=PLACES[:3])
    leaf = "sweep.parameters.trainer.ppo.gae_lambda"
    steps = "trainer.total_timesteps > 60000"
    leaves = {"distribution": "uniform", "min": 0.6, "max": 0.99, "mean": 0.8, "scale": 0.25, "when": steps}
    for name, value in leaves.items():
        yield Key(f"{leaf}.{name}", value, f"`{name}` of a parameter", APART[4], PLACES[:3])
    yield Key(
        "sweep.parameters.model.type", {"choices": ["mlp", "lstm"]}, "`choices` of a parameter", APART[5], PLACES[:3]
    )
    yield Key("sweep.parameters.trainer.update_epochs", {"value": 2}, "`value` of a parameter", APART[6], PLACES[:3])
    yield from _phase_keys()


def _phase_keys() -> Iterator[Key]:
    meanings = attributes(PhaseEntry)
    first = {"name": "first", "num_runs": 2, "sweep": {}}
    changes: dict[str, tuple[dict[str, Any], str]] = {
        "name": ({**first, "name": "cheap"}, meanings["name"]),
        "num_runs": ({**first, "num_runs": 4}, meanings["num_runs"]),
        "auto": ({**first, "auto": True}, meanings["auto"]),
        "sweep.protein": (
            {**first, "sweep": {"protein": {"expansion_rate": 0.4}}},
            "settings of the optimiser in this phase",
        ),
        "sweep.parameters": (
            {**first, "sweep": {"parameters": {"trainer.gamma": {"min": 0.9, "max": 0.99}}}},
            "parameters in this phase",
        ),
        "sweep.constraints": (
            {**first, "sweep": {"constraints": ["trainer.total_timesteps > 50000"]}},
            "constraints in this phase",
        ),
    }
    for name, (phase, meaning) in changes.items():
        yield Key(f"sweep.schedule.phases[0].{name}", [phase, {"name": "last"}], meaning, places=PLACES[:3])
    phases = [first, {"name": "last", "num_runs": 9}]
    yield Key("sweep.schedule.phases[1].num_runs", phases, "of the last phase: ends nothing", places=PLACES[:3])


def _run_keys() -> Iterator[Key]:
    parts = ("ppo", "optimizer", "checkpoint", "simulation")
    for section in ("trainer", *(f"trainer.{part}" for part in parts), "model", "sim", "env"):
        yield from _section(section)
    tasks = {"tasks": {"/env/mettagrid/arena/basic": 1, "/env/mettagrid/arena/advanced": 2}}
    yield Key("trainer.curriculum.tasks", tasks["tasks"], "weight of each task by its path")
    sampling = {"trainer.curriculum.tasks": tasks["tasks"]}
    yield Key(
        "trainer.curriculum.sampling",
        "learning_progress",
        "which task comes next: weighted, or learning_progress",
        sampling,
    )
    yield Key(
        "sim.simulations.basic.episodes",
        3,
        "episodes of one simulation",
        {"sim.simulations.basic.env": "/env/mettagrid/arena/basic"},
    )
    meanings = attributes(TrainableConfig)
    for key in _section("trainable"):
        base = {} if key.name == "trainable.kind" else flat(FUNCTION if key.name == "trainable.function" else COMMAND)
        yield Key(
            key.name,
            key.value,
            meanings[key.name.partition(".")[2]],
            {**base, "sweep.metric": "score", "metric": "score", **key.beside},
        )


def _alias_keys() -> Iterator[Key]:
    values = {"learning_rate": 0.002, "gamma": 0.9, "clip_param": 0.3, "entropy_coeff": 0.02, "metrics": ["json:loads"]}
    for alias, canonical in PARAMETER_ALIASES.items():
        yield Key(
            ".".join(alias),
            values[alias[-1]],
            f"the same as `{'.'.join(canonical)}`",
            APART[3],
            means=".".join(canonical),
        )


def _section(prefix: str, places: tuple[str, ...] = PLACES) -> Iterator[Key]:
    kind = SECTIONS[prefix]
    meanings, hints = attributes(kind), get_type_hints(kind, include_extras=True)
    for item in fields(kind):
        if is_dataclass(hints[item.name]):
            continue
        yield _key(
            f"{prefix}.{item.name}", getattr(kind(), item.name), hints[item.name], meanings.get(item.name, ""), places
        )


def _key(name: str, default: Any, hint: Any, meaning: str, places: tuple[str, ...] = PLACES) -> Key:
    return Key(name, VALUES.get(name) or _another(name, default, hint), meaning, BESIDE.get(name, {}), places)


def _another(name: str, default: Any, hint: Any) -> Any:
    rule = next(iter(getattr(hint, "__metadata__", ())), None)
    choices = getattr(getattr(rule, "func", None), "choices", PROTEIN_CHOICES.get(name.removeprefix("sweep.protein.")))
    if choices:
        return next(choice for choice in reversed(choices) if choice != default)
    if isinstance(default, bool):
        return not default
    if isinstance(default, int):
        return default + 1
    if isinstance(default, float):
        return default / 2 or 0.5
    if default is None and re.search(r"\bint\b", str(hint)):
        return 9
    return 9.5 if default is None and re.search(r"\bfloat\b", str(hint)) else f"{default}x"


def attributes(kind: type) -> dict[str, str]:
    """What the docstring of a dataclass says about each field."""
    text = inspect.cleandoc(kind.__doc__ or "").partition("Attributes:\n")[2]
    entries = re.findall(r"^ {4}(\w+): (.*(?:\n {8}.*)*)", text, re.MULTILINE)
    return {name: " ".join(meaning.split()) for name, meaning in entries}


def flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested mappings by dotted key."""
    leaves = {f"{prefix}{'.'.join(path)}": value for path, value in trees.leaves(tree)}
    return {name: list(value) if isinstance(value, tuple) else value for name, value in leaves.items()}
