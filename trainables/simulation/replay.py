"""One episode written down step by step, to be looked at later.

MettaGrid episodes go into the library's own replay format (`.json.z`, which MettaScope shows): the simulator is
deterministic, so the actions that were taken give the evaluated episode again. Other episodes are arrays of
observations, actions and rewards (`.npz`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from trainables.environments.catalog import MettaGridFamily
from trainables.environments.mettagrid_tasks import Task, random_map
from trainables.environments.vector import EnvironmentVector
from trainables.seeding import EvaluationSeeds, simulator_seed
from trainables.simulation.config import Suite

MAX_REPLAY_STEPS = 20_000  # a longer episode is cut here
# How the viewer names what stands on a cell
_CELLS = {
    "wall": "#",
    "empty": ".",
    "mine": "m",
    "generator": "g",
    "altar": "a",
    "armory": "r",
    "lasery": "l",
    "agent.agent": "@",
}


@dataclass(slots=True)
class Trajectory:
    """The first environment of a vector, step by step; M agents.

    Attributes:
        observations: (M, *raw) each, before the step.
        actions: (M, ...) each.
        rewards: (M,) each, after the step.
    """

    observations: list[np.ndarray] = field(default_factory=list)
    actions: list[np.ndarray] = field(default_factory=list)
    rewards: list[np.ndarray] = field(default_factory=list)

    def step(self, env: EnvironmentVector, actions: np.ndarray) -> None:
        """Takes the step, and notes it as long as there is room."""
        rows = slice(0, env.agents_per_env)
        seen = env.observations[rows].copy()
        env.step(actions)
        if len(self.rewards) < MAX_REPLAY_STEPS:
            self.observations.append(seen)
            self.actions.append(np.array(actions[rows]))
            self.rewards.append(env.rewards[rows].copy())


def write(directory: Path, run: str, suite: Suite, trajectories: Mapping[str, Trajectory]) -> list[Path]:
    """Writes the first held-out episode of every simulation.

    Args:
        directory: where to; made when it is not there.
        run: id of the run, first part of the names, so that runs may share a directory.
        suite: what was played.
        trajectories: by simulation; as `play` filled them.

    Returns:
        Files `{run}_{suite}_{simulation}.json.z` or `.npz`.
    """
    directory.mkdir(parents=True, exist_ok=True)
    paths = []
    for simulation in suite.simulations:
        name, trajectory = f"{run}_{suite.name}_{simulation.name}", trajectories[simulation.name]
        if isinstance(simulation.family, MettaGridFamily):
            paths.append(_write_mettagrid(directory / f"{name}.json.z", suite, simulation.family, trajectory))
        else:
            paths.append(directory / f"{name}.npz")
            np.savez_compressed(
                paths[-1],
                observations=np.stack(trajectory.observations),
                actions=np.stack(trajectory.actions),
                rewards=np.stack(trajectory.rewards),
            )
    return paths


def _write_mettagrid(path: Path, suite: Suite, family: MettaGridFamily, trajectory: Trajectory) -> Path:
    """Plays the actions again in the library's own simulation, which is slower but knows how to write replays."""
    from mettagrid.simulator.replay_log_writer import InMemoryReplayWriter

    writer = InMemoryReplayWriter()
    simulation = library_simulation(
        family.tasks[0][1], EvaluationSeeds(suite.seed, (0,))(0, 0), family.combat_vocabulary, [writer]
    )
    for actions in trajectory.actions:
        simulation._c_sim.actions()[:] = actions
        simulation.step()
    writer.get_completed_replays()[0].write_replay(str(path))
    return path


def library_simulation(
    task: Task, seed: np.random.SeedSequence, combat_vocabulary: bool = False, handlers: Sequence[Any] = ()
) -> Any:
    """The episode of this seed as a `Simulation` of the library."""
    from mettagrid.config.mettagrid_config import MettaGridConfig
    from mettagrid.simulator.simulator import Simulation

    from trainables.environments.mettagrid_game import game_config

    map_seed, sim_seed = seed.spawn(2)
    grid = [[_CELLS[name] for name in row] for row in random_map(task, np.random.default_rng(map_seed))]
    names = {character: name for name, character in _CELLS.items()}
    config = MettaGridConfig(game=game_config(task, combat_vocabulary)).with_ascii_map(grid, names)
    return Simulation(config, seed=simulator_seed(sim_seed), event_handlers=list(handlers))
