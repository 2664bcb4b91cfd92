"""A training script that knows nothing of sweeps: stable-baselines3, argparse, a table on standard output, a file of
results.
"""

from __future__ import annotations

import argparse
import json

import torch
from stable_baselines3 import A2C, PPO
from stable_baselines3.common.evaluation import evaluate_policy


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--algo", choices=["ppo", "a2c"], default="ppo")
    parser.add_argument("--env", default="CartPole-v1")
    parser.add_argument("--steps", type=int, default=4096)
    parser.add_argument("--learning_rate", type=float, default=3e-4)
    parser.add_argument("--gamma", type=float, default=0.99)
    parser.add_argument("--results", default="")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    kind = {"ppo": PPO, "a2c": A2C}[arguments.algo]
    model = kind(
        "MlpPolicy",
        arguments.env,
        learning_rate=arguments.learning_rate,
        gamma=arguments.gamma,
        verbose=1,
        device="cpu",
    )
    half = arguments.steps // 2
    for _ in range(2):
        model.learn(half, reset_num_timesteps=False)
        mean, _ = evaluate_policy(model, model.get_env(), n_eval_episodes=5)
        if arguments.results:
            with open(arguments.results, "a") as file:
                file.write(json.dumps({"step": model.num_timesteps, "score": float(mean)}) + "\n")


main()
