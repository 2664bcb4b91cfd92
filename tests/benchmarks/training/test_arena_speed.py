"""Steps per CPU-second on the basic arena: where the time goes, against the bare simulator and over ranks.

Ratios are measured in one process, piece by piece in turn, so that other load on the machine hits both sides alike.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.trainables.synthetic import spawn
from trainables.distributed import DistributedContext
from trainables.environments.vector import EnvironmentVector, VectorOptions
from trainables.ppo.learner import Learner
from trainables.ppo.plan import plan
from trainables.ppo.rollout import Collector
from trainables.ppo.trainer import make_policy
from trainables.seeding import TrainingSeeds
from trainables.spec import RunSpec

pytestmark = [pytest.mark.benchmark, pytest.mark.timeout(900)]
SETTINGS = {"update_epochs": 2, "minibatch_size": 1024}


@dataclass
class Bench:
    """One rank's training, taken apart; CPU seconds by part."""

    context: DistributedContext
    seconds: dict[str, float] = field(
        default_factory=lambda: dict.fromkeys(("simulator", "environment", "encode", "rollout", "update"), 0.0)
    )
    steps: int = 0

    def __post_init__(self) -> None:
        torch.set_num_threads(1)
        world = self.context.world_size
        sizes = {"num_envs": 32 * world, "batch_size": 8192 * world, "minibatch_size": 1024 * world}
        self.spec = RunSpec.from_mapping({"trainer": {**SETTINGS, **sizes}, "resources": {"world_size": world}})
        self.plan = plan(self.spec.trainer, 4, world)
        self.bare, self.env = (self._environment() for _ in range(2))
        self.policy = make_policy(self.spec, self.context, self.env.description)
        self.learner = Learner(self.policy, self.spec.trainer, self.plan, self.context)
        self.collector = Collector(
            self.env, self.policy, self.plan.horizon, self.plan.bptt_horizon, self.context.device
        )
        self.generator = torch.Generator().manual_seed(self.context.rank)
        self.env.send = self._timed("environment", self.env.send)  # type: ignore[method-assign]
        encoder = self.env.description.encoder
        encoder.encode = self._timed("encode", encoder.encode)  # type: ignore[method-assign]

    def _environment(self) -> EnvironmentVector:
        options = VectorOptions(self.plan.num_envs, TrainingSeeds(0, 0, self.context.rank), stagger=True)
        env = EnvironmentVector(self.spec.environment, options)
        env.reset()
        return env

    def _timed(self, name, call):  # type: ignore[no-untyped-def]
        def timed(*args):  # type: ignore[no-untyped-def]
            began = time.process_time()
            answer = call(*args)
            self.seconds[name] += time.process_time() - began
            return answer

        return timed

    def run(self, updates: int) -> None:
        """Updates and, in turn, as many random steps of the bare simulator."""
        actions = np.random.default_rng(0).integers(0, 5, (self.plan.horizon, self.plan.rows))
        for update in range(updates + 2):
            if update == 2:  # warm by now
                self.seconds, self.steps = dict.fromkeys(self.seconds, 0.0), 0
            self._timed("simulator", lambda: [self.bare.step(row) for row in actions])()  # type: ignore[func-returns-value]
            rollout = self._timed("rollout", self.collector.collect)(self.generator)
            self._timed("update", self.learner.update)(rollout, 3e-4, self.generator)
            self.steps += self.plan.horizon * self.plan.rows

    def report(self) -> dict[str, float]:
        """Shares of the parts, and rates per CPU-second."""
        total = self.seconds["rollout"] + self.seconds["update"]
        inference = self.seconds["rollout"] - self.seconds["environment"] - self.seconds["encode"]
        parts = {
            "environment": self.seconds["environment"],
            "encode": self.seconds["encode"],
            "inference": inference,
            "update": self.seconds["update"],
        }
        shares = {f"{name}_share": round(seconds / total, 3) for name, seconds in parts.items()}
        rates = {"ppo": self.steps / total, "simulator": self.steps / self.seconds["simulator"]}
        return {
            **shares,
            **{f"{name}_steps_per_cpu_second": round(rate) for name, rate in rates.items()},
            "ratio": rates["ppo"] / rates["simulator"],
        }


def test_ppo_keeps_three_tenths_of_the_speed_of_the_bare_simulator() -> None:
    bench = Bench(DistributedContext())
    bench.run(updates=30)
    report = bench.report()
    print(json.dumps(report))
    assert report["ratio"] >= 0.30


def rank(context: DistributedContext, directory: Path) -> None:
    """The same load per rank, together or, as far as gradients go, alone."""
    alone = directory.name == "alone"
    bench = Bench(DistributedContext() if alone else context)
    bench.run(updates=20)
    (directory / f"rank{context.rank}.json").write_text(json.dumps(bench.report()["ppo_steps_per_cpu_second"]))


def test_two_ranks_cost_less_than_a_tenth_more_than_two_runs(tmp_path: Path) -> None:
    rates: dict[str, list[float]] = {"alone": [], "together": []}
    for round_number in range(3):
        for name, found in rates.items():
            directory = tmp_path / str(round_number) / name
            directory.mkdir(parents=True)
            spawn(rank, world_size=2, directory=directory)
            found.append(sum(json.loads(path.read_text()) for path in directory.glob("rank*.json")) / 2)
    print({name: [round(rate) for rate in found] for name, found in rates.items()})
    assert np.median(rates["together"]) >= 0.9 * np.median(rates["alone"])
