"""MettaGrid at the speed of its C++ core: many simulations write straight into one set of flat buffers.

The Python `Simulation` of the library costs about 50 us per step on top of the 100 us of C++, so it is not used; the
C++ object has no stable interface, hence the pinned version and the test that compares both.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import mettagrid.config.mettagrid_c_config as c_config
import numpy as np
from mettagrid.config.mettagrid_config import GameConfig
from mettagrid.mettagrid_c import MettaGrid

from trainables.environments.interface import ActionSpace, Discrete, Encoder, Episode
from trainables.environments.mettagrid_encoding import TokenEncoder
from trainables.environments.mettagrid_game import game_config
from trainables.environments.mettagrid_tasks import Task, random_map
from trainables.seeding import EpisodeSeeds

PickTask = Callable[[int, int], int]  # (environment, episode number) -> index of the task to play


@dataclass(frozen=True, slots=True)
class MettaGridSetup:
    """What a vector of MettaGrid environments is made of.

    Attributes:
        tasks: by name; all with the same number of agents, window and tokens.
        num_envs: environments in the vector.
        seeds: stream of every episode: its map and its simulation.
        combat_vocabulary: see `game_config`; must be set when some tasks have combat and others not.
        pick_task: which task an episode plays.
        num_threads: threads that step; the simulator releases the interpreter lock.
        stagger: True: first episodes are cut short, each at another length, so that resets are spread over time.
        collect_stats: True: every counter of the simulator goes into `Episode.stats`.
    """

    tasks: tuple[tuple[str, Task], ...]
    num_envs: int
    seeds: EpisodeSeeds
    combat_vocabulary: bool = False
    pick_task: PickTask = lambda env, episode: 0
    num_threads: int = 1
    stagger: bool = False
    collect_stats: bool = False


class MettaGridVector:
    """N MettaGrid simulations behind flat buffers; see `VectorEnvironment`."""

    def __init__(self, setup: MettaGridSetup) -> None:
        self._setup = setup
        self._tasks = [task for _, task in setup.tasks]
        games = [game_config(task, setup.combat_vocabulary) for task in self._tasks]
        self._cpp = [c_config.convert_to_cpp_game_config(game) for game in games]
        self.num_envs, self.agents_per_env = setup.num_envs, self._tasks[0].num_agents
        self.action_space: ActionSpace = Discrete(len(games[0].actions.actions()))
        self.encoder: Encoder = TokenEncoder(games[0])
        self._allocate(games[0])
        self._sims: list[MettaGrid] = []
        self._steps: list[Callable[[], None]] = []
        self._task_of = np.zeros(self.num_envs, dtype=np.int64)
        self._episode_of = np.zeros(self.num_envs, dtype=np.int64)
        self._elapsed = np.zeros(self.num_envs, dtype=np.int64)
        self._limit = np.zeros(self.num_envs, dtype=np.int64)
        self._finished: list[Episode] = []
        self._threads = ThreadPoolExecutor(setup.num_threads) if setup.num_threads > 1 else None

    def _allocate(self, game: GameConfig) -> None:
        rows = self.num_envs * self.agents_per_env
        self.observations = np.zeros((rows, game.obs.num_tokens, 3), dtype=np.uint8)
        self._final = np.zeros_like(self.observations)
        self.rewards = np.zeros(rows, dtype=np.float32)
        self.terminals = np.zeros(rows, dtype=bool)
        self.truncations = np.zeros(rows, dtype=bool)
        self.valid = np.ones(rows, dtype=bool)
        self._actions = np.zeros(rows, dtype=np.int32)
        self._vibes = np.zeros(rows, dtype=np.int32)

    def reset(self) -> None:
        self._sims, self._steps = [], []
        self._episode_of[:] = 0
        for env in range(self.num_envs):
            sim = self._start_episode(env)
            self._sims.append(sim)
            self._steps.append(sim.step)
            if self._setup.stagger:
                self._limit[env] = max(1, self._limit[env] * (env + 1) // self.num_envs)
        self.rewards[:] = 0.0
        self.terminals[:] = False
        self.truncations[:] = False

    def step(self, actions: np.ndarray) -> None:
        self._actions[:] = actions
        if self._threads is None:
            for step in self._steps:
                step()
        else:
            list(
                self._threads.map(
                    _step_all, np.array_split(np.array(self._steps, dtype=object), self._setup.num_threads)
                )
            )
        self._elapsed += 1
        self.truncations[:] = (
            False  # only the limits below count: staggered episodes end before the simulator thinks so
        )
        for env in np.flatnonzero(self._elapsed >= self._limit):
            self._end_episode(int(env))

    def _end_episode(self, env: int) -> None:
        rows = self._rows(env)
        self._final[rows] = self.observations[rows]
        rewards = self.rewards[rows].copy()
        self._finished.append(self._summary(env))
        self._episode_of[env] += 1
        sim = self._start_episode(env)
        self._sims[env], self._steps[env] = sim, sim.step
        self.rewards[rows] = rewards  # the new simulation cleared them
        self.truncations[rows] = True

    def _start_episode(self, env: int) -> MettaGrid:
        episode = int(self._episode_of[env])
        index = self._setup.pick_task(env, episode)
        map_seed, sim_seed = self._setup.seeds(env, episode).spawn(2)
        cpp_config, renames = self._cpp[index]
        grid = random_map(self._tasks[index], np.random.default_rng(map_seed))
        sim = MettaGrid(cpp_config, c_config.rename_map_agents(grid, renames), simulator_seed(sim_seed))
        rows = self._rows(env)
        self._actions[rows] = 0
        sim.set_buffers(
            self.observations[rows],
            self.terminals[rows],
            self.truncations[rows],
            self.rewards[rows],
            self._actions[rows],
            self._vibes[rows],
        )
        self._task_of[env], self._elapsed[env], self._limit[env] = index, 0, self._tasks[index].max_steps
        return sim

    def _summary(self, env: int) -> Episode:
        sim = self._sims[env]
        agents = range(self.agents_per_env)
        hearts = [
            (sim.get_agent_stat(a, "heart.gained") or 0.0) - (sim.get_agent_stat(a, "heart.lost") or 0.0)
            for a in agents
        ]
        return Episode(
            env=env,
            number=int(self._episode_of[env]),
            task=self._setup.tasks[int(self._task_of[env])][0],
            num_steps=int(self._elapsed[env]),
            score=float(np.mean(hearts)),
            shaped_return=float(np.mean(sim.get_episode_rewards())),
            is_whole=bool(self._elapsed[env] == self._tasks[int(self._task_of[env])].max_steps),
            stats=_mean_stats(sim.get_episode_stats()["agent"]) if self._setup.collect_stats else {},
        )

    def _rows(self, env: int) -> slice:
        return slice(env * self.agents_per_env, (env + 1) * self.agents_per_env)

    def final_observations(self) -> np.ndarray:
        return self._final

    def drain_episodes(self) -> list[Episode]:
        finished, self._finished = self._finished, []
        return finished

    def close(self) -> None:
        if self._threads is not None:
            self._threads.shutdown()
        self._sims, self._steps = [], []


def simulator_seed(stream: np.random.SeedSequence) -> int:
    """The simulator takes a number of 31 bits."""
    return int(stream.generate_state(1)[0] >> np.uint32(1))


def _step_all(steps: Sequence[Callable[[], None]]) -> None:
    for step in steps:
        step()


def _mean_stats(agents: Sequence[dict[str, float]]) -> dict[str, float]:
    """Mean over agents of every counter; an agent without it counts as 0."""
    names = sorted({name for stats in agents for name in stats})
    return {name: float(np.mean([stats.get(name, 0.0) for stats in agents])) for name in names}
