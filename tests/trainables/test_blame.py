"""Whether numbers that are none came from the environments or from the policy."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tests.trainables.synthetic import make_policy, make_rollout
from trainables.ppo.blame import fault_of_environment

NAN, INFINITE = math.nan, math.inf
AFTER = np.zeros((3, 2), np.float32)  # what the environments show after the rollout


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
    assert fault_of_environment(rollout, AFTER) == fault


def test_what_is_seen_after_the_last_step_counts_as_well() -> None:
    rollout, after = make_rollout(make_policy()), AFTER.copy()
    after[1, 0] = NAN
    rollout.values[-1, 1] = NAN
    assert fault_of_environment(rollout, after) == "observations"
    rollout.log_probs[2] = NAN
    assert fault_of_environment(rollout, after) is None


def test_images_are_always_finite() -> None:
    rollout = make_rollout(make_policy())
    images = type(rollout)(**{**{n: getattr(rollout, n) for n in rollout.__slots__}, "observations": rollout.actions})
    assert fault_of_environment(images, AFTER.astype(np.uint8)) is None
