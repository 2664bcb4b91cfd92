"""Our trainer on the basic arena, for `side_by_side`: `python -m tests.benchmarks.training.our_arena SETTING`."""

from __future__ import annotations

import json
import sys

import torch

from tests.benchmarks.training.side_by_side import CORES, Blocks, Setting
from trainables.distributed import DistributedContext
from trainables.environments.workers import EnvironmentWorkers
from trainables.metering import Meter
from trainables.ppo.trainer import PpoTrainer, SilentHost
from trainables.result import Progress
from trainables.spec import RunSpec

NUM_WORKERS = max(1, CORES - 1)  # the learner has one


class BlockHost(SilentHost):
    """Trains block by block."""

    def __init__(self, blocks: Blocks, parameters: int, batch_size: int) -> None:
        self._blocks, self._parameters, self._batch_size = blocks, parameters, batch_size
        self._go_on = True

    def wants_stop(self) -> bool:
        return not self._go_on

    def report(self, progress: Progress) -> None:
        del progress
        self._go_on = self._go_on and self._blocks.update_ended(self._batch_size, self._parameters)


def spec(setting: Setting) -> RunSpec:
    """The run; on a GPU with what the pages advise there, with all cores where PuffeRL has workers."""
    on_gpu = setting.device == "cuda"
    trainer = {
        "total_timesteps": 10**12, "schedule": "constant", "simulation": {"curve_points": 0},
        "num_envs": setting.num_envs, "batch_size": setting.batch_size, "minibatch_size": setting.minibatch_size,
        "bptt_horizon": setting.bptt_horizon, "update_epochs": setting.update_epochs,
        "num_workers": NUM_WORKERS if setting.num_workers else 0, "compile": on_gpu, "cuda_graphs": on_gpu,
        "checkpoint": {"interval_seconds": 1e9},
    }  # fmt: skip
    model = {"type": setting.model, "hidden_size": setting.hidden_size}
    resources = {"gpus_per_worker": float(on_gpu)}
    return RunSpec.from_mapping({"device": setting.device, "trainer": trainer, "model": model, "resources": resources})


def main() -> None:
    torch.set_num_threads(1)
    setting = Setting(**json.loads(sys.argv[1]))
    blocks = Blocks()
    run = spec(setting)
    workers = EnvironmentWorkers(run.trainer.num_workers)
    context = DistributedContext(device=torch.device(setting.device))
    trainer = PpoTrainer(run, context, Meter("setup"), workers=workers)
    parameters = sum(parameter.numel() for parameter in trainer.policy.parameters())
    trainer.train(BlockHost(blocks, parameters, trainer.plan.batch_size))
    workers.close()


if __name__ == "__main__":
    main()
