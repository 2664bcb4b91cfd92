"""MettaGrid at the speed of its C++ core: many simulations write straight into one set of flat buffers.

The Python `Simulation` of the library costs about 50 us per step on top of the 100 us of C++, so it is not used; the
C++ object has no stable interface, hence the pinned version and the test that compares both. The simulator holds the
interpreter lock while it steps: threads gain nothing, processes do (`vector.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import mettagrid.config.mettagrid_c_config as c_config
import numpy as np
from mettagrid.mettagrid_c import MettaGrid

from trainables.environments.interface import BlockOptions, Buffers
from trainables.environments.mettagrid_game import game_config
from trainables.environments.mettagrid_tasks import Task, random_map
from trainables.seeding import simulator_seed


class MettaGridBlock:
    """N MettaGrid simulations in one process; see `EnvironmentBlock`.

    Args:
        tasks: all with the same number of agents, window and tokens.
        combat_vocabulary: see `game_config`; must be set when some tasks have combat and others not.
        options: which environments of the vector.
        buffers: of these environments.
    """

    def __init__(self, tasks: Sequence[Task], combat_vocabulary: bool, options: BlockOptions, buffers: Buffers) -> None:
        self._tasks, self._options, self._buffers = tasks, options, buffers
        self._cpp = [c_config.convert_to_cpp_game_config(game_config(task, combat_vocabulary)) for task in tasks]
        self._agents = tasks[0].num_agents
        self._vibes = np.zeros(len(buffers.rewards), dtype=np.int32)
        self._sims: list[MettaGrid] = []
        self._steps: list[Callable[[], None]] = []
        self._stats: dict[int, Mapping[str, float]] = {}
        self._task_of, self._elapsed, self._limit = np.zeros((3, options.num_envs), dtype=np.int64)

    def reset(self) -> None:
        buffers, options = self._buffers, self._options
        self._sims, self._steps, self._stats = [], [], {}
        buffers.clear()
        for env in range(options.num_envs):
            sim = self._start_episode(env)
            self._sims.append(sim)
            self._steps.append(sim.step)
            if options.stagger:
                place = options.first_env + env + 1
                self._limit[env] = max(1, self._limit[env] * place // options.total_envs)

    def step(self) -> None:
        for step in self._steps:
            step()
        self._elapsed += 1
        # Only the limits below count: staggered episodes end before the simulator thinks so.
        self._buffers.truncations[:] = False
        for env in np.flatnonzero(self._elapsed >= self._limit):
            self._end_episode(int(env))

    def _end_episode(self, env: int) -> None:
        rows, buffers = self._rows(env), self._buffers
        buffers.final_observations[rows] = buffers.observations[rows]
        rewards = buffers.rewards[rows].copy()
        self._note_episode(env)
        sim = self._start_episode(env)
        self._sims[env], self._steps[env] = sim, sim.step
        buffers.rewards[rows] = rewards  # the new simulation cleared them
        buffers.truncations[rows] = True

    def _start_episode(self, env: int) -> MettaGrid:
        buffers, rows = self._buffers, self._rows(env)
        index = int(buffers.next_tasks[env])
        episode = int(buffers.episodes[env]["finished"])
        map_seed, sim_seed = self._options.seeds(self._options.first_env + env, episode).spawn(2)
        cpp_config, renames = self._cpp[index]
        grid = random_map(self._tasks[index], np.random.default_rng(map_seed))
        sim = MettaGrid(cpp_config, c_config.rename_map_agents(grid, renames), simulator_seed(sim_seed))
        buffers.actions[rows] = 0
        sim.set_buffers(
            buffers.observations[rows],
            buffers.terminals[rows],
            buffers.truncations[rows],
            buffers.rewards[rows],
            buffers.actions[rows],
            self._vibes[rows],
        )
        self._task_of[env], self._elapsed[env], self._limit[env] = index, 0, self._tasks[index].max_steps
        return sim

    def _note_episode(self, env: int) -> None:
        sim, index = self._sims[env], int(self._task_of[env])
        hearts = [
            (sim.get_agent_stat(agent, "heart.gained") or 0.0) - (sim.get_agent_stat(agent, "heart.lost") or 0.0)
            for agent in range(self._agents)
        ]
        if self._options.collect_stats:
            self._stats[env] = _mean_stats(sim.get_episode_stats()["agent"])
        self._buffers.note_episode(
            env,
            task=index,
            num_steps=int(self._elapsed[env]),
            score=float(np.mean(hearts)),
            shaped_return=float(np.mean(sim.get_episode_rewards())),
            is_whole=bool(self._elapsed[env] == self._tasks[index].max_steps),
        )

    def _rows(self, env: int) -> slice:
        return slice(env * self._agents, (env + 1) * self._agents)

    def take_stats(self) -> Mapping[int, Mapping[str, float]]:
        stats, self._stats = self._stats, {}
        return stats

    def close(self) -> None:
        self._sims, self._steps = [], []


def _mean_stats(agents: Sequence[dict[str, float]]) -> dict[str, float]:
    """Mean over agents of every counter; an agent without it counts as 0."""
    names = sorted({name for stats in agents for name in stats})
    return {name: float(np.mean([stats.get(name, 0.0) for stats in agents])) for name in names}
