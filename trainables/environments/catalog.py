"""From what a configuration names to environments: paths, options, families.

Imports simulators only when one is made.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from functools import cache, lru_cache
from typing import Any, Protocol, get_type_hints

from trainables.environments.interface import (
    NEEDS_ALE,
    BlockOptions,
    Buffers,
    Description,
    Discrete,
    EnvironmentBlock,
)
from trainables.environments.mettagrid_tasks import (
    COMBAT_OBJECTS,
    COMBAT_RESOURCES,
    OBJECTS,
    RESOURCES,
    TASKS,
    Task,
    has_combat,
    task_problems,
    with_observation_of,
)
from trainables.errors import Problem
from trainables.fields import build, convert, join, nearest, whole

MAX_STEPS = "max_steps"  # of an episode, in every family
FRAMES, ATARI_FRAMES = "max_num_frames_per_episode", 108_000  # the emulator's own limit of an episode


class Family(Protocol):
    """Environments of one kind, fully specified.

    Attributes:
        agents_per_env: rows per environment.
        task_names: tasks that an episode may be of, in the order of `Buffers.next_tasks`.
        is_divisible: whether its environments know nothing of each other, so that any process may step any of them.
    """

    @property
    def agents_per_env(self) -> int: ...

    @property
    def task_names(self) -> tuple[str, ...]: ...

    @property
    def is_divisible(self) -> bool: ...

    def stat_names(self) -> tuple[str, ...]:
        """Every counter that an evaluation reports besides the score."""

    def step_limit(self) -> int | None:
        """Steps after which an episode surely ends; None when nobody says so."""

    def describe(self) -> Description:
        """What a row shows and takes."""

    def block(self, options: BlockOptions, buffers: Buffers) -> EnvironmentBlock:
        """Environments in these buffers, not yet reset."""


@dataclass(frozen=True, slots=True)
class MettaGridFamily:
    """Tasks with the same number of agents and the same window.

    Attributes:
        tasks: by name.
        combat_vocabulary: observations have room for the objects and resources of combat, whether or not a task has
            them.
    """

    tasks: tuple[tuple[str, Task], ...]
    combat_vocabulary: bool = False

    @property
    def agents_per_env(self) -> int:
        return self.tasks[0][1].num_agents

    @property
    def task_names(self) -> tuple[str, ...]:
        return tuple(name for name, _ in self.tasks)

    @property
    def is_divisible(self) -> bool:
        return True

    def stat_names(self) -> tuple[str, ...]:
        moves = ("action.noop.success", "action.move.success", "action.move.failed", "action.failed")
        uses = [f"action.use.{name}" for name in OBJECTS + COMBAT_OBJECTS]
        amounts = [f"{name}.{what}" for name in RESOURCES + COMBAT_RESOURCES for what in ("gained", "lost", "amount")]
        return (
            *moves,
            *uses,
            *amounts,
            "attack.hit",
            "attack.blocked",
            "cell.unique_visited",
            "cell.max_distance_from_spawn",
        )

    def step_limit(self) -> int | None:
        return max(task.max_steps for _, task in self.tasks)

    def describe(self) -> Description:
        from trainables.environments.mettagrid_encoding import TokenEncoder
        from trainables.environments.mettagrid_game import game_config

        game = game_config(self.tasks[0][1], self.combat_vocabulary)
        actions = Discrete(len(game.actions.actions()))
        return Description((game.obs.num_tokens, 3), "uint8", actions, TokenEncoder(game))

    def block(self, options: BlockOptions, buffers: Buffers) -> EnvironmentBlock:
        from trainables.environments.mettagrid_block import MettaGridBlock

        return MettaGridBlock([task for _, task in self.tasks], self.combat_vocabulary, options, buffers)


@dataclass(frozen=True, slots=True)
class GymnasiumFamily:
    """One gymnasium environment; `options` go to its constructor, but for `max_steps`, which becomes its time limit."""

    env_id: str
    options: Mapping[str, Any]

    @property
    def agents_per_env(self) -> int:
        return 1

    @property
    def task_names(self) -> tuple[str, ...]:
        return (self.env_id,)

    @property
    def is_divisible(self) -> bool:
        from trainables.environments.gymnasium_block import is_vectorised

        return not is_vectorised(self.env_id, self._settings)

    def stat_names(self) -> tuple[str, ...]:
        return ()

    def step_limit(self) -> int | None:
        from trainables.environments.gymnasium_block import step_limit

        return int(self.options.get(MAX_STEPS, 0)) or step_limit(self.env_id)

    @property
    def _settings(self) -> dict[str, Any]:
        return {"max_episode_steps" if name == MAX_STEPS else name: value for name, value in self.options.items()}

    def describe(self) -> Description:
        from trainables.environments.gymnasium_block import action_space, single_spaces
        from trainables.environments.gymnasium_encoding import FlatEncoder

        observation, action = single_spaces(self.env_id, self._settings)
        encoder = FlatEncoder(observation)
        dtype = "int64" if encoder.is_one_hot else str(observation.dtype)
        return Description(observation.shape or (), dtype, action_space(action), encoder)

    def block(self, options: BlockOptions, buffers: Buffers) -> EnvironmentBlock:
        from trainables.environments.gymnasium_block import GymnasiumBlock

        return GymnasiumBlock(self.env_id, self._settings, options, buffers)


@dataclass(frozen=True, slots=True)
class AtariFamily:
    """One Atari game; `options` go to the emulator's vector, `max_steps` as the number of frames that it means."""

    game: str
    options: Mapping[str, Any]

    @property
    def agents_per_env(self) -> int:
        return 1

    @property
    def task_names(self) -> tuple[str, ...]:
        return (self.game,)

    @property
    def is_divisible(self) -> bool:
        return True

    def stat_names(self) -> tuple[str, ...]:
        return ()

    def step_limit(self) -> int | None:
        return int(self.options.get(MAX_STEPS, 0)) or int(self.options.get(FRAMES, ATARI_FRAMES)) // self._frameskip

    @property
    def _frameskip(self) -> int:
        return max(1, int(self.options.get("frameskip", 4)))

    @property
    def _settings(self) -> dict[str, Any]:
        given = dict(self.options)
        if steps := given.pop(MAX_STEPS, 0):
            given[FRAMES] = int(steps) * self._frameskip
        return given

    def describe(self) -> Description:
        from trainables.environments.atari_block import make_games
        from trainables.environments.atari_encoding import ImageEncoder

        games = make_games(self.game, self._settings, 1)
        try:
            shape = tuple(games.single_observation_space.shape)
            return Description(shape, "uint8", Discrete(int(games.single_action_space.n)), ImageEncoder(shape))
        finally:
            games.close()

    def block(self, options: BlockOptions, buffers: Buffers) -> EnvironmentBlock:
        from trainables.environments.atari_block import AtariBlock

        return AtariBlock(self.game, self._settings, options, buffers)


def resolve(
    path: str, options: Mapping[str, Any], key: str, options_key: str, problems: list[Problem]
) -> Family | None:
    """The environment that a path names, with options applied.

    Args:
        path: `/env/mettagrid/TASK`, `/env/gymnasium/ID` or `/env/atari/GAME`; `/env/` may be left out.
        options: overrides of the task's numbers, or arguments of a gymnasium environment.
        key: dotted key of the path, for messages.
        options_key: dotted key of the options, for messages.
        problems: gets one line per problem.

    Returns:
        The family, or None when there are problems.
    """
    kind, _, name = path.removeprefix("/").removeprefix("env/").partition("/")
    if kind == "mettagrid":
        return _resolve_mettagrid(name, options, key, options_key, problems)
    if kind in ("gymnasium", "atari") and MAX_STEPS in options:
        steps, _ = convert(options[MAX_STEPS], whole)
        if steps is None or steps < 1:
            problems.append(
                Problem(join(options_key, MAX_STEPS), f"need a whole number of at least 1, got {options[MAX_STEPS]!r}")
            )
            return None
        options = {**options, MAX_STEPS: steps}
    if kind == "gymnasium":
        return _resolve_gymnasium(name, options, key, problems)
    if kind == "atari" and name:
        return _resolve_atari(name, options, key, problems)
    known = f"/env/mettagrid/TASK with TASK one of {', '.join(TASKS)}, /env/gymnasium/ID or /env/atari/GAME"
    problems.append(Problem(key, f"unknown environment {path!r}; use {known}"))
    return None


def _resolve_mettagrid(
    name: str, options: Mapping[str, Any], key: str, options_key: str, problems: list[Problem]
) -> MettaGridFamily | None:
    if name not in TASKS:
        problems.append(Problem(key, f"unknown MettaGrid task {name!r}{nearest(name, TASKS)}"))
        return None
    found: list[Problem] = []
    task = build(Task, {**_numbers_of(TASKS[name]), **options}, options_key, found)
    found += [] if found else task_problems(options_key, task)
    problems += found
    return None if found else MettaGridFamily(((name, task),))


@lru_cache(maxsize=64)  # several times our tasks; a check of a search space asks hundreds of times
def _numbers_of(task: Task) -> Mapping[str, Any]:
    return asdict(task)


def _resolve_atari(game: str, options: Mapping[str, Any], key: str, problems: list[Problem]) -> AtariFamily | None:
    if importlib.util.find_spec("ale_py") is None:
        problems.append(Problem(key, NEEDS_ALE))
        return None
    return AtariFamily(game, dict(options))


def _resolve_gymnasium(
    env_id: str, options: Mapping[str, Any], key: str, problems: list[Problem]
) -> GymnasiumFamily | None:
    import gymnasium

    known = gymnasium.envs.registration.registry
    if env_id not in known and ":" not in env_id:  # "package:Id-v0" registers itself when it is made
        problems.append(Problem(key, f"unknown gymnasium environment {env_id!r}{nearest(env_id, known)}"))
        return None
    return GymnasiumFamily(env_id, dict(options))


@cache
def env_option_types() -> dict[str, Any]:
    """Names and types of the options of MettaGrid tasks, as swept under `env.`."""
    hints = get_type_hints(Task)
    return {field.name: hints[field.name] for field in fields(Task)}


def share_observations(training: Family, evaluation: Sequence[Family]) -> tuple[Family, tuple[Family, ...]]:
    """The same environments, all observed in one way, so that one policy reads them: the window of training, the words
    of all.
    """
    if not isinstance(training, MettaGridFamily):
        return training, tuple(evaluation)
    grids = [family for family in (training, *evaluation) if isinstance(family, MettaGridFamily)]
    combat = any(has_combat(task) for family in grids for _, task in family.tasks)
    window = training.tasks[0][1]

    def adapt(family: Family) -> Family:
        if not isinstance(family, MettaGridFamily):
            return family
        return MettaGridFamily(tuple((name, with_observation_of(task, window)) for name, task in family.tasks), combat)

    return adapt(training), tuple(adapt(family) for family in evaluation)
