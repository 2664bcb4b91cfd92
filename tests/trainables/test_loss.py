"""The PPO objective by hand."""

from __future__ import annotations

import math

import pytest
import torch

from trainables.ppo.config import PpoConfig
from trainables.ppo.loss import Samples, ppo_loss

CONFIG = PpoConfig(clip_coef=0.2, vf_coef=0.5, vf_clip_coef=0.0, ent_coef=0.01)


def samples(advantage: float, value: float = 0.0, target: float = 0.0, weight: float = 1.0) -> Samples:
    one = torch.ones(1)
    return Samples(
        log_probs=0.0 * one, advantages=advantage * one, values=value * one, returns=target * one, weights=weight * one
    )


def loss_at(ratio: float, batch: Samples, value: float = 0.0, config: PpoConfig = CONFIG) -> dict[str, float]:
    losses = ppo_loss(torch.tensor([math.log(ratio)]), torch.ones(1), torch.tensor([value]), batch, config)
    return {name: float(getattr(losses, name)) for name in losses.__slots__}


@pytest.mark.parametrize(
    ("ratio", "advantage", "gain"),
    [
        (1.0, 2.0, 2.0),
        (1.5, 2.0, 2.4),  # clipped: no more reward for going further
        (0.5, 2.0, 1.0),  # not clipped: the way back stays open
        (0.5, -2.0, -1.6),
        (1.5, -2.0, -3.0),
    ],
)
def test_the_surrogate_takes_the_worse_of_plain_and_clipped(ratio: float, advantage: float, gain: float) -> None:
    assert loss_at(ratio, samples(advantage))["policy"] == pytest.approx(-gain, rel=1e-6)


def test_a_clipped_sample_has_no_policy_gradient() -> None:
    log_probs = torch.tensor([math.log(1.5)], requires_grad=True)
    ppo_loss(log_probs, torch.zeros(1), torch.zeros(1), samples(1.0), CONFIG).total.backward()
    assert log_probs.grad is not None
    assert log_probs.grad.item() == 0.0


def test_value_loss_is_half_the_squared_error() -> None:
    assert loss_at(1.0, samples(0.0, target=3.0), value=1.0)["value"] == pytest.approx(2.0)


def test_a_value_that_moved_too_far_counts_as_if_it_had_stopped_at_the_limit() -> None:
    config = PpoConfig(vf_clip_coef=0.5)
    # From 0 to 2 with target 3: stopped at 0.5, error 2.5 > 1.
    assert loss_at(1.0, samples(0.0, value=0.0, target=3.0), value=2.0, config=config)["value"] == pytest.approx(
        0.5 * 2.5**2
    )
    # Past the target: the plain error is the worse one.
    assert loss_at(1.0, samples(0.0, value=0.0, target=0.4), value=2.0, config=config)["value"] == pytest.approx(
        0.5 * 1.6**2
    )


def test_total_weighs_value_and_entropy() -> None:
    losses = loss_at(1.0, samples(1.0, target=2.0))
    assert losses["total"] == pytest.approx(-1.0 + 0.5 * 2.0 - 0.01 * 1.0)


def test_kl_estimate_and_clip_fraction() -> None:
    losses = loss_at(1.5, samples(1.0))
    assert losses["approx_kl"] == pytest.approx(0.5 - math.log(1.5), rel=1e-5)
    assert losses["clip_fraction"] == 1.0


def test_samples_without_weight_add_nothing_and_still_count_in_the_mean() -> None:
    both = Samples(*(torch.tensor([a, b]) for a, b in [(0.0, 0.0), (3.0, 1e9), (0.0, 1e9), (2.0, -1e9), (1.0, 0.0)]))
    losses = ppo_loss(torch.zeros(2), torch.ones(2), torch.zeros(2), both, CONFIG)
    assert losses.policy.item() == pytest.approx(-1.5)
    assert losses.value.item() == pytest.approx(1.0)
    assert losses.entropy.item() == pytest.approx(0.5)
