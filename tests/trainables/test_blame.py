"""Whether numbers that are none came from the environments or from the policy."""

from __future__ import annotations

import math

import pytest

from tests.trainables.synthetic import make_policy, make_rollout
from trainables.ppo.blame import fault_of_environment

NAN, INFINITE = math.nan, math.inf


@pytest.mark.parametrize(
    ("broken", "fault"),
    [
        ({}, None),
        ({"rewards": 3}, "rewards"),
        ({"observations": 0, "values": 0, "log_probs": 0}, "observations"),
        ({"observations": 5, "values": 5, "rewards": 5}, "observations"),
        ({"rewards": 3, "observations": 4, "values": 4}, "rewards"),
        ({"values": 2}, None),
        ({"log_probs": 2, "rewards": 2}, None),  # the policy acted with NaN, and was paid with NaN
        ({"values": 2, "observations": 3}, None),
        ({"rewards": 7, "values": 8}, "rewards"),  # the last step of the rollout
    ],
)
@pytest.mark.parametrize("number", [NAN, INFINITE])
def test_whoever_was_first_is_to_blame(broken: dict[str, int], fault: str | None, number: float) -> None:
    rollout = make_rollout(make_policy())
    for name, step in broken.items():
        getattr(rollout, name)[step, 2] = number
    assert fault_of_environment(rollout) == fault


def test_images_are_always_finite() -> None:
    rollout = make_rollout(make_policy())
    images = type(rollout)(**{**{n: getattr(rollout, n) for n in rollout.__slots__}, "observations": rollout.actions})
    assert fault_of_environment(images) is None
