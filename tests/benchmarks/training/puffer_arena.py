"""PufferLib's PuffeRL on the basic arena, for `side_by_side`; runs in an interpreter that also has pufferlib-core.

`python -m tests.benchmarks.training.puffer_arena SETTING own|ours` trains in mettagrid's environment for PufferLib, or
in our vector environment; `python -m tests.benchmarks.training.puffer_arena compile` only compiles what it needs.
"""

from __future__ import annotations

import json
import sys
import tempfile
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pufferlib
import pufferlib.models
import pufferlib.vector
import torch
from gymnasium.spaces import Box, Discrete
from mettagrid.config.mettagrid_config import MettaGridConfig
from mettagrid.envs.mettagrid_puffer_env import MettaGridPufferEnv
from mettagrid.simulator import Simulator
from torch import nn
from torch.utils import cpp_extension

from tests.benchmarks.training.side_by_side import Blocks, Setting
from trainables.environments.mettagrid_encoding import TokenEncoder
from trainables.environments.mettagrid_game import game_config
from trainables.environments.mettagrid_tasks import TASKS
from trainables.environments.vector import EnvironmentVector, VectorOptions
from trainables.seeding import TrainingSeeds
from trainables.spec import RunSpec

GAME = game_config(TASKS["arena/basic"])
CONFIG: dict[str, Any] = {
    "env": "arena/basic", "seed": 0, "torch_deterministic": False, "cpu_offload": False, "compile": False,
    "optimizer": "adam", "learning_rate": 3e-4, "adam_beta1": 0.9, "adam_beta2": 0.999, "adam_eps": 1e-5,
    "anneal_lr": False, "precision": "float32", "max_minibatch_size": 2**30, "gamma": 0.99, "gae_lambda": 0.95,
    "prio_alpha": 0.0, "prio_beta0": 1.0, "clip_coef": 0.2, "vf_clip_coef": 0.2, "vf_coef": 0.5, "ent_coef": 0.01,
    "max_grad_norm": 0.5, "vtrace_rho_clip": 1.0, "vtrace_c_clip": 1.0, "total_timesteps": 10**12,
    "checkpoint_interval": 10**9,
}  # fmt: skip


def compile_advantages() -> None:
    """Makes PuffeRL's advantages work where the wheel's compiled part does not load: it needs CUDA 12 and torch 2.9.

    Its source is in the wheel and is compiled for the torch that is here, once: torch keeps the result.
    """
    if hasattr(pufferlib, "_C"):
        return
    sources = Path(pufferlib.__path__[0]) / "extensions"
    files = [sources / "pufferlib.cpp"]
    if torch.cuda.is_available() and cpp_extension.CUDA_HOME is not None:
        files.append(sources / "cuda" / "advantage.cu")
    cpp_extension.load("puffer_advantages", [str(file) for file in files], is_python_module=False)
    sys.modules["pufferlib._C"] = types.ModuleType("pufferlib._C")  # PuffeRL looks whether there is one


class ArenaPolicy(nn.Module):
    """The same network as ours: two layers, then the heads; reads tokens as ours does."""

    is_continuous = False  # LSTMWrapper asks

    def __init__(self, hidden_size: int, num_actions: int) -> None:
        super().__init__()
        self.hidden_size = hidden_size
        self._encoder = TokenEncoder(GAME)
        init = pufferlib.pytorch.layer_init
        self.body = nn.Sequential(
            init(nn.Linear(self._encoder.shape[0], hidden_size)), nn.Tanh(),
            init(nn.Linear(hidden_size, hidden_size)), nn.Tanh(),
        )  # fmt: skip
        self.actions = init(nn.Linear(hidden_size, num_actions), std=0.01)
        self.value = init(nn.Linear(hidden_size, 1), std=1.0)

    def encode_observations(self, observations: torch.Tensor, state: object = None) -> torch.Tensor:
        del state
        hidden: torch.Tensor = self.body(self._encoder.encode(observations))
        return hidden

    def decode_actions(self, hidden: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return self.actions(hidden), self.value(hidden)

    def forward(self, observations: torch.Tensor, state: object = None) -> tuple[torch.Tensor, torch.Tensor]:
        return self.decode_actions(self.encode_observations(observations, state))

    forward_eval = forward


class OurVector(pufferlib.PufferEnv):
    """Our vector environment as one environment of PufferLib with the agents of all."""

    def __init__(self, num_envs: int, buf: Any = None, seed: int = 0) -> None:
        options = VectorOptions(num_envs, TrainingSeeds(seed, 0, 0), stagger=True)
        self._env = EnvironmentVector(RunSpec.from_mapping({}).environment, options)
        self.single_observation_space = Box(0, 255, self._env.observations.shape[1:], np.uint8)
        self.single_action_space = Discrete(len(GAME.actions.actions()))
        self.num_agents = len(self._env.observations)
        super().__init__(buf)

    def reset(self, seed: int | None = None) -> tuple[np.ndarray, list[Any]]:
        del seed
        self._env.reset()
        self._copy()
        return self.observations, []

    def step(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, list[Any]]:
        self._env.step(actions)
        self._env.drain_episodes()
        self._copy()
        return self.observations, self.rewards, self.terminals, self.truncations, []

    def _copy(self) -> None:
        for name in ("observations", "rewards", "terminals", "truncations"):
            getattr(self, name)[:] = getattr(self._env, name)

    def close(self) -> None:
        self._env.close()


def own_env(buf: Any = None, seed: int = 0) -> MettaGridPufferEnv:
    """What mettagrid brings for PufferLib."""
    return MettaGridPufferEnv(Simulator(), MettaGridConfig(game=GAME), buf=buf, seed=seed)


def vector(setting: Setting, whose: str) -> Any:
    """With workers, half of them step while the policy acts for the others, as PufferLib advises."""
    count = setting.num_envs
    creator: Callable[..., pufferlib.PufferEnv] = own_env
    kwargs: dict[str, int] = {}
    if whose == "ours":
        count = max(1, setting.num_workers)
        creator, kwargs = OurVector, {"num_envs": setting.num_envs // count}
    workers: dict[str, Any] = {"backend": "Serial"}
    if setting.num_workers:
        workers = {"backend": "Multiprocessing", "num_workers": setting.num_workers, "batch_size": count // 2}
    return pufferlib.vector.make(creator, env_kwargs=kwargs, num_envs=count, overwork=True, **workers)


def policy(setting: Setting, vecenv: Any) -> nn.Module:
    plain = ArenaPolicy(setting.hidden_size, int(vecenv.single_action_space.n))
    if setting.model == "mlp":
        return plain.to(setting.device)
    wrapped: nn.Module = pufferlib.models.LSTMWrapper(
        vecenv.driver_env, plain, input_size=setting.hidden_size, hidden_size=setting.hidden_size
    )
    return wrapped.to(setting.device)


def config(setting: Setting, num_agents: int, directory: str) -> dict[str, Any]:
    horizon = setting.batch_size // num_agents
    return {
        **CONFIG, "batch_size": horizon * num_agents, "minibatch_size": setting.minibatch_size,
        "bptt_horizon": horizon if setting.model == "mlp" else setting.bptt_horizon,
        "use_rnn": setting.model == "lstm", "update_epochs": setting.update_epochs, "device": setting.device,
        "data_dir": directory,
    }  # fmt: skip


def train(setting: Setting, whose: str, blocks: Blocks, directory: str) -> None:
    vecenv = vector(setting, whose)
    settings = config(setting, vecenv.num_agents, directory)
    trainer = pufferlib.pufferl.PuffeRL(settings, vecenv, policy(setting, vecenv))
    trainer.print_dashboard = lambda *_, **__: None  # drawing it would cost a few percent of one core
    go_on = True
    try:
        while go_on:
            trainer.evaluate()
            trainer.train()
            go_on = blocks.update_ended(settings["batch_size"], trainer.model_size)
    finally:
        trainer.close()  # its workers would spin on


def main() -> None:
    torch.set_num_threads(1)
    if sys.argv[1] == "compile":
        compile_advantages()
        return
    blocks = Blocks()
    compile_advantages()
    with tempfile.TemporaryDirectory() as directory:
        train(Setting(**json.loads(sys.argv[1])), sys.argv[2], blocks, directory)


if __name__ == "__main__":
    main()
