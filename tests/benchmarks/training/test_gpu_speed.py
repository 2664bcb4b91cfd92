"""Training on a GPU against one core beside it: wall time per step of the basic arena, setting by setting, in one
process.
"""

from __future__ import annotations

import time
from typing import Any

import pytest
import torch

from trainables.distributed import DistributedContext
from trainables.environments.workers import EnvironmentWorkers
from trainables.metering import Meter
from trainables.ppo.trainer import PpoTrainer, SilentHost
from trainables.result import Progress
from trainables.spec import RunSpec

pytestmark = [
    pytest.mark.benchmark, pytest.mark.timeout(900),
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU here"),
]  # fmt: skip
FAST = {"compile": True, "cuda_graphs": True}
SETTINGS: dict[str, tuple[str, dict[str, Any]]] = {
    "one core": ("cpu", {}),
    "gpu": ("cuda", {}),
    "gpu, bf16": ("cuda", {"precision": "bf16"}),
    "gpu, compiled": ("cuda", FAST),
    "gpu, compiled, bf16": ("cuda", {**FAST, "precision": "bf16"}),
}


class Clock(SilentHost):
    """When each update ended."""

    def __init__(self) -> None:
        self.ends: list[float] = []

    def report(self, progress: Progress) -> None:
        del progress
        self.ends.append(time.perf_counter())


def seconds_per_update(device: str, model: dict[str, Any], trainer: dict[str, Any]) -> float:
    """Of the fastest update, after some that warm up and compile."""
    torch.set_num_threads(1)
    section = {"total_timesteps": 8 * trainer["batch_size"], "simulation": {"curve_points": 0}, **trainer}
    resources = {"gpus_per_worker": float(device == "cuda")}
    spec = RunSpec.from_mapping({"device": device, "trainer": section, "model": model, "resources": resources})
    clock, workers = Clock(), EnvironmentWorkers(spec.trainer.num_workers)
    PpoTrainer(spec, DistributedContext(device=torch.device(device)), Meter("setup"), workers=workers).train(clock)
    workers.close()
    return min(after - before for before, after in zip(clock.ends[3:], clock.ends[4:], strict=False))


@pytest.mark.parametrize(
    ("model", "trainer"),
    [
        ({"type": "mlp"}, {"batch_size": 8192, "minibatch_size": 2048, "num_envs": 32, "num_workers": 0}),
        (
            {"type": "mlp", "hidden_size": 1024},
            {"batch_size": 32_768, "minibatch_size": 8192, "num_envs": 256, "num_workers": 8},
        ),
        ({"type": "lstm"}, {"batch_size": 8192, "minibatch_size": 2048, "num_envs": 64, "num_workers": 0}),
    ],
)
def test_gpu_against_one_core(model: dict[str, Any], trainer: dict[str, Any]) -> None:
    print(f"\n{torch.cuda.get_device_name()}, {model}, {trainer}")
    base = 0.0
    for name, (device, faster) in SETTINGS.items():
        seconds = seconds_per_update(device, model, {**trainer, **faster})
        base = base or seconds
        print(f"{name:22s} {trainer['batch_size'] / seconds:9.0f} steps/s  {base / seconds:5.2f} times one core")
