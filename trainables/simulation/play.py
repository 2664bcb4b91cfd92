"""Plays the held-out episodes of a suite with a policy, many at a time."""

from __future__ import annotations

from collections.abc import MutableMapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import count

import torch

from trainables.environments.interface import Episode
from trainables.environments.vector import EnvironmentVector, VectorOptions
from trainables.environments.workers import EnvironmentWorkers
from trainables.errors import CodeFailure
from trainables.ppo.policy import Policy
from trainables.pulse import Pulse
from trainables.seeding import EvaluationSeeds, Purpose, stream_seed
from trainables.simulation.aggregate import PlayedEpisode
from trainables.simulation.config import Simulation, Suite
from trainables.simulation.replay import Trajectory

MAX_ENVS = 64  # episodes at once: bounds the memory of an evaluation; a round number, not tuned
MAX_EPISODE_STEPS = 200_000  # where the environment names no time limit above it
STEPS_WITHOUT_LIMIT = 1000  # of an episode that count as steps forward where the environment names no time limit


@dataclass(frozen=True, slots=True)
class Share:
    """Which episodes one rank plays: of each simulation, those whose index is `rank` modulo `world_size`.

    Attributes:
        rank: this rank.
        world_size: ranks that share the work.
        purpose: EVAL_EPISODE, or CURVE_EPISODE for points on the way: those are other maps, so that nothing is selected
            on the final ones.
        max_episodes: per simulation; None = as many as the suite says.
    """

    rank: int = 0
    world_size: int = 1
    purpose: Purpose = Purpose.EVAL_EPISODE
    max_episodes: int | None = None

    def of(self, episodes: int) -> tuple[int, ...]:
        played = episodes if self.max_episodes is None else min(episodes, self.max_episodes)
        return tuple(range(self.rank, played, self.world_size))


@torch.inference_mode()
def play(
    suite: Suite,
    policy: Policy,
    share: Share,
    trajectories: MutableMapping[str, Trajectory] | None = None,
    pulse: Pulse | None = None,
    workers: EnvironmentWorkers | None = None,
) -> list[PlayedEpisode]:
    """This rank's episodes of every simulation. The same policy, seed and share give the same episodes.

    Args:
        suite: what to play.
        policy: who plays.
        share: which episodes.
        trajectories: gets the first of them, by simulation, for `replay.write`.
        pulse: beats as episodes come forward.
        workers: processes that step the environments; None = this one does. Episodes are the same.

    Raises:
        CodeFailure: an episode does not end.
    """
    pulse, device = pulse or Pulse(), policy.device
    played: list[PlayedEpisode] = []
    for number, simulation in enumerate(suite.simulations):
        indices = share.of(simulation.episodes)
        seed = stream_seed(Purpose.EVAL_ACTION, suite.seed, int(share.purpose), number, share.rank)
        generator = None if suite.greedy else torch.Generator(device).manual_seed(seed)
        for start in range(0, len(indices), MAX_ENVS):
            chunk = indices[start : start + MAX_ENVS]
            seeds = EvaluationSeeds(suite.seed, chunk, share.purpose)
            env = EnvironmentVector(simulation.family, VectorOptions(len(chunk), seeds, collect_stats=True), workers)
            trajectory = None  # only the first episode leaves one
            if trajectories is not None and not start:
                trajectory = trajectories.setdefault(simulation.name, Trajectory())
            watch = Watch(pulse, suite.name, simulation.name, simulation.family.step_limit())
            try:
                episodes = play_once(env, policy, generator, trajectory, watch)
            finally:
                env.close()
            played += _rows(simulation, chunk, episodes)
    return played


@dataclass(frozen=True, slots=True)
class Watch:
    """Sees whether episodes come forward.

    A step is a step forward up to the environment's own time limit; beyond that, and where there is none beyond the
    first few, only the end of an episode is: an environment whose episodes never end makes steps for ever.

    Attributes:
        pulse: beats meanwhile.
        suite: that is played.
        simulation: of it.
        limit: steps of an episode; None = the environment names none.
    """

    pulse: Pulse
    suite: str
    simulation: str
    limit: int | None

    def step(self, number: int, num_ended: int) -> None:
        """After a step, numbered from 0, in which so many first episodes ended.

        Raises:
            CodeFailure: nothing ends.
        """
        if num_ended or number < (self.limit or STEPS_WITHOUT_LIMIT):
            self.pulse.beat(self.suite, self.simulation)
        self.pulse.check()
        if number >= max(MAX_EPISODE_STEPS, self.limit or 0):
            late = f"suite {self.suite}, simulation {self.simulation}: an episode did not end within {number} steps"
            signature = f"episodes of {self.suite}/{self.simulation} do not end"
            raise CodeFailure(f"{late}; use an environment with a time limit (env.max_steps)", signature)


def play_once(
    env: EnvironmentVector,
    policy: Policy,
    generator: torch.Generator | None,
    trajectory: Trajectory | None,
    watch: Watch,
) -> list[Episode]:
    """The first episode of every environment; without `generator` by the likeliest actions; `trajectory` gets one."""
    watch.pulse.beat(watch.suite, watch.simulation)
    device = policy.device
    env.reset()
    memory = policy.initial_memory(env.num_envs * env.agents_per_env, device)
    first: dict[int, Episode] = {}
    for number in count():
        observations = env.description.encoder.encode(torch.from_numpy(env.observations).to(device))
        outputs, _, memory = policy.step(observations, memory)
        distribution = policy.distribution
        if generator is None:
            actions = distribution.mode(outputs)
        else:
            actions, _ = distribution.sample(outputs, distribution.noise(len(outputs), generator))
        step = env.step if trajectory is None or 0 in first else partial(trajectory.step, env)
        step(actions.cpu().numpy())
        known = len(first)
        for episode in env.drain_episodes():
            first.setdefault(episode.env, episode)
        if len(first) == env.num_envs:
            break
        watch.step(number, len(first) - known)
    return [first[index] for index in range(env.num_envs)]


def _rows(simulation: Simulation, indices: Sequence[int], episodes: Sequence[Episode]) -> list[PlayedEpisode]:
    return [
        PlayedEpisode(simulation.name, index, one.task, one.num_steps, one.score, one.shaped_return, one.stats)
        for index, one in zip(indices, episodes, strict=True)
    ]
