"""Several ranks are one learner with a larger batch."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import torch

from tests.trainables.synthetic import make_learner, make_policy, make_rollout, rows_of, spawn
from trainables.distributed import DistributedContext
from trainables.metering import Meter
from trainables.ppo.trainer import PpoTrainer, SilentHost
from trainables.result import Progress
from trainables.spec import RunSpec


class Witness(SilentHost):
    """Notes a digest of the parameters after every update."""

    def __init__(self) -> None:
        self.trainer: PpoTrainer | None = None
        self.digests: list[str] = []

    def report(self, progress: Progress) -> None:
        assert self.trainer is not None
        self.digests.append(
            hashlib.sha256(self.trainer.learner.parameters.values.detach().numpy().tobytes()).hexdigest()
        )


def on_a_rank(context: DistributedContext, directory: Path) -> None:
    """Both promises in one group, because starting processes is what takes the time."""
    policy = make_policy(seed=context.rank)  # broadcast makes them equal
    rollout = make_rollout(policy, rows=8)
    learner = make_learner(policy, context, rows=4)
    learner.update(
        rows_of(rollout, slice(4 * context.rank, 4 * context.rank + 4)),
        0.0,
        torch.Generator().manual_seed(context.rank),
    )
    torch.save(learner.parameters.gradient, directory / f"gradient{context.rank}.pt")

    trainer_section = {
        "total_timesteps": 2048,
        "batch_size": 256,
        "minibatch_size": 128,
        "num_envs": 8,
        "simulation": {"curve_episodes": 2},
    }
    spec = RunSpec.from_mapping(
        {"trainer": trainer_section, "env": {"max_steps": 20}, "sim": {"episodes": 2}, "resources": {"world_size": 2}}
    )
    witness = Witness()
    witness.trainer = PpoTrainer(spec, context, Meter("setup"))
    witness.trainer.train(witness)
    digests = {"digests": witness.digests, "curve": [point.score for point in witness.trainer.curve]}
    (directory / f"run{context.rank}.json").write_text(json.dumps(digests))


def test_two_ranks_learn_as_one_and_stay_bitwise_equal(tmp_path: Path) -> None:
    spawn(on_a_rank, world_size=2, directory=tmp_path)
    policy = make_policy(seed=0)
    alone = make_learner(policy, DistributedContext(), rows=8)
    alone.update(make_rollout(policy, rows=8), 0.0, torch.Generator().manual_seed(0))
    for rank in (0, 1):
        torch.testing.assert_close(
            torch.load(tmp_path / f"gradient{rank}.pt"), alone.parameters.gradient, rtol=1e-4, atol=1e-7
        )
    first, second = (json.loads((tmp_path / f"run{rank}.json").read_text()) for rank in (0, 1))
    assert len(first["digests"]) == 8
    assert len(set(first["digests"])) == 8
    assert first == second
