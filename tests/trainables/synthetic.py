"""Rollouts without environments, and a spawned group of ranks, for tests of learning."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from trainables.distributed import DistributedContext
from trainables.environments.interface import Discrete, GridShape
from trainables.ppo.config import ModelConfig, TrainerConfig
from trainables.ppo.learner import Learner
from trainables.ppo.plan import TrainingPlan
from trainables.ppo.policy import Policy
from trainables.ppo.rollout import Rollout

FEATURES, ACTIONS = 6, 3


class PlainEncoder:
    """Six numbers."""

    shape: tuple[int, ...] = (FEATURES,)
    dtype = torch.float32
    grid: GridShape | None = None

    def encode(self, observations: torch.Tensor) -> torch.Tensor:
        return observations


def make_policy(kind: str = "mlp", seed: int = 0) -> Policy:
    torch.manual_seed(seed)
    return Policy(PlainEncoder(), Discrete(ACTIONS), ModelConfig(type=kind, hidden_size=8))


def make_rollout(policy: Policy, horizon: int = 8, rows: int = 8, segment: int = 4, seed: int = 0) -> Rollout:
    """Random experience whose log-probabilities and values are the policy's own."""
    generator = torch.Generator().manual_seed(seed)
    observations = torch.randn((horizon, rows, FEATURES), generator=generator)
    actions = torch.randint(0, ACTIONS, (horizon, rows), generator=generator)
    starts = torch.rand((horizon, rows), generator=generator) < 0.2
    memories = torch.randn((horizon // segment, 2, rows, policy.memory_size), generator=generator)
    values = torch.randn((horizon + 1, rows), generator=generator)
    truncations = torch.zeros((horizon, rows), dtype=torch.bool)
    terminals = torch.zeros((horizon, rows), dtype=torch.bool)
    terminals[:-1] = starts[1:]
    log_probs = torch.full((horizon, rows), -1.1)
    weights = (torch.rand((horizon, rows), generator=generator) > 0.1).float()
    rewards = torch.randn((horizon, rows), generator=generator)
    return Rollout(
        observations,
        actions,
        log_probs,
        values,
        rewards,
        terminals,
        truncations,
        torch.zeros((horizon, rows)),
        weights,
        starts,
        memories,
    )


def rows_of(rollout: Rollout, rows: slice) -> Rollout:
    """Some rows of a rollout, as one of several ranks would have collected them."""
    cut = {name: getattr(rollout, name)[:, rows] for name in Rollout.__slots__ if name != "memories"}
    return Rollout(**cut, memories=rollout.memories[:, :, rows])


def make_learner(
    policy: Policy, context: DistributedContext, rows: int, num_minibatches: int = 1, **trainer: Any
) -> Learner:
    config = TrainerConfig(update_epochs=1, **trainer)
    sizes = TrainingPlan(rows, rows, 8, 8 * rows * context.world_size, num_minibatches, 4, 1)
    return Learner(policy, config, sizes, context)


def spawn(work: Callable[[DistributedContext, Path], None], world_size: int, directory: Path) -> None:
    """Runs `work` on every rank of a fresh gloo group, each in a process of its own; fails when one of them does."""
    processes = multiprocessing.get_context("spawn")
    ranks = [processes.Process(target=_rank, args=(work, rank, world_size, directory)) for rank in range(world_size)]
    for process in ranks:
        process.start()
    for process in ranks:
        process.join(120)
        assert process.exitcode == 0, f"a rank ended with {process.exitcode}"


def _rank(work: Callable[[DistributedContext, Path], None], rank: int, world_size: int, directory: Path) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{directory}/rendezvous", rank=rank, world_size=world_size)
    work(DistributedContext(rank, rank, world_size), directory)
    dist.destroy_process_group()
