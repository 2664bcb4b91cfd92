"""stable-baselines3 on CartPole, for comparison; runs in whatever interpreter has it. Prints one JSON line.

`python cartpole_sb3.py speed STEPS` or `python cartpole_sb3.py until SCORE SEED`.
"""

from __future__ import annotations

import json
import sys
import time
from collections import deque

import torch
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.env_util import make_vec_env


class Until(BaseCallback):
    """Stops when the last 100 training episodes have this mean return."""

    def __init__(self, score: float) -> None:
        super().__init__()
        self._score = score
        self._returns: deque[float] = deque(maxlen=100)

    def _on_step(self) -> bool:
        self._returns.extend(info["episode"]["r"] for info in self.locals["infos"] if "episode" in info)
        return len(self._returns) < 100 or sum(self._returns) / 100 < self._score


def speed(steps: int) -> dict[str, float]:
    """Like CleanRL's defaults: 4 environments, 128 steps, 4 minibatches, 4 epochs."""
    model = PPO(
        "MlpPolicy",
        make_vec_env("CartPole-v1", 4),
        n_steps=128,
        batch_size=128,
        n_epochs=4,
        learning_rate=2.5e-4,
        ent_coef=0.01,
        device="cpu",
    )
    model.learn(1024)
    began = time.process_time()
    model.learn(steps)
    return {"steps_per_cpu_second": steps / (time.process_time() - began)}


def until(score: float, seed: int) -> dict[str, float]:
    """The settings that its authors tuned for CartPole (rl-baselines3-zoo)."""
    model = PPO(
        "MlpPolicy", make_vec_env("CartPole-v1", 8, seed=seed), n_steps=32,
        batch_size=256, n_epochs=20, gamma=0.98, gae_lambda=0.8,
        learning_rate=lambda left: 1e-3 * left, clip_range=lambda left: 0.2 * left,
        ent_coef=0.0, device="cpu", seed=seed,
    )  # fmt: skip
    began = time.process_time()
    model.learn(300_000, callback=Until(score))
    return {"cpu_seconds": time.process_time() - began, "steps": model.num_timesteps}


if __name__ == "__main__":
    torch.set_num_threads(1)
    answer = speed(int(sys.argv[2])) if sys.argv[1] == "speed" else until(float(sys.argv[2]), int(sys.argv[3]))
    print(json.dumps(answer))
