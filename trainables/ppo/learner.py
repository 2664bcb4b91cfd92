"""From a rollout to better parameters: epochs of minibatches, with gradients averaged over all ranks."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace

import torch

from trainables.distributed import DistributedContext
from trainables.environments.interface import Encoder
from trainables.errors import HyperparameterFailure
from trainables.ppo.config import OptimizerConfig, TrainerConfig
from trainables.ppo.flat import FlatParameters
from trainables.ppo.gae import Ends, gae
from trainables.ppo.loss import Losses, Samples, ppo_loss
from trainables.ppo.plan import TrainingPlan
from trainables.ppo.policy import Policy
from trainables.ppo.rollout import Rollout


@dataclass(frozen=True, slots=True)
class Minibatch:
    """Samples together with what the policy has to read again; recurrent fields are empty for other policies.

    Attributes:
        observations: (B, *encoded), or (S, B / S, *encoded) for recurrent policies.
        actions: (B, ...).
        samples: all (B,).
        memory: (2, B / S, H).
        starts: (S, B / S).
    """

    observations: torch.Tensor
    actions: torch.Tensor
    samples: Samples
    memory: torch.Tensor
    starts: torch.Tensor


class Learner:
    """Holds parameters and optimiser of one rank; the parameters of all ranks stay bitwise equal.

    Args:
        policy: what learns.
        trainer: how.
        plan: sizes.
        context: this rank.
        encoder: reads the observations of rollouts that keep them raw; None = they are encoded.
    """

    def __init__(
        self,
        policy: Policy,
        trainer: TrainerConfig,
        plan: TrainingPlan,
        context: DistributedContext,
        encoder: Encoder | None = None,
    ) -> None:
        self.policy = policy
        self._trainer, self._plan, self._context = trainer, plan, context
        self.parameters = FlatParameters(policy)
        context.broadcast_(self.parameters.values.data)
        self.optimizer = make_optimizer(self.parameters, trainer.optimizer, context.device)
        self._forward: _Forward = policy.sequence if policy.memory_size else policy
        if encoder is not None:
            self._forward = reading(encoder, self._forward)
        if mode := compile_mode(trainer):
            self._forward = torch.compile(self._forward, mode=mode)

    def update(self, rollout: Rollout, learning_rate: float, generator: torch.Generator) -> dict[str, float]:
        """All epochs over one rollout.

        Args:
            rollout: the batch of this rank.
            learning_rate: of this update.
            generator: shuffles samples, best on this rank's device.

        Returns:
            Means of the losses over minibatches, over all ranks.

        Raises:
            HyperparameterFailure: losses or gradients are not finite, on all ranks alike.
        """
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate
        ppo = self._trainer.ppo
        ends = Ends(rollout.terminals, rollout.truncations, rollout.final_values)
        advantages = gae(rollout.rewards, rollout.values, ends, ppo.gamma, ppo.gae_lambda)
        returns = advantages + rollout.values[:-1]
        advantages = normalize(advantages, rollout.weights, self._context)
        totals: list[torch.Tensor] = []
        for _ in range(self._trainer.update_epochs):
            epoch = [
                self._gradient_step(self._pick(rollout, advantages, returns, chosen))
                for chosen in self._shuffle(generator)
            ]
            totals += epoch
            if ppo.target_kl > 0.0 and self._mean_kl(epoch) > ppo.target_kl:
                break
        means = self._context.mean_(torch.stack(totals).mean(0)).tolist()
        losses = dict(zip(_LOSS_NAMES, means, strict=True))
        if not all(map(_is_finite, means)):
            raise HyperparameterFailure(
                f"training diverged: {', '.join(f'{k}={v:.3g}' for k, v in losses.items())}; use a lower learning rate"
            )
        losses["explained_variance"] = float(
            1.0 - (returns - rollout.values[:-1]).var() / returns.var().clamp(min=1e-8)
        )
        return losses

    def _mean_kl(self, epoch: list[torch.Tensor]) -> float:
        return float(self._context.mean_(torch.stack([step[_LOSS_NAMES.index("approx_kl")] for step in epoch]).mean()))

    def _shuffle(self, generator: torch.Generator) -> tuple[torch.Tensor, ...]:
        """Indices of each minibatch: samples, or whole segments for recurrent policies.

        Sizes are the same on every rank.
        """
        unit = self._plan.bptt_horizon if self.policy.memory_size else 1
        num_units = self._plan.horizon * self._plan.rows // unit
        order = torch.randperm(num_units, generator=generator, device=generator.device)
        return order.to(self._context.device).tensor_split(min(self._plan.num_minibatches, num_units))

    def _pick(
        self, rollout: Rollout, advantages: torch.Tensor, returns: torch.Tensor, chosen: torch.Tensor
    ) -> Minibatch:
        if self.policy.memory_size:
            return pick_segments(rollout, advantages, returns, chosen, self._plan.bptt_horizon)
        return pick_samples(rollout, advantages, returns, chosen)

    def _gradient_step(self, minibatch: Minibatch) -> torch.Tensor:
        """One optimiser step; returns the loss terms and the gradient's norm as one tensor."""
        self.parameters.gradient.zero_()
        losses = self.backward(minibatch)
        self._context.mean_(self.parameters.gradient)
        norm = self.parameters.clip_gradient_(self._trainer.ppo.max_grad_norm)
        self.optimizer.step()
        return torch.cat((losses, norm.detach().view(1)))

    def backward(self, minibatch: Minibatch) -> torch.Tensor:
        """Adds this rank's gradient of the mean loss; in parts when `gradient_accumulation` asks for it."""
        parts = split(minibatch, self._trainer.gradient_accumulation)
        size = len(minibatch.samples.weights)
        terms = torch.zeros(len(_LOSS_NAMES) - 1, device=self._context.device)
        for part in parts:
            share = len(part.samples.weights) / size
            with self._autocast():
                losses = self._losses(part)
            torch.autograd.backward(losses.total * share)
            terms += share * torch.stack(
                (losses.policy, losses.value, losses.entropy, losses.approx_kl, losses.clip_fraction)
            )
        return terms

    def _losses(self, minibatch: Minibatch) -> Losses:
        recurrent = (minibatch.memory, minibatch.starts) if self.policy.memory_size else ()
        outputs, values = self._forward(minibatch.observations, *recurrent)
        log_probs, entropies = self.policy.distribution.evaluate(outputs.float(), minibatch.actions)
        return ppo_loss(log_probs, entropies, values.float(), minibatch.samples, self._trainer.ppo)

    def _autocast(self) -> AbstractContextManager[object]:
        return torch.autocast("cuda", dtype=torch.bfloat16) if self._trainer.precision == "bf16" else nullcontext()


_Forward = Callable[..., tuple[torch.Tensor, torch.Tensor]]
# As CleanRL calls them
_LOSS_NAMES = ("policy_loss", "value_loss", "entropy", "approx_kl", "clip_fraction", "grad_norm")


def compile_mode(trainer: TrainerConfig) -> str | None:
    """Of `torch.compile`; None = nothing is compiled."""
    if not trainer.compile:
        return None
    return "reduce-overhead" if trainer.cuda_graphs else "default"


def reading(encoder: Encoder, forward: _Forward) -> _Forward:
    """The same, of raw observations: (B, *raw), or (S, B, *raw) of segments with memory and starts."""

    def encoded(observations: torch.Tensor, *recurrent: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        if not recurrent:
            return forward(encoder.encode(observations))
        sizes = observations.shape[:2]
        return forward(encoder.encode(observations.flatten(0, 1)).view(*sizes, *encoder.shape), *recurrent)

    return encoded


def _is_finite(value: float) -> bool:
    return value - value == 0.0


def make_optimizer(parameters: FlatParameters, config: OptimizerConfig, device: torch.device) -> torch.optim.Optimizer:
    """The optimiser over the flat parameters; the learning rate is set before every update."""
    if config.type == "sgd":
        return torch.optim.SGD(
            [parameters.values], lr=config.learning_rate, momentum=config.beta1, weight_decay=config.weight_decay
        )
    kind = torch.optim.AdamW if config.type == "adamw" else torch.optim.Adam
    return kind(
        [parameters.values], lr=config.learning_rate, betas=(min(config.beta1, 1 - 1e-6), min(config.beta2, 1 - 1e-9)),
        eps=config.eps, weight_decay=config.weight_decay, fused=device.type in ("cpu", "cuda"),
    )  # fmt: skip


def normalize(advantages: torch.Tensor, weights: torch.Tensor, context: DistributedContext) -> torch.Tensor:
    """Mean 0 and standard deviation 1 over the samples of all ranks that count; with per-rank moments, gradients would
    differ by 20 %.
    """
    kept = (advantages * weights).double()
    moments = context.sum_(torch.stack((kept.sum(), (kept * kept).sum(), weights.double().sum())))
    mean = moments[0] / moments[2]
    variance = (moments[1] / moments[2] - mean * mean).clamp(min=0.0)
    return ((advantages - mean) / (variance.sqrt() + 1e-8)).to(advantages.dtype)


def pick_samples(rollout: Rollout, advantages: torch.Tensor, returns: torch.Tensor, chosen: torch.Tensor) -> Minibatch:
    """Single steps by their flat index t * R + row."""
    samples = Samples(
        log_probs=_take(rollout.log_probs, chosen),
        advantages=_take(advantages, chosen),
        values=_take(rollout.values[:-1], chosen),
        returns=_take(returns, chosen),
        weights=_take(rollout.weights, chosen),
    )
    empty = rollout.values.new_empty(0)
    return Minibatch(_take(rollout.observations, chosen), _take(rollout.actions, chosen), samples, empty, empty)


def _take(tensor: torch.Tensor, chosen: torch.Tensor) -> torch.Tensor:
    """(T, R, ...) -> (B, ...); copies whole rows, unlike indexing."""
    return tensor.flatten(0, 1).index_select(0, chosen)


def pick_segments(
    rollout: Rollout, advantages: torch.Tensor, returns: torch.Tensor, chosen: torch.Tensor, length: int
) -> Minibatch:
    """Whole segments of `length` steps by their flat index k * R + row, k counting segments of the rollout."""
    rows = rollout.rewards.shape[1]
    segment, row = chosen // rows, chosen % rows
    # Time first before anything is copied: turning the copies round would cost a second copy of all observations.
    times = segment * length + torch.arange(length, device=chosen.device).unsqueeze(1)
    samples = pick_samples(rollout, advantages, returns, (times * rows + row).flatten())
    return replace(
        samples,
        observations=samples.observations.view(*times.shape, *rollout.observations.shape[2:]),
        memory=rollout.memories[segment, :, row].transpose(0, 1),
        starts=_take(rollout.starts, (times * rows + row).flatten()).view(times.shape),
    )


def split(minibatch: Minibatch, parts: int) -> list[Minibatch]:
    """The minibatch in (at most) `parts` pieces, along samples or segments."""
    if parts == 1:
        return [minibatch]
    recurrent = minibatch.starts.dim() == 2
    pieces = []
    units = torch.arange(
        minibatch.starts.shape[1] if recurrent else len(minibatch.samples.weights), device=minibatch.actions.device
    )
    for chosen in units.tensor_split(min(parts, len(units))):
        flat = (
            (torch.arange(minibatch.starts.shape[0], device=units.device)[:, None] * len(units) + chosen).reshape(-1)
            if recurrent
            else chosen
        )
        samples = Samples(*(getattr(minibatch.samples, name)[flat] for name in Samples.__slots__))
        observations = minibatch.observations[:, chosen] if recurrent else minibatch.observations[chosen]
        memory = minibatch.memory[:, chosen] if recurrent else minibatch.memory
        starts = minibatch.starts[:, chosen] if recurrent else minibatch.starts
        pieces.append(Minibatch(observations, minibatch.actions[flat], samples, memory, starts))
    return pieces
