"""Settings of PPO training; defaults are the textbook values, and live here only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from trainables.errors import Problem
from trainables.fields import nearest


@dataclass(frozen=True, slots=True)
class PpoConfig:
    """Proximal policy optimisation (Schulman et al. 2017, arXiv:1707.06347).

    Attributes:
        gamma: discount per environment step, in [0, 1].
        gae_lambda: decay of generalised advantage estimation, in [0, 1].
        clip_coef: the probability ratio is clipped to 1 +- this.
        vf_coef: weight of the value loss.
        vf_clip_coef: a value may move this far from its old one per update; 0 = unlimited.
        ent_coef: weight of the entropy bonus.
        max_grad_norm: the gradient over all ranks is scaled down to this norm; 0 = never.
        target_kl: the epochs of an update end when the approximate KL divergence passes this; 0 = never.
    """

    gamma: float = 0.99
    gae_lambda: float = 0.95
    clip_coef: float = 0.2
    vf_coef: float = 0.5
    vf_clip_coef: float = 0.2
    ent_coef: float = 0.01
    max_grad_norm: float = 0.5
    target_kl: float = 0.0


@dataclass(frozen=True, slots=True)
class OptimizerConfig:
    """How gradients become steps.

    Attributes:
        type: adam, adamw or sgd (which uses `beta1` as its momentum).
        learning_rate: at the start of the schedule.
        beta1: decay of the mean of gradients.
        beta2: decay of the mean of their squares.
        eps: added to the root of that mean.
        weight_decay: as in torch.
    """

    type: str = "adam"
    learning_rate: float = 3e-4
    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-5
    weight_decay: float = 0.0


@dataclass(frozen=True, slots=True)
class CheckpointConfig:
    """When training is saved, besides at its end.

    Attributes:
        interval_seconds: seconds of training between checkpoints; 0 = after every update.
        keep: how many stay, the newest ones.
    """

    interval_seconds: float = 60.0
    keep: int = 2


@dataclass(frozen=True, slots=True)
class CurveConfig:
    """Evaluation on the way.

    Attributes:
        evaluate_interval: updates between evaluations; 0 = none but the curve points.
        curve_points: points of the learning curve before the end, at 1/2, 1/4, 1/8, ... of the run.
        curve_episodes: held-out episodes per point, over all simulations of the suite.
        replay_dir: where a replay of the first held-out episode of each simulation goes; relative to the run's
            directory; "" = none.
    """

    evaluate_interval: int = 0
    curve_points: int = 4
    curve_episodes: int = 8
    replay_dir: str = ""


@dataclass(frozen=True, slots=True)
class TrainerConfig:
    """What is trained for how long.

    Attributes:
        total_timesteps: agent steps over all ranks; rounded to whole updates, at least one.
        batch_size: agent steps per update over all ranks; rounded to whole steps of all environments.
        minibatch_size: agent steps per gradient step over all ranks; rounded so that equal parts make up the batch.
        bptt_horizon: steps that gradients flow back through a recurrent policy; the largest divisor of the rollout that
            is not longer.
        update_epochs: passes over each batch.
        gradient_accumulation: parts that each minibatch is cut into to save memory; the gradient stays the same.
        num_envs: environments over all ranks.
        num_workers: threads per rank that step environments.
        schedule: of the learning rate: linear or cosine (to 0 at the end), or constant.
        curriculum: path of a task (`/env/mettagrid/arena/basic`, `/env/gymnasium/CartPole-v1`, `/env/atari/pong`), or a
            mapping with `tasks` (path to weight) and `sampling` (weighted or learning_progress).
        compile: compile what an update evaluates of the policy with `torch.compile`; acting stays as it is.
        precision: float32, or bf16 for autocast of updates; only on a GPU.
        cuda_graphs: let the compiled policy replay CUDA graphs; only on a GPU, and with `compile`.
    """

    total_timesteps: int = 262_144
    batch_size: int = 8192
    minibatch_size: int = 2048
    bptt_horizon: int = 16
    update_epochs: int = 4
    gradient_accumulation: int = 1
    num_envs: int = 32
    num_workers: int = 1
    schedule: str = "linear"
    curriculum: str | Mapping[str, Any] = "/env/mettagrid/arena/basic"
    compile: bool = False
    precision: str = "float32"
    cuda_graphs: bool = False
    ppo: PpoConfig = field(default_factory=PpoConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    checkpoint: CheckpointConfig = field(default_factory=CheckpointConfig)
    simulation: CurveConfig = field(default_factory=CurveConfig)


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """The policy network.

    Attributes:
        type: mlp, cnn (on grids and images) or lstm.
        hidden_size: width of every hidden layer.
        num_layers: hidden layers of an mlp, or in front of the memory of an lstm.
        activation: tanh or relu.
        separate_critic: True: the value has a network of its own instead of a head on the policy's.
    """

    type: str = "mlp"
    hidden_size: int = 64
    num_layers: int = 2
    activation: str = "tanh"
    separate_critic: bool = False


# Words that a setting may be
CHOICES = {
    "trainer.schedule": ("linear", "constant", "cosine"),
    "trainer.precision": ("float32", "bf16"),
    "trainer.optimizer.type": ("adam", "adamw", "sgd"),
    "model.type": ("mlp", "cnn", "lstm"),
    "model.activation": ("tanh", "relu"),
}
# Lowest value that a setting still has a meaning at
_AT_LEAST = {
    "trainer.total_timesteps": 1,
    "trainer.batch_size": 1,
    "trainer.minibatch_size": 1,
    "trainer.bptt_horizon": 1,
    "trainer.update_epochs": 1,
    "trainer.gradient_accumulation": 1,
    "trainer.num_envs": 1,
    "trainer.num_workers": 1,
    "trainer.ppo.clip_coef": 0,
    "trainer.ppo.vf_coef": 0,
    "trainer.ppo.vf_clip_coef": 0,
    "trainer.ppo.max_grad_norm": 0,
    "trainer.ppo.target_kl": 0,
    "trainer.optimizer.learning_rate": 0,
    "trainer.optimizer.eps": 0,
    "trainer.optimizer.weight_decay": 0,
    "trainer.checkpoint.interval_seconds": 0,
    "trainer.checkpoint.keep": 1,
    "trainer.simulation.evaluate_interval": 0,
    "trainer.simulation.curve_points": 0,
    "trainer.simulation.curve_episodes": 1,
    "model.hidden_size": 1,
    "model.num_layers": 0,
}
# Between 0 and 1
_SHARES = ("trainer.ppo.gamma", "trainer.ppo.gae_lambda", "trainer.optimizer.beta1", "trainer.optimizer.beta2")


def value_problems(trainer: TrainerConfig, model: ModelConfig) -> list[Problem]:
    """Values outside what any run could use, one line each."""
    roots = {"trainer": trainer, "model": model}
    problems = []
    for key, choices in CHOICES.items():
        if (value := _look_up(roots, key)) not in choices:
            problems.append(Problem(key, f"unknown value {value!r}{nearest(value, choices)}"))
    for key, least in _AT_LEAST.items():
        if not (value := _look_up(roots, key)) >= least:
            problems.append(Problem(key, f"need at least {least}, got {value}"))
    for key in _SHARES:
        if not 0.0 <= (value := _look_up(roots, key)) <= 1.0:
            problems.append(Problem(key, f"need a number from 0 to 1, got {value}"))
    return problems


def _look_up(roots: Mapping[str, object], key: str) -> Any:
    first, *rest = key.split(".")
    value: Any = roots[first]
    for name in rest:
        value = getattr(value, name)
    return value


def divisibility_problems(trainer: TrainerConfig, world_size: int) -> list[Problem]:
    """Sizes that would have to be rounded.

    A configuration that a person wrote is refused for them; a searched point is rounded (`plan`).
    """
    problems = []
    for name in ("num_envs", "batch_size", "minibatch_size"):
        if (value := getattr(trainer, name)) % world_size:
            problems.append(
                Problem(
                    f"trainer.{name}",
                    f"{value} is not divisible by resources.world_size={world_size}; use a multiple of it",
                )
            )
    if trainer.minibatch_size > trainer.batch_size:
        problems.append(
            Problem(
                "trainer.minibatch_size",
                f"{trainer.minibatch_size} is larger than trainer.batch_size={trainer.batch_size}; use at most that",
            )
        )
    elif trainer.batch_size % trainer.minibatch_size:
        problems.append(
            Problem(
                "trainer.batch_size",
                f"{trainer.batch_size} is not divisible by "
                f"trainer.minibatch_size={trainer.minibatch_size}; use a multiple of it",
            )
        )
    return problems


def gpu_problems(trainer: TrainerConfig, on_gpu: bool) -> list[Problem]:
    """Options that would do nothing on this device."""
    problems = []
    if trainer.precision == "bf16" and not on_gpu:
        problems.append(Problem("trainer.precision", "bf16 needs a GPU; use device=cuda, or float32"))
    if trainer.cuda_graphs and not on_gpu:
        problems.append(Problem("trainer.cuda_graphs", "true needs a GPU; use device=cuda, or false"))
    if trainer.cuda_graphs and not trainer.compile:
        problems.append(
            Problem("trainer.cuda_graphs", "true needs trainer.compile=true, which captures them; set it, or use false")
        )
    return problems
