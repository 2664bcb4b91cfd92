"""CartPole against stable-baselines3, in turn on the same machine, one thread each.

stable-baselines3 runs in the interpreter that METTA_SWEEP_SB3_PYTHON names (default: this one).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections import deque
from pathlib import Path
from statistics import median
from typing import Any

import pytest
import torch

from trainables.distributed import DistributedContext
from trainables.environments.vector import EnvironmentVector, VectorOptions
from trainables.ppo.learner import Learner
from trainables.ppo.plan import plan
from trainables.ppo.rollout import Collector
from trainables.ppo.trainer import make_policy, schedule
from trainables.seeding import TrainingSeeds
from trainables.spec import RunSpec

pytestmark = [pytest.mark.benchmark, pytest.mark.timeout(3600)]
PYTHON = os.environ.get("METTA_SWEEP_SB3_PYTHON", sys.executable)
SCRIPT = Path(__file__).with_name("cartpole_sb3.py")
SAME = {
    "num_envs": 4, "batch_size": 512, "minibatch_size": 128, "update_epochs": 4, "schedule": "constant",
    "ppo": {"gamma": 0.99, "gae_lambda": 0.95, "ent_coef": 0.01, "vf_clip_coef": 0.0},
    "optimizer": {"learning_rate": 2.5e-4},
}  # fmt: skip
BATCHED = {
    "num_envs": 64, "batch_size": 2048, "minibatch_size": 256, "update_epochs": 4, "total_timesteps": 300_000,
    "ppo": {"gamma": 0.98, "gae_lambda": 0.8, "ent_coef": 0.0, "vf_clip_coef": 0.0},
    "optimizer": {"learning_rate": 5e-3},
}  # fmt: skip


def sb3(*arguments: object) -> dict[str, float]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    run = subprocess.run(
        [PYTHON, str(SCRIPT), *map(str, arguments)], env=environment, capture_output=True, text=True, check=False
    )
    if "No module named 'stable_baselines3'" in run.stderr:
        pytest.skip(f"{PYTHON} has no stable-baselines3; name one that has in METTA_SWEEP_SB3_PYTHON")
    assert run.returncode == 0, run.stderr
    answer: dict[str, float] = json.loads(run.stdout.splitlines()[-1])
    return answer


class Ours:
    """Our training loop, stepped by hand; separate networks for policy and value, as stable-baselines3 has."""

    def __init__(self, trainer: dict[str, Any], seed: int = 0) -> None:
        torch.set_num_threads(1)
        mapping = {
            "seed": seed,
            "trainer": {**trainer, "curriculum": "/env/gymnasium/CartPole-v1"},
            "model": {"separate_critic": True},
        }
        self.spec, context = RunSpec.from_mapping(mapping), DistributedContext()
        self.plan = plan(self.spec.trainer, 1, 1)
        options = VectorOptions(self.plan.num_envs, TrainingSeeds(seed, 0, 0))
        self.env = EnvironmentVector(self.spec.environment, options)
        policy = make_policy(self.spec, context, self.env.description)
        self.learner = Learner(policy, self.spec.trainer, self.plan, context)
        self.collector = Collector(self.env, policy, self.plan.horizon, self.plan.bptt_horizon, context.device)
        self.generator = torch.Generator().manual_seed(seed)
        self.env.reset()
        self.updates = self.valid_steps = 0

    def update(self) -> list[float]:
        """One update; returns of the episodes that ended."""
        settings = self.spec.trainer
        rate = settings.optimizer.learning_rate * schedule(settings.schedule, self.updates / self.plan.num_updates)
        rollout = self.collector.collect(self.generator)
        self.valid_steps += int(rollout.weights.sum())  # a step that only resets is none
        self.learner.update(rollout, rate, self.generator)
        self.updates += 1
        return [episode.score for episode in self.env.drain_episodes()]


def our_speed(steps: int) -> float:
    ours = Ours(SAME)
    while ours.valid_steps < 1024:
        ours.update()
    first, began = ours.valid_steps, time.process_time()
    while ours.valid_steps - first < steps:
        ours.update()
    return (ours.valid_steps - first) / (time.process_time() - began)


def our_time_until(score: float, seed: int) -> tuple[float, int]:
    ours = Ours(BATCHED, seed)
    returns: deque[float] = deque(maxlen=100)
    began = time.process_time()
    while len(returns) < 100 or sum(returns) / 100 < score:
        assert ours.updates < ours.plan.num_updates, f"no mean return of {score} within the run"
        returns.extend(ours.update())
    return time.process_time() - began, ours.updates * ours.plan.batch_size


def test_the_same_network_and_settings_are_a_third_faster() -> None:
    rounds = [(sb3("speed", 20_480)["steps_per_cpu_second"], our_speed(20_480)) for _ in range(5)]
    theirs, ours = median(a for a, _ in rounds), median(b for _, b in rounds)
    print(
        f"steps per CPU-second: stable-baselines3 {theirs:.0f}, ours {ours:.0f}, ratio "
        f"{median(b / a for a, b in rounds):.2f}"
    )
    assert median(b / a for a, b in rounds) >= 1.3


def test_batched_settings_balance_the_pole_in_three_tenths_of_the_time() -> None:
    rounds = [(sb3("until", 475, seed)["cpu_seconds"], our_time_until(475, seed)[0]) for seed in range(5)]
    theirs, ours = median(a for a, _ in rounds), median(b for _, b in rounds)
    print(
        f"CPU-seconds to a mean return of 475: stable-baselines3 {theirs:.1f}, ours {ours:.1f}, ratio "
        f"{ours / theirs:.2f}"
    )
    assert ours <= 0.3 * theirs
