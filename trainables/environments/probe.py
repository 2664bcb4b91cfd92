"""Makes the environments of a run once, before anything starts: whether they can be made here, and whether one policy
reads them all.

Imports gymnasium or the emulator only for tasks of theirs; MettaGrid tasks are checked without their simulator.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from trainables.environments.catalog import AtariFamily, Family, GymnasiumFamily
from trainables.errors import Problem

if TYPE_CHECKING:
    from trainables.spec import RunSpec


@dataclass(frozen=True, slots=True)
class _Spaces:
    """What a policy reads and answers: shapes, and how many actions there are."""

    observation: tuple[Any, ...]
    action: tuple[Any, ...]
    is_image: bool = False


class _Unusable(Exception):
    """The environment cannot be trained on; the text says why."""


def environment_problems(spec: RunSpec) -> list[Problem]:
    """One line, key first, for each environment that cannot be made, or that a policy of the training task cannot play.

    Environments of the user's own are made and closed again, once each.
    """
    if not spec.kind.plays_suite:
        return []
    problems: list[Problem] = []
    made: dict[tuple[str, str], _Spaces | None] = {}
    for key, path, family in _environments(spec):
        name = (path, repr(_options(family)))
        if name in made:
            continue
        try:
            made[name] = _spaces(family)
        except _Unusable as error:
            made[name] = None
            problems.append(Problem(key, f"{path}: {error}"))
    training = made[(spec.curriculum.paths[0], repr(_options(spec.environment)))]
    for key, path, family in _environments(spec):
        spaces = made[(path, repr(_options(family)))]
        if training is not None and spaces is not None and spaces != training:
            why = (
                f"it shows {spaces.observation} and takes {spaces.action}, not {training.observation} and "
                f"{training.action}"
            )
            problems.append(
                Problem(
                    key, f"{path} cannot be played by a policy of trainer.curriculum {spec.curriculum.paths[0]}: {why}"
                )
            )
    return problems + (_network_problems(spec.model.type, training) if training is not None else [])


def _network_problems(kind: str, training: _Spaces) -> list[Problem]:
    if training.is_image and kind == "mlp":
        return [Problem("model.type", "mlp cannot read images; use cnn or lstm")]
    if not training.is_image and kind == "cnn":
        return [Problem("model.type", "cnn needs images or a grid, and this environment has neither; use mlp or lstm")]
    return []


def _environments(spec: RunSpec) -> Iterator[tuple[str, str, Family]]:
    """(dotted key, path, family) of what is trained on and of each simulation."""
    yield "trainer.curriculum", spec.curriculum.paths[0], spec.environment
    for simulation in spec.suite.simulations:
        yield f"sim.simulations.{simulation.name}.env", simulation.path, simulation.family


def _options(family: Family) -> Mapping[str, Any]:
    return family.options if isinstance(family, GymnasiumFamily | AtariFamily) else {}


def _spaces(family: Family) -> _Spaces | None:
    """None for MettaGrid, whose tasks share their spaces by design."""
    if isinstance(family, GymnasiumFamily):
        import gymnasium

        return _of(lambda: gymnasium.make(family.env_id, **family.options), "")
    if isinstance(family, AtariFamily):
        from ale_py.vector_env import AtariVectorEnv

        return _of(lambda: AtariVectorEnv(family.game, num_envs=1, **family.options), "single_")
    return None


def _of(make: Any, prefix: str) -> _Spaces:
    try:
        environment = make()
    except (Exception, SystemExit) as error:  # code of the user's own may end in any way
        raise _Unusable(f"cannot be made: {type(error).__name__}: {' '.join(str(error).split())}") from error
    try:
        observation, action = (getattr(environment, f"{prefix}{name}_space") for name in ("observation", "action"))
        is_image = getattr(observation, "dtype", None) == np.uint8 and len(observation.shape or ()) == 3
        return _Spaces(_shape(observation, "observation"), _shape(action, "action"), is_image)
    finally:
        environment.close()


def _shape(space: Any, what: str) -> tuple[Any, ...]:
    from gymnasium.spaces import Box, Discrete

    if isinstance(space, Discrete) and (what == "observation" or space.start == 0):
        return ("one of", int(space.n))
    if isinstance(space, Box):
        return tuple(space.shape)
    raise _Unusable(f"its {what} space {space} is not supported; use an environment with a Box or Discrete one")
