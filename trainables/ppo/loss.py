"""The PPO objective, as pure functions."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from trainables.ppo.config import PpoConfig


@dataclass(frozen=True, slots=True)
class Samples:
    """What the loss reads of a minibatch; all (B,).

    Attributes:
        log_probs: of the actions taken, under the policy that took them.
        advantages: normalised.
        values: predicted when the actions were taken.
        returns: targets of the value function.
        weights: 1, or 0 for samples that teach nothing; the sum is divided by B, not by their number, so that ranks
            stay comparable.
    """

    log_probs: torch.Tensor
    advantages: torch.Tensor
    values: torch.Tensor
    returns: torch.Tensor
    weights: torch.Tensor


@dataclass(frozen=True, slots=True)
class Losses:
    """Scalars; `total` is what is minimised."""

    total: torch.Tensor
    policy: torch.Tensor
    value: torch.Tensor
    entropy: torch.Tensor
    approx_kl: torch.Tensor
    clip_fraction: torch.Tensor


def ppo_loss(
    log_probs: torch.Tensor, entropies: torch.Tensor, values: torch.Tensor, samples: Samples, config: PpoConfig
) -> Losses:
    """Clipped surrogate + value loss - entropy bonus.

    Args:
        log_probs: (B,) log-probability of the taken actions under the current policy.
        entropies: (B,) entropy of the current policy.
        values: (B,) current value prediction.
        samples: the minibatch.
        config: coefficients.

    Source: Schulman et al. 2017, arXiv:1707.06347, eq. 7 and 9; the KL estimate is k3 of J. Schulman, "Approximating KL
    divergence" (2020).
    """
    log_ratio = log_probs - samples.log_probs
    ratio = log_ratio.exp()
    clipped = ratio.clamp(1.0 - config.clip_coef, 1.0 + config.clip_coef)
    gain = torch.minimum(samples.advantages * ratio, samples.advantages * clipped)
    policy_loss = -_mean(gain, samples.weights)
    value_loss = _mean(value_errors(values, samples, config.vf_clip_coef), samples.weights)
    entropy = _mean(entropies, samples.weights)
    with torch.no_grad():
        approx_kl = _mean(ratio - 1.0 - log_ratio, samples.weights)
        clip_fraction = _mean(((ratio - 1.0).abs() > config.clip_coef).to(ratio.dtype), samples.weights)
    total = policy_loss + config.vf_coef * value_loss - config.ent_coef * entropy
    return Losses(total, policy_loss.detach(), value_loss.detach(), entropy.detach(), approx_kl, clip_fraction)


def value_errors(values: torch.Tensor, samples: Samples, clip: float) -> torch.Tensor:
    """(B,) half squared error; with `clip` > 0 the worse of the plain one and that of a prediction moved at most `clip`
    from the old one.
    """
    plain = (values - samples.returns).square()
    if clip <= 0.0:
        return 0.5 * plain
    moved = samples.values + (values - samples.values).clamp(-clip, clip)
    return 0.5 * torch.maximum(plain, (moved - samples.returns).square())


def _mean(per_sample: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    return (per_sample * weights).mean()
