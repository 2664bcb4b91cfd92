"""Generalised advantage estimation against closed forms and hand calculation."""

from __future__ import annotations

import pytest
import torch

from trainables.ppo.gae import Ends, discounted_sums, gae


def no_ends(steps: int, rows: int = 1) -> Ends:
    never = torch.zeros((steps, rows), dtype=torch.bool)
    return Ends(never, never, torch.zeros((steps, rows)))


def ends_at(
    steps: int, *, terminal: int | None = None, truncation: int | None = None, final_value: float = 0.0
) -> Ends:
    terminals, truncations = torch.zeros((steps, 1), dtype=torch.bool), torch.zeros((steps, 1), dtype=torch.bool)
    if terminal is not None:
        terminals[terminal] = True
    if truncation is not None:
        truncations[truncation] = True
    return Ends(terminals, truncations, torch.full((steps, 1), final_value))


@pytest.mark.parametrize(("gamma", "gae_lambda"), [(0.9, 0.95), (0.99, 0.0), (0.5, 1.0)])
def test_a_perfect_value_function_leaves_no_advantage(gamma: float, gae_lambda: float) -> None:
    values = torch.full((6, 2), 1.0 / (1.0 - gamma))
    assert gae(torch.ones((5, 2)), values, no_ends(5, 2), gamma, gae_lambda).abs().max() < 1e-5


def test_lambda_one_without_values_is_the_discounted_return() -> None:
    advantages = gae(torch.ones((4, 1)), torch.zeros((5, 1)), no_ends(4), gamma=0.5, gae_lambda=1.0)
    assert advantages.flatten().tolist() == [1.875, 1.75, 1.5, 1.0]


def test_lambda_zero_is_the_one_step_error() -> None:
    rewards, values = torch.tensor([[1.0], [2.0]]), torch.tensor([[10.0], [20.0], [30.0]])
    assert gae(rewards, values, no_ends(2), gamma=0.5, gae_lambda=0.0).flatten().tolist() == [1.0, -3.0]


def test_three_steps_by_hand() -> None:
    rewards, values = torch.tensor([[1.0], [0.0], [2.0]]), torch.tensor([[0.5], [1.0], [0.25], [4.0]])
    # deltas: 1 + .5*1 - .5 = 1; 0 + .5*.25 - 1 = -.875; 2 + .5*4 - .25 = 3.75; decay .5*.8 = .4
    advantages = gae(rewards, values, no_ends(3), gamma=0.5, gae_lambda=0.8).flatten()
    torch.testing.assert_close(advantages, torch.tensor([1.0 + 0.4 * 0.625, -0.875 + 0.4 * 3.75, 3.75]))


def test_termination_has_no_value_beyond_it() -> None:
    advantages = gae(torch.ones((2, 1)), torch.full((3, 1), 7.0), ends_at(2, terminal=0), gamma=0.9, gae_lambda=0.9)
    assert advantages[0].item() == pytest.approx(1.0 - 7.0)


def test_truncation_bootstraps_from_the_state_that_the_limit_hid() -> None:
    advantages = gae(
        torch.ones((2, 1)),
        torch.full((3, 1), 7.0),
        ends_at(2, truncation=0, final_value=3.0),
        gamma=0.9,
        gae_lambda=0.9,
    )
    assert advantages[0].item() == pytest.approx(1.0 + 0.9 * 3.0 - 7.0)


def test_nothing_flows_back_over_the_end_of_an_episode() -> None:
    quiet, loud = torch.zeros((2, 1)), torch.tensor([[0.0], [1e6]])
    for ends in (ends_at(2, terminal=0), ends_at(2, truncation=0)):
        first = [
            gae(rewards, torch.zeros((3, 1)), ends, gamma=0.99, gae_lambda=0.95)[0].item() for rewards in (quiet, loud)
        ]
        assert first[0] == first[1]


def one_by_one(terms: torch.Tensor, decay: torch.Tensor) -> torch.Tensor:
    """The recursion as it is written: a step after the other, from the last."""
    sums, carried = torch.empty_like(terms), torch.zeros_like(terms[0])
    for t in range(len(terms) - 1, -1, -1):
        carried = torch.addcmul(terms[t], decay[t], carried)
        sums[t] = carried
    return sums


def random_terms(steps: int) -> tuple[torch.Tensor, torch.Tensor]:
    """In float64; three rows in which no episode ends, then rows in which one ends in every tenth step."""
    generator = torch.Generator().manual_seed(steps)
    goes_on = torch.rand((steps, 40), generator=generator) > 0.1
    goes_on[:, :3] = True
    return torch.randn((steps, 40), generator=generator, dtype=torch.float64), 0.99 * 0.95 * goes_on.double()


LENGTHS = [1, 2, 3, 4, 5, 7, 8, 9, 31, 64, 100, 512]


@pytest.mark.parametrize("steps", LENGTHS)
def test_whole_tensor_steps_add_up_what_single_steps_add_up(steps: int) -> None:
    terms, decay = random_terms(steps)
    before = terms.clone(), decay.clone()
    torch.testing.assert_close(discounted_sums(terms, decay), one_by_one(terms, decay), rtol=1e-12, atol=1e-12)
    assert torch.equal(terms, before[0])
    assert torch.equal(decay, before[1])


@pytest.mark.parametrize("steps", LENGTHS)
def test_whole_tensor_steps_round_no_worse_than_single_steps(steps: int) -> None:
    terms, decay = random_terms(steps)
    exact = one_by_one(terms, decay)

    def worst(sums: torch.Tensor) -> float:
        return (sums - exact).abs().max().item()

    singles = worst(one_by_one(terms.float(), decay.float()))
    assert worst(discounted_sums(terms.float(), decay.float())) <= 2.0 * singles


def test_an_endless_episode_without_decay_is_a_sum_from_behind() -> None:
    assert discounted_sums(torch.ones((100, 1)), torch.ones((100, 1))).flatten().tolist() == list(range(100, 0, -1))
