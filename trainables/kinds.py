"""What can do the training of a run: our PPO, any program, a function, or a kind that a plugin registers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Protocol

from trainables.command_words import Filling, Unspeakable, is_hydra_form
from trainables.errors import Problem
from trainables.programs import WORDS, TrainableConfig

# Settings of every program: what it is told, and what it reports.
_TOLD = ("parameters", "types", "average", "metrics", "total_steps")


class TrainableKind(Protocol):
    """One value of `trainable.kind`, and everything that depends on it.

    Attributes:
        name: the value.
        settings: fields of `TrainableConfig` that it reads.
        plays_suite: True when it trains a policy from the sections `trainer`, `model` and `env`, which is then played
            on the suite of `sim`; False when it is told parameters, and its own last report is the result.
        trainer: `package.module:function` that trains on a rank: it gets a `RankRun` and returns `Trained`. A text, so
            that a driver, which only asks, need not import torch.
    """

    @property
    def name(self) -> str: ...

    @property
    def settings(self) -> tuple[str, ...]: ...

    @property
    def plays_suite(self) -> bool: ...

    @property
    def trainer(self) -> str: ...

    def problems(self, config: TrainableConfig, parameters: Mapping[str, Any]) -> list[Problem]:
        """What is wrong with its own settings."""

    def processes(self, config: TrainableConfig, environment: str, device: str) -> tuple[str, str]:
        """Class of environment and device that its processes are bound to; only runs with the same may use them one
        after the other.
        """


@dataclass(frozen=True, slots=True)
class PpoKind:
    """Our own training."""

    name: str = "ppo"
    settings: tuple[str, ...] = ()
    plays_suite: bool = True
    trainer: str = "trainables.ppo.rank:train"

    def problems(self, config: TrainableConfig, parameters: Mapping[str, Any]) -> list[Problem]:
        del config, parameters
        return []

    def processes(self, config: TrainableConfig, environment: str, device: str) -> tuple[str, str]:
        del config
        return environment, device


@dataclass(frozen=True, slots=True)
class CommandKind:
    """Any program."""

    name: str = "command"
    settings: tuple[str, ...] = (
        *_TOLD,
        "command",
        "override",
        "booleans",
        "lists",
        "check",
        "workdir",
        "environment",
        "results",
        "pattern",
        "stop_seconds",
    )
    plays_suite: bool = False
    trainer: str = "trainables.program_host:run_command"

    def problems(self, config: TrainableConfig, parameters: Mapping[str, Any]) -> list[Problem]:
        """Values that would not reach the program as they are, too."""
        key = "trainable.command"
        if not config.command.strip():
            return [Problem(key, "missing; name the program, such as 'python train.py {overrides}'")]
        said = {"booleans": config.booleans, "lists": config.lists}
        if is_hydra_form(config.override) and said != {"booleans": "value", "lists": "json"}:
            moot = next(name for name, word in said.items() if word not in ("value", "json"))
            text = "has no effect on Hydra's form; set trainable.override to one such as '--{key} {value}'"
            return [Problem(f"trainable.{moot}", f"{said[moot]!r} {text}")]
        filling = Filling(config.override, parameters, dict.fromkeys(WORDS, "x"), config.booleans, config.lists)
        try:
            filling.words(config.command)
        except Unspeakable as error:
            return [Problem(key, str(error))]
        except ValueError as error:
            return [Problem(key, f"{error}, in {config.command!r}")]
        return []

    def processes(self, config: TrainableConfig, environment: str, device: str) -> tuple[str, str]:
        """It has a torch of its own, or none."""
        del environment, device
        return config.command, "cpu"


@dataclass(frozen=True, slots=True)
class FunctionKind:
    """`package.module:train`, called in a rank's process."""

    name: str = "function"
    settings: tuple[str, ...] = (*_TOLD, "function")
    plays_suite: bool = False
    trainer: str = "trainables.program_host:call_function"

    def problems(self, config: TrainableConfig, parameters: Mapping[str, Any]) -> list[Problem]:
        del parameters
        if config.function.count(":") == 1:
            return []
        return [Problem("trainable.function", f"need package.module:function, got {config.function!r}")]

    def processes(self, config: TrainableConfig, environment: str, device: str) -> tuple[str, str]:
        del environment
        return config.function, device


# By the word of `trainable.kind`; plugins add to it
KINDS: dict[str, TrainableKind] = {kind.name: kind for kind in (PpoKind(), CommandKind(), FunctionKind())}


def register_kind(kind: TrainableKind) -> None:
    """Make a kind of training known as `trainable.kind`; a module of `plugins` calls it.

    Raises:
        ValueError: another kind has the name.
    """
    if KINDS.get(kind.name, kind) != kind:
        raise ValueError(f"trainable.kind {kind.name!r} exists already; choose another name")
    KINDS[kind.name] = kind


def kind_of(mapping: Mapping[str, Any]) -> TrainableKind:
    """Kind of a run's plain mapping. A name that there is not is refused elsewhere, and taken for a program's here,
    which knows its own sections.
    """
    trainable = mapping.get("trainable")
    name = str(trainable.get("kind", "ppo")) if isinstance(trainable, Mapping) else "ppo"
    return KINDS.get(name, KINDS["command"])


def unread_settings(kind: TrainableKind) -> tuple[str, ...]:
    """Fields of `trainable` that do nothing for runs of this kind."""
    return tuple(item.name for item in fields(TrainableConfig) if item.name not in ("kind", *kind.settings))
