"""The training loop: deterministic, resumable, honest about what things cost."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import pytest
import torch

from trainables.checkpoint import Checkpoint
from trainables.distributed import DistributedContext
from trainables.errors import SpecError
from trainables.metering import Meter
from trainables.ppo.trainer import PpoTrainer, SilentHost, schedule
from trainables.result import Progress
from trainables.spec import RunSpec


class Recorder(SilentHost):
    """Keeps everything; asks to stop after some updates."""

    def __init__(self, stop_after: int = 10**9) -> None:
        self.progress: list[Progress] = []
        self.checkpoints: list[Checkpoint] = []
        self._stop_after = stop_after

    def wants_stop(self) -> bool:
        return len(self.progress) + 1 >= self._stop_after

    def report(self, progress: Progress) -> None:
        self.progress.append(progress)

    def save(self, checkpoint: Checkpoint) -> None:
        copy = {name: value.clone() for name, value in checkpoint.policy.items()}
        self.checkpoints.append(
            Checkpoint(**{**{n: getattr(checkpoint, n) for n in Checkpoint.__slots__}, "policy": copy})
        )


def train(mapping: dict[str, Any], host: Recorder, start: Checkpoint | None = None) -> PpoTrainer:
    torch.set_num_threads(1)
    trainer = PpoTrainer(RunSpec.from_mapping(mapping), DistributedContext(), Meter("setup"), start)
    trainer.train(host)
    return trainer


@pytest.fixture
def arena() -> dict[str, Any]:
    return {
        "seed": 3,
        "trainer": {
            "total_timesteps": 4096,
            "batch_size": 512,
            "minibatch_size": 256,
            "num_envs": 8,
            "simulation": {"curve_points": 2, "curve_episodes": 2},
        },
        "env": {"max_steps": 16},
        "sim": {"episodes": 2},
    }


@pytest.mark.parametrize("model", ["mlp", "lstm"])
def test_the_same_seed_gives_bitwise_equal_training(arena: dict[str, Any], model: str) -> None:
    parameters = [
        train({**arena, "model": {"type": model, "hidden_size": 16}}, Recorder()).learner.parameters.values
        for _ in range(2)
    ]
    assert torch.equal(parameters[0], parameters[1])


def test_another_seed_gives_another_training(arena: dict[str, Any]) -> None:
    first, second = (train({**arena, "seed": seed}, Recorder()).learner.parameters.values for seed in (0, 1))
    assert not torch.equal(first, second)


def test_an_interrupted_run_goes_on_where_it_stopped(arena: dict[str, Any]) -> None:
    host = Recorder(stop_after=3)
    stopped = train(arena, host)
    assert (stopped.env_steps, stopped.is_complete) == (1536, False)
    resumed_host = Recorder()
    resumed = train(arena, resumed_host, start=host.checkpoints[-1])
    assert resumed.is_complete
    assert [progress.env_steps for progress in resumed_host.progress] == [2048, 2560, 3072, 3584, 4096]
    # The learning rate goes on along its line, and the first of the curve's points is still there.
    assert resumed_host.progress[0].losses["learning_rate"] == pytest.approx(3e-4 * (1 - 3 / 8))
    assert [point.env_steps for point in resumed.curve] == [1024, 2048]


def test_a_resumed_run_costs_what_a_clean_run_costs(arena: dict[str, Any]) -> None:
    host = Recorder(stop_after=3)
    train(arena, host)
    saved = host.checkpoints[-1].costs
    resumed = Recorder()
    train(arena, resumed, start=host.checkpoints[-1])
    last = resumed.progress[-1]
    assert last.costs.train.cpu_seconds == pytest.approx(saved.train.cpu_seconds + last.attempt_costs.train.cpu_seconds)
    assert last.costs.setup == last.attempt_costs.setup  # a clean run sets up once


def test_curve_points_have_their_time_booked_apart(arena: dict[str, Any]) -> None:
    host = Recorder()
    trainer = train(arena, host)
    assert [point.env_steps for point in trainer.curve] == [1024, 2048]
    costs = host.progress[-1].costs
    assert costs.curve.cpu_seconds > 0
    assert trainer.curve[-1].train.cpu_seconds < costs.train.cpu_seconds


def test_checkpoints_are_written_at_the_interval_and_at_the_end(arena: dict[str, Any]) -> None:
    always, never = Recorder(), Recorder()
    train({**arena, "trainer": {**arena["trainer"], "checkpoint": {"interval_seconds": 0}}}, always)
    train(arena, never)
    assert [c.env_steps for c in always.checkpoints] == [512 * n for n in range(1, 9)]
    assert [c.env_steps for c in never.checkpoints] == [4096]


def test_a_checkpoint_of_another_network_is_refused_by_name(arena: dict[str, Any]) -> None:
    host = Recorder()
    train(arena, host)
    with pytest.raises(SpecError, match="checkpoint is of another network"):
        train({**arena, "model": {"hidden_size": 32}}, Recorder(), start=host.checkpoints[-1])


@pytest.mark.parametrize(
    "trainer",
    [
        {"total_timesteps": 100, "batch_size": 50, "minibatch_size": 7, "num_envs": 3},
        {
            "total_timesteps": 3000,
            "batch_size": 1000,
            "minibatch_size": 5000,
            "num_envs": 5,
            "update_epochs": 1,
            "bptt_horizon": 7,
        },
        {
            "total_timesteps": 100,
            "batch_size": 1,
            "minibatch_size": 1,
            "num_envs": 1,
            "ppo": {"gamma": 1.0, "gae_lambda": 0.0},
        },
    ],
)
@pytest.mark.parametrize("model", ["mlp", "lstm"])
def test_any_point_within_bounds_trains(trainer: dict[str, Any], model: str) -> None:
    quiet = {"simulation": {"curve_points": 0}}
    mapping = {"trainer": {**quiet, **trainer}, "env": {"max_steps": 10}, "model": {"type": model, "hidden_size": 8}}
    spec = RunSpec.from_mapping(mapping, strict=False)
    assert PpoTrainer(spec, DistributedContext(), Meter("setup")).train(SilentHost())


def test_continuous_actions_train() -> None:
    section = {
        "curriculum": "/env/gymnasium/Pendulum-v1",
        "total_timesteps": 512,
        "batch_size": 256,
        "minibatch_size": 64,
        "num_envs": 4,
    }
    host = Recorder()
    train({"trainer": {**section, "simulation": {"curve_points": 0}}}, host)
    assert host.progress[-1].losses["entropy"] == pytest.approx(1.42, abs=0.1)  # a standard normal


def test_a_finished_run_leaves_no_buffers_behind_without_the_garbage_collector(arena: dict[str, Any]) -> None:
    trainer = train(arena, Recorder())
    left = [weakref.ref(thing) for thing in (trainer, trainer._collector, trainer._env, trainer.learner)]
    gc.disable()
    try:
        del trainer
        assert [thing() for thing in left] == [None] * len(left)
    finally:
        gc.enable()


def test_schedules() -> None:
    assert [schedule(kind, 0.25) for kind in ("constant", "linear")] == [1.0, 0.75]
    assert schedule("cosine", 0.5) == pytest.approx(0.5)
    assert [schedule(kind, 0.0) for kind in ("constant", "linear", "cosine")] == [1.0, 1.0, 1.0]


SETTINGS = [
    {"batch_size": 128}, {"minibatch_size": 64}, {"update_epochs": 2}, {"num_envs": 4},
    {"schedule": "constant"}, {"schedule": "cosine"},
    {"ppo": {"gamma": 0.9}}, {"ppo": {"gae_lambda": 0.5}}, {"ppo": {"clip_coef": 0.01}},
    {"ppo": {"vf_coef": 1.0}}, {"ppo": {"vf_clip_coef": 0.0}},
    {"ppo": {"ent_coef": 0.1}}, {"ppo": {"max_grad_norm": 0.01}}, {"ppo": {"target_kl": 1e-9}},
    {"optimizer": {"type": "sgd"}}, {"optimizer": {"type": "adamw", "weight_decay": 0.1}},
    {"optimizer": {"weight_decay": 0.1}},
    {"optimizer": {"learning_rate": 1e-3}}, {"optimizer": {"beta1": 0.5}}, {"optimizer": {"beta2": 0.9}},
    {"optimizer": {"eps": 1e-2}},
]  # fmt: skip


def learned(trainer: dict[str, Any], model: dict[str, Any]) -> torch.Tensor:
    base = {
        "curriculum": "/env/gymnasium/CartPole-v1",
        "total_timesteps": 1024,
        "batch_size": 256,
        "minibatch_size": 128,
        "num_envs": 8,
    }
    optimizer = {"optimizer": {"learning_rate": 1e-2, **trainer.get("optimizer", {})}}
    section = {**base, "update_epochs": 4, "simulation": {"curve_points": 0}, **trainer, **optimizer}
    return train(
        {"seed": 1, "trainer": section, "model": {"hidden_size": 8, **model}}, Recorder()
    ).learner.parameters.values


@pytest.fixture(scope="module")
def untouched() -> torch.Tensor:
    return learned({}, {})


@pytest.mark.parametrize("setting", SETTINGS, ids=str)
def test_each_setting_of_the_trainer_makes_a_difference(setting: dict[str, Any], untouched: torch.Tensor) -> None:
    assert not torch.equal(learned(setting, {}), untouched)


@pytest.mark.parametrize(
    "model",
    [{"hidden_size": 16}, {"num_layers": 1}, {"activation": "relu"}, {"separate_critic": True}, {"type": "lstm"}],
    ids=str,
)
def test_each_setting_of_the_model_makes_a_difference(model: dict[str, Any], untouched: torch.Tensor) -> None:
    found = learned({}, model)
    assert found.shape != untouched.shape or not torch.equal(found, untouched)


def test_the_horizon_of_backpropagation_makes_a_difference_to_a_policy_with_memory_only(
    untouched: torch.Tensor,
) -> None:
    assert not torch.equal(learned({"bptt_horizon": 4}, {"type": "lstm"}), learned({}, {"type": "lstm"}))
    assert torch.equal(learned({"bptt_horizon": 4}, {}), untouched)
