"""Action distributions against torch's own and against frequencies."""

from __future__ import annotations

import torch

from trainables.ppo.distributions import Categorical, DiagonalGaussian


def test_categorical_log_probabilities_and_entropy_are_torchs() -> None:
    logits, actions = torch.randn((64, 5), generator=torch.Generator().manual_seed(0)), torch.arange(64) % 5
    log_probs, entropy = Categorical(5).evaluate(logits, actions)
    reference = torch.distributions.Categorical(logits=logits)
    torch.testing.assert_close(log_probs, reference.log_prob(actions))
    torch.testing.assert_close(entropy, reference.entropy())


def test_categorical_samples_with_its_probabilities() -> None:
    probabilities = torch.tensor([0.5, 0.3, 0.15, 0.05])
    noise = Categorical(4).noise(100_000, torch.Generator().manual_seed(1))
    actions, log_probs = Categorical(4).sample(probabilities.log().expand(100_000, 4), noise)
    frequencies = torch.bincount(actions, minlength=4) / len(actions)
    assert (frequencies - probabilities).abs().max() < 5 * (0.25 / 100_000) ** 0.5
    torch.testing.assert_close(log_probs, probabilities.log()[actions])


def test_categorical_mode_is_the_likeliest_action() -> None:
    assert Categorical(3).mode(torch.tensor([[0.0, 2.0, 1.0], [3.0, 2.0, 1.0]])).tolist() == [1, 0]


def test_gaussian_log_densities_and_entropy_are_torchs() -> None:
    gaussian = DiagonalGaussian(3)
    gaussian.log_std.data = torch.tensor([-0.5, 0.0, 0.7])
    means = torch.randn((16, 3), generator=torch.Generator().manual_seed(0))
    actions, log_probs = gaussian.sample(means, gaussian.noise(16, torch.Generator().manual_seed(1)))
    reference = torch.distributions.Independent(torch.distributions.Normal(means, gaussian.log_std.exp()), 1)
    torch.testing.assert_close(log_probs, reference.log_prob(actions))
    torch.testing.assert_close(gaussian.evaluate(means, actions)[1], reference.entropy())
    assert torch.equal(gaussian.mode(means), means)
