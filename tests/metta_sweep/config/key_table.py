"""Every key that can be written, set away from its default in every place where it can stand: what changes in the
resolved job?

`python -m tests.metta_sweep.config.key_table > configs/KEYS.md` writes the table that readers find.
"""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import yaml

from metta_sweep.config import SweepJob, TrainJob, load_sweep_job, load_train_job, resolve_run
from metta_sweep.config import tree as trees
from metta_sweep.config.job import SweepKeys
from metta_sweep.errors import ConfigError
from tests.metta_sweep.config.written_keys import PLACES, Key, all_keys, flat

ENVIRON = {"NUM_CPUS": "4", "NUM_GPUS": "0"}
PARAMETERS = {
    "trainer": {
        "ppo": {"gae_lambda": {"distribution": "logit_normal", "min": 0.7, "max": 0.95, "mean": 0.9}},
        "total_timesteps": {"distribution": "int_uniform", "min": 49152, "max": 98304},
    }
}
BASE: dict[str, Any] = {"sim_name": "arena_basic", "num_samples": 5, "parameters": PARAMETERS}


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
