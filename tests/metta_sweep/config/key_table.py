"""Every key that can be written, set away from its default in every place where it can stand: what changes in the
resolved job?

`python -m tests.metta_sweep.config.key_table > configs/KEYS.md` writes the table that readers find.
"""

from __future__ import annotations

import inspect
import json
import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any, get_type_hints

import yaml

from metta_sweep.config import SweepJob, TrainJob, load_sweep_job, load_train_job, resolve_run
from metta_sweep.config import tree as trees
from metta_sweep.config.job import Budget, Settings, SweepKeys, WandbSettings
from metta_sweep.config.names import PARAMETER_ALIASES
from metta_sweep.config.phases import PhaseEntry
from metta_sweep.errors import ConfigError
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

ENVIRON = {"NUM_CPUS": "4", "NUM_GPUS": "0"}
PARAMETERS = {
    "trainer": {
        "ppo": {"gae_lambda": {"distribution": "logit_normal", "min": 0.7, "max": 0.95, "mean": 0.9}},
        "total_timesteps": {"distribution": "int_uniform", "min": 49152, "max": 98304},
    }
}
BASE: dict[str, Any] = {"sim_name": "arena_basic", "num_samples": 5, "parameters": PARAMETERS}
COMMAND = {"trainable": {"kind": "command", "command": "python train.py {overrides}"}}
FUNCTION = {"trainable": {"kind": "function", "function": "json:loads"}}
PLACES = ("command line", "job file", "sweep file", "train")


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


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a value did in one place: the keys of the resolved job that it changed, or the words in which it was refused
    or warned about.
    """

    changed: tuple[str, ...] = ()
    refused: str = ""
    warned: str = ""

    @property
    def is_silent(self) -> bool:
        return not (self.changed or self.refused or self.warned)


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
    for section, kind in (("settings", Settings), ("budget", Budget)):
        keys += _section(section, kind, PLACES[:3])
    keys += [*_section("resources", Resources), *_section("wandb", WandbSettings)]
    return [*keys, *_sweep_keys(), *_run_keys(), *_alias_keys()]


def _sweep_keys() -> Iterator[Key]:
    meanings = attributes(SweepKeys)
    hints = get_type_hints(SweepKeys, include_extras=True)
    for item in fields(SweepKeys):
        yield _key(f"sweep.{item.name}", item.default, hints[item.name], meanings[item.name], PLACES[:3])
    for key in _section("sweep.protein", ProteinConfig, PLACES[:3]):
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
    trainer = {
        "trainer": TrainerConfig,
        "trainer.ppo": PpoConfig,
        "trainer.optimizer": OptimizerConfig,
        "trainer.checkpoint": CheckpointConfig,
        "trainer.simulation": CurveConfig,
        "model": ModelConfig,
        "sim": SuiteConfig,
        "env": Task,
    }
    for section, kind in trainer.items():
        yield from _section(section, kind)
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
    for key in _section("trainable", TrainableConfig):
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


def _section(prefix: str, kind: type, places: tuple[str, ...] = PLACES) -> Iterator[Key]:
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


class Walk:
    """Sets keys in a place and compares what comes out with what came out before."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._number = 0
        self._bases: dict[str, dict[str, Any]] = {}

    def outcomes(self, keys: Sequence[Key], place: str) -> dict[str, Outcome]:
        """By name. Keys are set together as far as they go together, and those that this does not explain alone."""
        here = [key for key in keys if place in key.places]
        found: dict[str, Outcome] = {}
        groups: dict[str, list[Key]] = {}
        for key in here:
            groups.setdefault(f"{key.beside}", []).extend([key] if "[" not in key.name else [])
        for group in groups.values():
            found |= self._try_together(group, place)
        return {key.name: found.get(key.name) or self._try(key, place) for key in here}

    def _try_together(self, keys: Sequence[Key], place: str) -> dict[str, Outcome]:
        """What is clear at once: the resolved job holds the value, and no note speaks of the key."""
        try:
            beside = keys[0].beside if keys else {}
            changed, notes = self._load({**beside, **{key.name: key.value for key in keys}}, place, beside)
        except ConfigError:
            half = len(keys) // 2
            return self._try_together(keys[:half], place) | self._try_together(keys[half:], place) if half else {}
        told = {key.name for key in keys if any(f"{key.name}:" in note for note in notes)}
        arrived = [
            key
            for key in keys
            if all(changed.get(name) == value for name, value in flat({key.target: key.value}).items())
        ]
        return {key.name: Outcome((key.target,)) for key in arrived if key.name not in told}

    def _try(self, key: Key, place: str) -> Outcome:
        try:
            changed, notes = self._load({**key.beside, key.name: key.value}, place, key.beside)
        except ConfigError as error:
            return Outcome(refused=error.problems[0])
        name = re.sub(r"\[(\d)\]", r".\1", key.name)
        idle = next((note for note in notes if f"{name}: no effect" in note), "")
        replaced = next((note for note in notes if f"{name}=" in note and "has no effect" in note), "")
        return Outcome(warned=idle) if idle else Outcome(tuple(changed), warned="" if changed else replaced)

    def _load(
        self, values: Mapping[str, Any], place: str, beside: Mapping[str, Any] | None = None
    ) -> tuple[dict[str, Any], tuple[str, ...]]:
        """(what is different from a load without the values, the notes)."""
        key = f"{place} {beside}"
        if key not in self._bases:
            self._bases[key] = self._base(beside or {}, place)
        resolved, notes = self._resolved(values, place)
        base = self._bases[key]
        names = [*resolved, *(name for name in base if name not in resolved)]
        return {name: resolved.get(name) for name in names if resolved.get(name) != base.get(name)}, notes

    def _base(self, beside: Mapping[str, Any], place: str) -> dict[str, Any]:
        try:
            return self._resolved(beside, place)[0]
        except ConfigError:  # neither works alone
            return self._resolved({}, place)[0]

    def _resolved(self, values: Mapping[str, Any], place: str) -> tuple[dict[str, Any], tuple[str, ...]]:
        """(everything that a load gives, by dotted key, its notes)."""
        self._number += 1
        directory = self._directory / str(self._number)
        (directory / "sweep").mkdir(parents=True)
        values = {re.sub(r"\[\d\].*", "", name): value for name, value in values.items()}
        if place == "train":
            words = [f"{name}={_word(value)}" for name, value in values.items() if not name.startswith("sweep.")]
            train = load_train_job([*([] if "run" in values else ["run=r"]), *words], ENVIRON, [directory])
            return seen_in_run(train), train.notes
        values = {name: value for name, value in values.items() if name != "metric"}
        inside = nested({in_sweep_file(name): value for name, value in values.items()}) if place == "sweep file" else {}
        (directory / "sweep" / "own.yaml").write_text(yaml.safe_dump(trees.merge(BASE, inside)), encoding="utf-8")
        if place == "job file":
            job_file = {"defaults": ["common", {"sweep": "own"}, "_self_"], **nested({"sweep_name": "s", **values})}
            (directory / "sweep_job.yaml").write_text(yaml.safe_dump(job_file), encoding="utf-8")
        words = [f"{name}={_word(value)}" for name, value in values.items()] if place == "command line" else []
        if place != "job file" and not {"sweep_name", "run"} & set(values):
            words.append("sweep_name=s")
        job = load_sweep_job(["sweep=own", *words], ENVIRON, [directory])
        return seen_in_sweep(job), job.notes


def in_sweep_file(name: str) -> str:
    """Where a key stands in a sweep file."""
    if name.startswith(("settings.", "budget.")) or name == "sim_name":
        return name
    return name.removeprefix("sweep.") if name.startswith("sweep.") else f"sweep_job_overrides.{name}"


def nested(values: Mapping[str, Any]) -> dict[str, Any]:
    """Dotted keys as nested mappings."""
    tree: dict[str, Any] = {}
    for name, value in values.items():
        tree = trees.merge(tree, trees.put({}, trees.split(name), value))
    return tree


def flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested mappings by dotted key."""
    leaves = {f"{prefix}{'.'.join(path)}": value for path, value in trees.leaves(tree)}
    return {name: list(value) if isinstance(value, tuple) else value for name, value in leaves.items()}


def seen_in_sweep(job: SweepJob) -> dict[str, Any]:
    """Everything in a sweep's job, by dotted key."""
    sections = {name: asdict(getattr(job, name)) for name in ("settings", "budget", "resources", "wandb")}
    top = {name: getattr(job, name) for name in ("sweep_name", "device", "seed", "umask")} | {
        "data_dir": str(job.data_dir)
    }
    sweep = {name: getattr(job.sweep, name) for name in SweepKeys.__dataclass_fields__}
    out = flat({**resolve_run(job.train, "r", {}, seed=1), **top, **sections, "sweep": sweep})
    for index, phase in enumerate(job.sweep.phases):
        at = f"sweep.schedule.phases.{index}." if phase.name else "sweep."
        out |= flat({"name": phase.name, "num_runs": phase.num_runs, "auto": phase.auto}, at)
        out |= flat(asdict(phase.protein), f"{at}protein.") | {
            f"{at}constraints": [constraint.text for constraint in phase.space.constraints]
        }
        out |= flat(phase.space.to_config(), f"{at}parameters.")
    return out


def seen_in_run(job: TrainJob) -> dict[str, Any]:
    """Everything in the job of `train`, by dotted key."""
    top = {"run": job.run, "data_dir": str(job.data_dir), "umask": job.umask}
    return flat({**job.config, **top, "wandb": asdict(job.wandb), "resources": asdict(job.resources)})


def _word(value: Any) -> str:
    """A value in Hydra's grammar."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {_word(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_word, value)) + "]"
    return json.dumps(value)


@dataclass(frozen=True, slots=True)
class Row:
    """A key with what it did in each place where it can stand."""

    key: Key
    outcomes: Mapping[str, Outcome]


def walk(directory: Path) -> list[Row]:
    """All keys in all places."""
    keys = all_keys()
    steps = Walk(directory)
    found = {place: steps.outcomes(keys, place) for place in PLACES}
    return [Row(key, {place: found[place][key.name] for place in key.places}) for key in keys]


HEAD = """\
# Every key, and what it does

Written by a test (`tests/metta_sweep/config/key_table.py`), which sets each key away from its default in every place
where it can stand and compares the resolved job. "yes": the job changes. A key that changes nothing is refused, or a
note says so before anything starts; those are numbered below.

Places: the command line of a sweep; a job file (`sweep_job.yaml`); a sweep file (training keys and those of the machine
under `sweep_job_overrides:`); the command line of `train` and `evaluate`. What lies above what:
`docs/reference/configuration.md`.

| key | what it is | command line | job file | sweep file | `train` |
| --- | --- | --- | --- | --- | --- |
"""


def table(rows: Sequence[Row]) -> str:
    """The page."""
    words: list[str] = []
    lines = [_line(row, words) for row in rows]
    notes = [f"{number}. {text}" for number, text in enumerate(words, 1)]
    return HEAD + "\n".join(lines) + "\n\n" + "\n".join(notes) + "\n"


def _line(row: Row, words: list[str]) -> str:
    cells = [_cell(row.outcomes[place], words) if place in row.outcomes else "" for place in PLACES]
    meaning = row.key.meaning.replace("|", "\\|")
    return f"| `{row.key.name}` | {meaning} | {' | '.join(cells)} |"


def _cell(outcome: Outcome, words: list[str]) -> str:
    if outcome.changed:
        return "yes"
    if outcome.is_silent:
        return "NOTHING"
    text = ("refused: " if outcome.refused else "note: ") + _without_place(outcome.refused or outcome.warned)
    if text not in words:
        words.append(text)
    return f"{text.partition(':')[0]} ({words.index(text) + 1})"


def _without_place(text: str) -> str:
    """Without the file and line of the place, which are not the same on every machine."""
    return re.sub(r"^(command line|\S+\.yaml:\d+): ", "", text)


def main() -> None:
    with tempfile.TemporaryDirectory() as directory:
        print(table(walk(Path(directory))), end="")


if __name__ == "__main__":
    main()
