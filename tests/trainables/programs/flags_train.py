"""A script with flags and no idea of sweeps: argparse, truth values and a list, episodes on standard output."""

from __future__ import annotations

import argparse


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--total-timesteps", "--total_timesteps", type=int, default=1000)
    parser.add_argument("--learning-rate", "--learning_rate", type=float, default=2.5e-4)
    parser.add_argument("--anneal-lr", "--anneal_lr", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--hidden", type=int, nargs="+", default=[64, 64])
    arguments = parser.parse_args()
    print(arguments)
    for step in range(0, arguments.total_timesteps, arguments.total_timesteps // 4):
        reward = step * arguments.learning_rate + len(arguments.hidden) + 0.5 * arguments.anneal_lr
        print(f"global_step={step}, episodic_return=[{reward:.3f}]")


main()
