"""Agent steps per second of wall time against the number of environment workers: stepping alone, and PPO end to end.

All settings stay alive and train in turn, block by block, in one process, so that other load hits all of them alike;
a ratio is the median over rounds. On a busy machine wall time says nothing about processes: look at the load first.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Mapping
from statistics import median
from typing import Any

import numpy as np
import pytest
import torch

from trainables.distributed import DistributedContext
from trainables.environments.vector import EnvironmentVector, VectorOptions
from trainables.environments.workers import EnvironmentWorkers
from trainables.metering import Meter
from trainables.ppo.trainer import PpoTrainer
from trainables.seeding import TrainingSeeds
from trainables.spec import RunSpec

pytestmark = [pytest.mark.benchmark, pytest.mark.timeout(900)]
CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
ON_GPU = torch.cuda.is_available()
COUNTS = [count for count in (0, 1, 2, 4, 8, 15) if count <= max(2, CORES - 1)]
ROUNDS = 7
Work = tuple[Callable[[], int], Callable[[], None]]  # does some steps and says how many; ends it
SMALL = {"num_envs": 256, "batch_size": 32_768, "minibatch_size": 4096, "update_epochs": 2}
LARGE = {"num_envs": 1024, "batch_size": 131_072, "minibatch_size": 32_768, "update_epochs": 2}


def rates(settings: Mapping[int, Callable[[], int]], seconds: float = 0.0) -> dict[int, list[float]]:
    """Steps per second of each, round by round; each call does some steps and returns how many."""
    found: dict[int, list[float]] = {name: [] for name in settings}
    for _ in range(ROUNDS):
        for name, work in settings.items():
            began, steps = time.perf_counter(), work()
            while time.perf_counter() - began < seconds:
                steps += work()
            found[name].append(steps / (time.perf_counter() - began))
    return found


def over(found: Mapping[int, list[float]], first: int, second: int) -> float:
    """Median over rounds of one rate over another."""
    return median(a / b for a, b in zip(found[first], found[second], strict=True))


def report(title: str, found: Mapping[int, list[float]], base: int) -> None:
    load = os.getloadavg()[0]
    print(f"\n{title} ({CORES} cores, load {load:.1f})")
    for name, values in found.items():
        print(f"  {name:2d} workers: {median(values):9.0f} steps/s  {over(found, name, base):5.2f} of {base}")


def stepping(count: int, num_envs: int) -> Work:
    """Random steps of a vector, both groups at work at once."""
    workers = EnvironmentWorkers(count)
    spec = RunSpec.from_mapping({})
    env = EnvironmentVector(spec.environment, VectorOptions(num_envs, TrainingSeeds(0, 0, 0), stagger=True), workers)
    env.reset()
    actions = np.random.default_rng(0).integers(0, 5, (64, len(env.rewards)))

    def work() -> int:
        for row in actions:
            env.step(row)
        env.drain_episodes()
        return actions.size

    work()
    return work, workers.close


def test_two_processes_step_almost_twice_as_fast_as_one() -> None:
    made = {count: stepping(count, 256) for count in COUNTS}
    found = rates({count: work for count, (work, _) in made.items()}, seconds=1.0)
    for _, close in made.values():
        close()
    report("stepping alone, 256 environments", found, base=1)
    assert over(found, 2, 1) >= 1.8


def training(
    count: int, model: dict[str, Any], trainer: dict[str, Any]
) -> tuple[Callable[[], int], Callable[[], None]]:
    """Updates of PPO."""
    torch.set_num_threads(1)
    device = torch.device("cuda" if ON_GPU else "cpu")
    section = {**trainer, "total_timesteps": 10**12, "num_workers": count, "simulation": {"curve_points": 0}}
    if ON_GPU:
        section |= {"compile": True, "cuda_graphs": True}
    resources = {"gpus_per_worker": float(ON_GPU)}
    spec = RunSpec.from_mapping({"device": device.type, "trainer": section, "model": model, "resources": resources})
    workers = EnvironmentWorkers(count)
    learner = PpoTrainer(spec, DistributedContext(device=device), Meter("train"), workers=workers)
    learner._env.reset()

    def work() -> int:
        learner._update()
        return learner.plan.batch_size

    for _ in range(4 if ON_GPU else 1):  # compiles, and warms up
        work()
    return work, workers.close


@pytest.mark.parametrize(
    ("title", "model", "trainer"),
    [
        ("mlp 64 wide, 256 environments", {"hidden_size": 64}, SMALL),
        ("mlp 512 wide, 256 environments", {"hidden_size": 512}, SMALL),
        ("mlp 512 wide, 1,024 environments", {"hidden_size": 512}, LARGE),
        ("lstm 256 wide, 1,024 environments", {"type": "lstm", "hidden_size": 256}, LARGE),
    ],
)
def test_ppo_uses_the_cores(title: str, model: dict[str, Any], trainer: dict[str, Any]) -> None:
    if not ON_GPU and model["hidden_size"] > 64:
        pytest.skip("without a GPU a wide network learns for so long that stepping hardly matters")
    counts = [0, *COUNTS[-1:]] if ON_GPU else COUNTS
    made = {count: training(count, model, trainer) for count in counts}
    found = rates({count: work for count, (work, _) in made.items()}, seconds=2.0)
    for _, close in made.values():
        close()
    report(f"{'GPU' if ON_GPU else 'CPU'}, {title}", found, base=0)
    if not ON_GPU:
        assert over(found, 2, 0) >= 1.4


def seconds_of_a_step(workers: EnvironmentWorkers | None) -> float:
    """Median over steps of one CartPole, which takes next to no time itself."""
    spec = RunSpec.from_mapping({"trainer": {"curriculum": "/env/gymnasium/CartPole-v1"}})
    env = EnvironmentVector(spec.environment, VectorOptions(1, TrainingSeeds(0, 0, 0)), workers)
    env.reset()
    (((_, host),),) = env._hosts
    seconds = []
    for _ in range(5000):
        began = time.perf_counter()
        host.step()
        host.wait()
        seconds.append(time.perf_counter() - began)
    env.close()
    return median(seconds)


def test_waking_a_worker_takes_microseconds() -> None:
    """A step in a worker less the same step in this process."""
    workers = EnvironmentWorkers(1)
    cost = 1e6 * (seconds_of_a_step(workers) - seconds_of_a_step(None))
    workers.close()
    print(json.dumps({"wake_microseconds": round(cost, 1), "load": os.getloadavg()[0]}))
    assert cost < 50.0
