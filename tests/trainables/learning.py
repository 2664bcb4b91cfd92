"""Trains and scores a run in this process, for tests of whether it learns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tests.trainables.test_trainer import Recorder
from trainables.distributed import DistributedContext
from trainables.metering import Meter
from trainables.ppo.trainer import PpoTrainer
from trainables.simulation.aggregate import metrics
from trainables.simulation.play import Share, play
from trainables.simulation.random_policy import random_policy_score
from trainables.spec import RunSpec

HELD_OUT_SEED = 1_000_003  # other maps than those that settings were tuned on

# Found by hand on the basic arena: more and larger steps than the textbook's, a shorter memory of advantages.
TUNED = {
    "minibatch_size": 512,
    "update_epochs": 4,
    "ppo": {"gamma": 0.95, "gae_lambda": 0.8, "ent_coef": 0.003},
    "optimizer": {"learning_rate": 5e-3},
}
# For CartPole: many environments at once, short advantages, no bonus for entropy.
BALANCE = {
    "batch_size": 2048,
    "minibatch_size": 256,
    "update_epochs": 4,
    "num_envs": 64,
    "ppo": {"gamma": 0.98, "gae_lambda": 0.8, "ent_coef": 0.0, "vf_clip_coef": 0.0},
    "optimizer": {"learning_rate": 5e-3},
}


@dataclass(frozen=True, slots=True)
class Learning:
    """What is trained on, and how: sections of a run."""

    curriculum: str
    trainer: Mapping[str, Any]
    model: str = "mlp"
    episodes: int = 32

    def mapping(self, seed: int) -> dict[str, Any]:
        trainer = {"simulation": {"curve_points": 0}, "curriculum": self.curriculum, **self.trainer}
        return {
            "seed": seed,
            "trainer": trainer,
            "model": {"type": self.model},
            "sim": {"episodes": self.episodes, "seed": HELD_OUT_SEED},
        }

    def random(self) -> float:
        """Score of uniformly random actions on the held-out episodes."""
        return random_policy_score(self.mapping(0))[0]

    def score(self, seed: int = 1, interrupt_after: int = 0) -> float:
        """Trains, evaluates with sampled actions; `interrupt_after` stops and resumes once, after so many updates."""
        spec, start = RunSpec.from_mapping(self.mapping(seed)), None
        if interrupt_after:
            first = Recorder(interrupt_after)
            PpoTrainer(spec, DistributedContext(), Meter("setup")).train(first)
            start = first.checkpoints[-1]
        run = PpoTrainer(spec, DistributedContext(), Meter("setup"), start)
        assert run.train(Recorder())
        return metrics(spec.suite, play(spec.suite, run.policy, Share()))["reward"]
