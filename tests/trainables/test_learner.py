"""One update: what changes parameters and what must not."""

from __future__ import annotations

import pytest
import torch

from tests.trainables.synthetic import ACTIONS, FEATURES, make_learner, make_policy, make_rollout
from trainables.distributed import DistributedContext
from trainables.errors import HyperparameterFailure
from trainables.ppo.config import OptimizerConfig, PpoConfig
from trainables.ppo.learner import normalize, pick_samples, pick_segments, split

ALONE = DistributedContext()


def test_parameters_and_gradients_are_views_of_one_flat_tensor() -> None:
    policy = make_policy()
    learner = make_learner(policy, ALONE, rows=8)
    policy(torch.ones((2, FEATURES)))[1].sum().backward()
    flat = torch.cat([parameter.grad.reshape(-1) for parameter in policy.parameters() if parameter.grad is not None])
    assert torch.equal(flat, learner.parameters.gradient)
    learner.parameters.values.data.zero_()
    assert all(not parameter.any() for parameter in policy.parameters())


def test_the_gradient_is_scaled_down_to_the_given_norm() -> None:
    learner = make_learner(make_policy(), ALONE, rows=8)
    learner.parameters.gradient.fill_(1.0)
    norm = learner.parameters.clip_gradient_(0.5)
    assert norm.item() == pytest.approx(len(learner.parameters.gradient) ** 0.5)
    assert learner.parameters.gradient.norm().item() == pytest.approx(0.5, rel=1e-4)
    learner.parameters.clip_gradient_(10.0)
    assert learner.parameters.gradient.norm().item() == pytest.approx(0.5, rel=1e-4)


def test_advantages_are_normalised_over_the_samples_that_count() -> None:
    weights = torch.tensor([[1.0, 1.0, 1.0, 0.0]])
    normal = normalize(torch.tensor([[1.0, 2.0, 3.0, 1e6]]), weights, ALONE)[0, :3]
    torch.testing.assert_close(normal, torch.tensor([-1.0, 0.0, 1.0]) * 1.5**0.5)


@pytest.mark.parametrize("kind", ["mlp", "lstm"])
def test_accumulating_gradients_over_parts_gives_the_gradient_of_the_whole(kind: str) -> None:
    gradients = []
    for parts in (1, 3):
        policy = make_policy(kind)
        learner = make_learner(policy, ALONE, rows=8, gradient_accumulation=parts)
        learner.update(make_rollout(policy), 0.0, torch.Generator().manual_seed(0))
        gradients.append(learner.parameters.gradient.clone())
    torch.testing.assert_close(gradients[0], gradients[1], rtol=1e-4, atol=1e-6)


def test_epochs_end_when_the_policy_moved_too_far() -> None:
    moved = []
    for target in (0.0, 1e-9):
        policy = make_policy()
        learner = make_learner(policy, ALONE, rows=8, num_minibatches=4, ppo=PpoConfig(target_kl=target))
        object.__setattr__(learner._trainer, "update_epochs", 5)
        before = learner.parameters.values.detach().clone()
        learner.update(make_rollout(policy), 1e-2, torch.Generator().manual_seed(0))
        moved.append((learner.parameters.values - before).norm().item())
    assert moved[1] < moved[0]


def test_a_loss_that_is_not_finite_is_the_fault_of_the_point() -> None:
    policy = make_policy()
    rollout = make_rollout(policy)
    rollout.rewards[3, 3] = float("nan")
    with pytest.raises(HyperparameterFailure, match="diverged"):
        make_learner(policy, ALONE, rows=8).update(rollout, 1e-3, torch.Generator().manual_seed(0))


@pytest.mark.parametrize("kind", ["adam", "adamw", "sgd"])
def test_every_optimiser_moves_the_parameters(kind: str) -> None:
    policy = make_policy()
    learner = make_learner(
        policy, ALONE, rows=8, optimizer=OptimizerConfig(type=kind, beta1=1.0 if kind == "adam" else 0.9)
    )
    before = learner.parameters.values.detach().clone()
    losses = learner.update(make_rollout(policy), 1e-2, torch.Generator().manual_seed(0))
    assert not torch.equal(before, learner.parameters.values)
    assert 0.0 < losses["entropy"] <= torch.log(torch.tensor(float(ACTIONS))).item() + 1e-6


def test_segments_keep_time_order_and_start_from_their_own_memory() -> None:
    policy = make_policy("lstm")
    rollout = make_rollout(policy)
    flat = torch.arange(64.0).view(8, 8)
    minibatch = pick_segments(rollout, flat, flat, torch.tensor([0, 13]), 4)  # segment 0 of row 0; segment 1 of row 5
    assert minibatch.samples.returns.view(4, 2).T.tolist() == [[0, 8, 16, 24], [37, 45, 53, 61]]
    assert torch.equal(minibatch.observations[:, 1], rollout.observations[4:, 5])
    assert torch.equal(minibatch.memory[:, 1], rollout.memories[1, :, 5])
    assert torch.equal(minibatch.starts[:, 0], rollout.starts[:4, 0])


def test_samples_and_their_parts_stay_together() -> None:
    policy = make_policy()
    rollout = make_rollout(policy)
    flat = torch.arange(64.0).view(8, 8)
    minibatch = pick_samples(rollout, flat, flat, torch.tensor([3, 20, 63]))
    assert minibatch.samples.returns.tolist() == [3, 20, 63]
    assert torch.equal(minibatch.observations[1], rollout.observations[2, 4])
    parts = split(minibatch, 2)
    assert torch.cat([part.samples.returns for part in parts]).tolist() == [3, 20, 63]
    assert torch.equal(torch.cat([part.observations for part in parts]), minibatch.observations)


@pytest.mark.long
@pytest.mark.parametrize("kind", ["mlp", "lstm"])
def test_a_compiled_policy_has_the_same_gradient(kind: str) -> None:
    gradients = []
    for compiled in (False, True):
        policy = make_policy(kind)
        learner = make_learner(policy, ALONE, rows=8, compile=compiled)
        assert (learner._forward in (policy, policy.sequence)) is not compiled
        learner.update(make_rollout(policy), 0.0, torch.Generator().manual_seed(0))
        gradients.append(learner.parameters.gradient.clone())
    torch.testing.assert_close(gradients[0], gradients[1], rtol=1e-4, atol=1e-6)
