"""A vector of environments, stepped by this process or by several others; the training is the same, bit for bit.

A large vector is cut into two groups, so that the policy acts for one while the other steps. How it is cut depends on
its size alone, never on how many processes there are: the policy sees the same batches everywhere.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

import numpy as np

from trainables.environments.catalog import Family
from trainables.environments.interface import BlockOptions, Buffers, EnvironmentBlock, Episode
from trainables.environments.memory import BufferLayout, open_memory
from trainables.environments.workers import EnvironmentWorkers
from trainables.seeding import EpisodeSeeds

# Rows from which a vector is cut into two groups. Acting (an mlp of 64 on one core) took 0.36 ms for one row, 1.1 for
# 128 and 5.6 for 1,024: from here on two calls in place of one cost little; not tuned beyond that.
OVERLAP_ROWS = 1024
Stats = Mapping[int, Mapping[str, float]]  # what was counted in episodes that ended, by environment


@dataclass(frozen=True, slots=True)
class VectorOptions:
    """What a vector of environments is made of.

    Attributes:
        num_envs: environments in the vector.
        seeds: stream of every episode.
        stagger: True: first episodes are cut short, each at another length, so that resets are spread over time.
        collect_stats: True: everything that the environments count goes into `Episode.stats`.
        pick_task: (environment, episode number) -> index of the task that an episode plays.
    """

    num_envs: int
    seeds: EpisodeSeeds
    stagger: bool = False
    collect_stats: bool = False
    pick_task: Callable[[int, int], int] | None = None


class BlockHost(Protocol):
    """Whoever steps one block: this process, or a worker."""

    def reset(self) -> None:
        """Begin the first episodes."""

    def step(self) -> None:
        """Begin a step."""

    def wait(self) -> Stats:
        """Ends what was begun; stats by index within the block."""

    def close(self) -> None:
        """Frees the block."""


class LocalHost:
    """Steps a block in this process."""

    def __init__(self, block: EnvironmentBlock) -> None:
        self._block = block

    def reset(self) -> None:
        self._block.reset()

    def step(self) -> None:
        self._block.step()

    def wait(self) -> Stats:
        return self._block.take_stats()

    def close(self) -> None:
        self._block.close()


class EnvironmentVector:
    """N environments x M agents.

    Args:
        family: the environments.
        options: how many of them, and their episodes.
        workers: processes that step them; None or none = this process does.

    Attributes:
        description: of a row.
        groups: rows of each group.
        observations, final_observations, rewards, valid, terminals, truncations: of all rows; see `Buffers`.
    """

    def __init__(self, family: Family, options: VectorOptions, workers: EnvironmentWorkers | None = None) -> None:
        self.description = description = family.describe()
        self.num_envs, self.agents_per_env = options.num_envs, family.agents_per_env
        self._options, self._task_names = options, family.task_names
        self._layout = BufferLayout.of(description, self.num_envs, self.agents_per_env)
        self._envs = groups_of(self.num_envs, self.agents_per_env, family.is_divisible)
        self.groups = tuple(map(self._layout.rows, self._envs))
        self._seen = np.zeros(self.num_envs, dtype=np.int64)
        self._episodes: list[Episode] = []
        self._hosts: list[list[tuple[int, BlockHost]]] = [[] for _ in self._envs]
        descriptor = open_memory(self._layout.num_bytes)
        try:
            buffers: Buffers = self._layout.map(mmap.mmap(descriptor, self._layout.num_bytes))
            self._buffers = buffers
            self.observations, self.final_observations = buffers.observations, buffers.final_observations
            self.rewards, self.valid = buffers.rewards, buffers.valid
            self.terminals, self.truncations = buffers.terminals, buffers.truncations
            self._open(family, descriptor, workers)
        finally:
            os.close(descriptor)

    def _open(self, family: Family, descriptor: int, workers: EnvironmentWorkers | None) -> None:
        count = workers.count if workers is not None else 0
        opened = []
        for group, envs in enumerate(self._envs):
            for number, part in enumerate(split(envs, count if family.is_divisible else min(count, 1))):
                options = BlockOptions(
                    first_env=part.start,
                    num_envs=part.stop - part.start,
                    total_envs=self.num_envs,
                    seeds=self._options.seeds,
                    stagger=self._options.stagger,
                    collect_stats=self._options.collect_stats,
                )
                host: BlockHost
                if workers is not None and count:
                    host = worker_host = workers.open(number, family, options, self._layout, descriptor)
                    opened.append(worker_host)
                else:
                    host = LocalHost(family.block(options, self._layout.part(self._buffers, part)))
                self._hosts[group].append((part.start, host))
        for opening in opened:
            opening.wait()

    def reset(self) -> None:
        """Starts the first episode everywhere."""
        self._episodes, self._seen[:] = [], 0
        self.pick_tasks(0)
        hosts = [host for group in self._hosts for _, host in group]
        for host in hosts:
            host.reset()
        for host in hosts:
            host.wait()
        self.pick_tasks()

    def pick_tasks(self, ahead: int = 1) -> None:
        """Settles which task the next episode of every environment plays; to be called whenever `pick_task` may have
        changed its mind.
        """
        if len(self._task_names) > 1:
            for env in range(self.num_envs):
                self._pick_task(env, ahead)

    def _pick_task(self, env: int, ahead: int = 1) -> None:
        if self._options.pick_task is not None:
            self._buffers.next_tasks[env] = self._options.pick_task(env, int(self._seen[env]) + ahead)

    def step(self, actions: np.ndarray) -> None:
        """One step of every environment; actions are (rows, ...)."""
        for group, rows in enumerate(self.groups):
            self.send(group, actions[rows])
        for group in range(len(self.groups)):
            self.receive(group)

    def send(self, group: int, actions: np.ndarray) -> None:
        """Begins a step of a group; its buffers belong to the environments until `receive`."""
        self._buffers.actions[self.groups[group]] = actions
        for _, host in self._hosts[group]:
            host.step()

    def receive(self, group: int) -> None:
        """Waits until the step of a group is done."""
        stats: dict[int, Mapping[str, float]] = {}
        for first, host in self._hosts[group]:
            stats |= {first + env: counted for env, counted in host.wait().items()}
        envs = self._envs[group]
        finished = self._buffers.episodes["finished"][envs]
        for env in np.flatnonzero(finished != self._seen[envs]) + envs.start:
            self._note(int(env), stats.get(int(env), {}))

    def _note(self, env: int, stats: Mapping[str, float]) -> None:
        told = self._buffers.episodes[env]
        self._episodes.append(
            Episode(
                env=env,
                number=int(self._seen[env]),
                task=self._task_names[int(told["task"])],
                num_steps=int(told["num_steps"]),
                score=float(told["score"]),
                shaped_return=float(told["shaped_return"]),
                stats=stats,
                is_whole=bool(told["is_whole"]),
            )
        )
        self._seen[env] = told["finished"]
        if len(self._task_names) > 1:
            self._pick_task(env)

    def drain_episodes(self) -> list[Episode]:
        """Episodes finished since the last call, step by step, in order of environments."""
        finished, self._episodes = self._episodes, []
        return finished

    def close(self) -> None:
        """Frees what the environments hold."""
        for group in self._hosts:
            for _, host in group:
                host.close()
            group.clear()


def groups_of(num_envs: int, agents_per_env: int, is_divisible: bool) -> tuple[slice, ...]:
    """Environments of each group; see `OVERLAP_ROWS`."""
    overlaps = is_divisible and num_envs > 1 and num_envs * agents_per_env >= OVERLAP_ROWS
    return tuple(split(slice(0, num_envs), 2 if overlaps else 1))


def split(envs: slice, parts: int) -> Sequence[slice]:
    """Environments in so many parts as equal as possible, none of them empty."""
    count = envs.stop - envs.start
    parts = max(1, min(parts, count))
    edges = [envs.start + count * part // parts for part in range(parts + 1)]
    return [slice(first, last) for first, last in pairwise(edges)]
