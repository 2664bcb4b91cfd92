"""Settings of PPO training; defaults are the textbook values, and live here only."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated

from trainables.errors import Problem
from trainables.fields import Amount, Count, Flag, Number, Positive, Share, Text, TextOrTable, one_of


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

    gamma: Share = 0.99
    gae_lambda: Share = 0.95
    clip_coef: Amount = 0.2
    vf_coef: Amount = 0.5
    vf_clip_coef: Amount = 0.2
    ent_coef: Number = 0.01
    max_grad_norm: Amount = 0.5
    target_kl: Amount = 0.0


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

    type: Annotated[str, one_of("adam", "adamw", "sgd")] = "adam"
    learning_rate: Amount = 3e-4
    beta1: Share = 0.9
    beta2: Share = 0.999
    eps: Amount = 1e-5
    weight_decay: Amount = 0.0


@dataclass(frozen=True, slots=True)
class CheckpointConfig:
    """When training is saved, besides at its end.

    Attributes:
        interval_seconds: seconds of training between checkpoints; 0 = after every update.
        keep: how many stay, the newest ones.
    """

    interval_seconds: Amount = 60.0
    keep: Positive = 2


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

    evaluate_interval: Count = 0
    curve_points: Count = 4
    curve_episodes: Positive = 8
    replay_dir: Text = ""


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
        num_workers: processes per rank that step environments; 0 = the rank's own does. Results are the same.
        schedule: of the learning rate: linear or cosine (to 0 at the end), or constant.
        curriculum: path of a task (`/env/mettagrid/arena/basic`, `/env/gymnasium/CartPole-v1`, `/env/atari/pong`), or a
            mapping with `tasks` (path to weight) and `sampling` (weighted or learning_progress).
        compile: compile what an update evaluates of the policy with `torch.compile`, and acting on a GPU.
        precision: float32, or bf16 for autocast of updates; only on a GPU.
        cuda_graphs: let the compiled policy replay CUDA graphs; only on a GPU, and with `compile`.
    """

    total_timesteps: Positive = 262_144
    batch_size: Positive = 8192
    minibatch_size: Positive = 2048
    bptt_horizon: Positive = 16
    update_epochs: Positive = 4
    gradient_accumulation: Positive = 1
    num_envs: Positive = 32
    num_workers: Count = 0
    schedule: Annotated[str, one_of("linear", "constant", "cosine")] = "linear"
    curriculum: TextOrTable = "/env/mettagrid/arena/basic"
    compile: Flag = False
    precision: Annotated[str, one_of("float32", "bf16")] = "float32"
    cuda_graphs: Flag = False
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

    type: Annotated[str, one_of("mlp", "cnn", "lstm")] = "mlp"
    hidden_size: Positive = 64
    num_layers: Count = 2
    activation: Annotated[str, one_of("tanh", "relu")] = "tanh"
    separate_critic: Flag = False


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
