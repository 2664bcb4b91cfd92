"""Sizes that a run really uses: whatever a search proposes is rounded here, by fixed rules, to something that
trains.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from trainables.ppo.config import TrainerConfig


@dataclass(frozen=True, slots=True)
class TrainingPlan:
    """Sizes of a run.

    Attributes:
        num_envs: environments of this rank.
        rows: agents of this rank.
        horizon: steps of a rollout.
        batch_size: agent steps per update over all ranks.
        num_minibatches: gradient steps per epoch; the batch is cut into this many parts, equal up to one sample.
        bptt_horizon: length of a segment for recurrent policies; divides `horizon`.
        num_updates: updates of the whole run.
    """

    num_envs: int
    rows: int
    horizon: int
    batch_size: int
    num_minibatches: int
    bptt_horizon: int
    num_updates: int

    @property
    def total_env_steps(self) -> int:
        return self.num_updates * self.batch_size


def plan(trainer: TrainerConfig, agents_per_env: int, world_size: int) -> TrainingPlan:
    """The sizes nearest to what is asked for.

    Rules: each rank gets the same number of environments, at least one; a rollout is a whole number of steps, at least
    one; a batch is a whole number of minibatches, at least one; a run is a whole number of updates, at least one.
    """
    num_envs = max(1, round(trainer.num_envs / world_size))
    rows = num_envs * agents_per_env
    horizon = max(1, round(trainer.batch_size / (rows * world_size)))
    batch_size = horizon * rows * world_size
    bptt_horizon = max(d for d in range(1, min(trainer.bptt_horizon, horizon) + 1) if horizon % d == 0)
    return TrainingPlan(
        num_envs=num_envs,
        rows=rows,
        horizon=horizon,
        batch_size=batch_size,
        num_minibatches=min(max(1, round(batch_size / trainer.minibatch_size)), horizon * rows),
        bptt_horizon=bptt_horizon,
        num_updates=max(1, round(trainer.total_timesteps / batch_size)),
    )


def curve_updates(num_updates: int, num_points: int, interval: int) -> frozenset[int]:
    """Updates after which the policy is evaluated on the way: at 1/2, 1/4, ... of the run, and every `interval`
    updates; never the last.
    """
    halves = {math.ceil(num_updates / 2**k) for k in range(1, num_points + 1)}
    regular = set(range(interval, num_updates, interval)) if interval else set()
    return frozenset(update for update in halves | regular if update < num_updates)
