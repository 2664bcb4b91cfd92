"""A function that trains: a softmax policy on a bandit with ten arms, by REINFORCE."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from trainables.function import FunctionContext

NUM_ARMS = 10


def train(config: Mapping[str, Any], context: FunctionContext) -> None:
    """Reports the mean reward of the latest tenth, ten times."""
    rng = np.random.default_rng(context.seed)
    arms = np.linspace(0.0, 1.0, NUM_ARMS)
    preferences, baseline = np.zeros(NUM_ARMS), 0.0
    part = int(config["steps"]) // 10
    for number in range(1, 11):
        rewards = 0.0
        for _ in range(part):
            chances = np.exp(preferences - preferences.max())
            chances /= chances.sum()
            arm = rng.choice(NUM_ARMS, p=chances)
            reward = arms[arm] + rng.normal(0.0, 0.3)
            preferences += config["learning_rate"] * (reward - baseline) * ((np.arange(NUM_ARMS) == arm) - chances)
            baseline += config["baseline_rate"] * (reward - baseline)
            rewards += reward
        context.report(score=rewards / part, step=number * part)
        if context.should_stop():
            return
