"""PPO on CartPole in one file, in CleanRL's style: flags in, a line with each mean return out. It knows no sweep."""

from __future__ import annotations

import argparse

import gymnasium
import numpy as np
import torch
from torch import nn
from torch.distributions import Categorical

Batch = dict[str, torch.Tensor]


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--env-id", default="CartPole-v1")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--total-timesteps", type=int, default=32_768)
    parser.add_argument("--learning-rate", type=float, default=2.5e-3)
    parser.add_argument("--anneal-lr", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--num-envs", type=int, default=8)
    parser.add_argument("--num-steps", type=int, default=128)
    parser.add_argument("--gamma", type=float, default=0.99)
    parser.add_argument("--gae-lambda", type=float, default=0.95)
    parser.add_argument("--num-minibatches", type=int, default=4)
    parser.add_argument("--update-epochs", type=int, default=4)
    parser.add_argument("--clip-coef", type=float, default=0.2)
    parser.add_argument("--ent-coef", type=float, default=0.01)
    return parser.parse_args()


class Agent(nn.Module):
    """A policy and a value."""

    def __init__(self, num_inputs: int, num_actions: int) -> None:
        super().__init__()
        self.actor = nn.Sequential(nn.Linear(num_inputs, 64), nn.Tanh(), nn.Linear(64, num_actions))
        self.critic = nn.Sequential(nn.Linear(num_inputs, 64), nn.Tanh(), nn.Linear(64, 1))

    def forward(self, observations: torch.Tensor) -> tuple[Categorical, torch.Tensor]:
        return Categorical(logits=self.actor(observations)), self.critic(observations)[..., 0]


def rollout(envs: gymnasium.vector.VectorEnv, agent: Agent, seen: np.ndarray, args: argparse.Namespace) -> Batch:
    """`num_steps` steps of all environments; (steps, envs) each."""
    rows: dict[str, list[torch.Tensor]] = {
        name: [] for name in ("seen", "actions", "logs", "values", "rewards", "ends")
    }
    for _ in range(args.num_steps):
        now = torch.as_tensor(seen, dtype=torch.float32)
        with torch.no_grad():
            policy, values = agent(now)
        actions = policy.sample()
        seen, rewards, terminals, truncations, _ = envs.step(actions.numpy())
        step = (now, actions, policy.log_prob(actions), values, rewards, terminals | truncations)
        for row, value in zip(rows.values(), step, strict=True):
            row.append(torch.as_tensor(value, dtype=torch.float32))
    with torch.no_grad():
        last = agent(torch.as_tensor(seen, dtype=torch.float32))[1]
    batch = {name: torch.stack(row) for name, row in rows.items()}
    return batch | {"advantages": advantages(batch, last, args), "next": torch.as_tensor(seen)}


def advantages(batch: Batch, last: torch.Tensor, args: argparse.Namespace) -> torch.Tensor:
    """Generalised advantage estimation."""
    found, after = torch.zeros_like(batch["rewards"]), torch.zeros_like(last)
    for step in reversed(range(args.num_steps)):
        goes_on = 1.0 - batch["ends"][step]
        delta = batch["rewards"][step] + args.gamma * last * goes_on - batch["values"][step]
        after = delta + args.gamma * args.gae_lambda * goes_on * after
        found[step], last = after, batch["values"][step]
    return found


def update(agent: Agent, optimizer: torch.optim.Optimizer, batch: Batch, args: argparse.Namespace) -> None:
    flat = {name: value.flatten(0, 1) for name, value in batch.items() if name != "next"}
    for _ in range(args.update_epochs):
        for rows in torch.randperm(len(flat["actions"])).chunk(args.num_minibatches):
            policy, values = agent(flat["seen"][rows])
            gain = flat["advantages"][rows]
            ratio = (policy.log_prob(flat["actions"][rows]) - flat["logs"][rows]).exp()
            scaled = (gain - gain.mean()) / (gain.std() + 1e-8)
            clipped = ratio.clamp(1 - args.clip_coef, 1 + args.clip_coef)
            value_loss = (values - gain - flat["values"][rows]).square().mean()
            loss = -torch.min(ratio * scaled, clipped * scaled).mean() + 0.5 * value_loss
            loss = loss - args.ent_coef * policy.entropy().mean()
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(agent.parameters(), 0.5)
            optimizer.step()


def main() -> None:
    args = parse()
    torch.set_num_threads(1)
    torch.manual_seed(args.seed)
    envs = gymnasium.make_vec(args.env_id, num_envs=args.num_envs, vectorization_mode="sync")
    agent = Agent(envs.single_observation_space.shape[0], envs.single_action_space.n)
    optimizer = torch.optim.Adam(agent.parameters(), lr=args.learning_rate, eps=1e-5)
    seen, _ = envs.reset(seed=args.seed)
    num_updates = max(1, args.total_timesteps // (args.num_envs * args.num_steps))
    for number in range(1, num_updates + 1):
        if args.anneal_lr:
            optimizer.param_groups[0]["lr"] = args.learning_rate * (1 - (number - 1) / num_updates)
        batch = rollout(envs, agent, seen, args)
        seen = batch["next"].numpy()
        update(agent, optimizer, batch, args)
        # CartPole pays 1 for each step, so that steps by ends are the mean return.
        mean_return = batch["rewards"].sum() / batch["ends"].sum().clamp(min=1)
        print(f"global_step={number * args.num_envs * args.num_steps}, episodic_return={mean_return:.2f}", flush=True)


if __name__ == "__main__":
    main()
