"""Our trainer beside PufferLib's PuffeRL on the basic arena: the same network, sizes and epochs, in turn.

PuffeRL trains in mettagrid's environment for PufferLib, and in our vector environment, which leaves the two trainers.
pufferlib-core is not in the test environment, because it asks for another torch (README.md here says how to get it);
METTA_SWEEP_PUFFER_PYTHON names an interpreter that has it beside what this project needs (default: this one).
"""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import pytest
import torch

from tests.benchmarks.training.side_by_side import CORES, Program, Setting, alternate, ratio, typical

pytestmark = [pytest.mark.benchmark, pytest.mark.timeout(1800)]
PYTHON = os.environ.get("METTA_SWEEP_PUFFER_PYTHON", sys.executable)
OURS, OWN, INSIDE = "ours", "PuffeRL", "PuffeRL, our vector environment"
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
MANY_CORES = 8  # with fewer there is nothing to share out
AGENTS = 4  # of an environment


@pytest.fixture(scope="module", autouse=True)
def _puffer() -> None:
    found = subprocess.run([PYTHON, "-c", "import pufferlib"], capture_output=True, text=True, check=False)
    if "No module named 'pufferlib'" in found.stderr:
        pytest.skip(f"{PYTHON} has no pufferlib-core; name an interpreter that has in METTA_SWEEP_PUFFER_PYTHON")
    assert found.returncode == 0, found.stderr


def compare(setting: Setting, clock: str, rounds: int, seconds: float, logs: Path) -> dict[str, float]:
    """Trains all three in turn and prints what came out; our rate over each, by name."""
    package = "tests.benchmarks.training"
    programs = {
        OURS: Program(f"{package}.our_arena", setting, logs / "ours.log"),
        OWN: Program(f"{package}.puffer_arena", setting, logs / "own.log", PYTHON, "own"),
        INSIDE: Program(f"{package}.puffer_arena", setting, logs / "inside.log", PYTHON, "ours"),
    }
    rates = alternate(programs, rounds, seconds)
    assert len({program.parameters for program in programs.values()}) == 1, "networks differ"
    device = torch.cuda.get_device_name() if setting.device == "cuda" else "no GPU"
    print(f"\n{device}, {CORES} cores, steps per second of {clock} time, {asdict(setting)}")
    ratios = {name: ratio(rates[OURS], found, clock) for name, found in rates.items()}
    for name, found in rates.items():
        rounds_apart = sorted(ratio([ours], [theirs], clock) for ours, theirs in zip(rates[OURS], found, strict=True))
        print(
            f"{name:32s} {typical(found, clock):9.0f}  ours over it {ratios[name]:5.2f}  "
            f"({rounds_apart[0]:.2f} to {rounds_apart[-1]:.2f} over rounds)"
        )
    return ratios


def test_an_mlp_on_one_core_trains_at_1_3_times_the_speed_of_pufferl(tmp_path: Path) -> None:
    setting = Setting("mlp", 64, num_envs=32, batch_size=8192, minibatch_size=1024)
    ratios = compare(setting, "cpu", rounds=8, seconds=4.0, logs=tmp_path)
    assert ratios[OWN] >= 1.3
    assert ratios[INSIDE] >= 1.15  # what is left of it where both step our environments


@pytest.mark.parametrize("width", [64, 128])
def test_an_lstm_on_one_core_trains_at_the_speed_of_pufferl(width: int, tmp_path: Path) -> None:
    setting = Setting("lstm", width, num_envs=32, batch_size=8192, minibatch_size=1024, bptt_horizon=16)
    ratios = compare(setting, "cpu", rounds=8, seconds=4.0, logs=tmp_path)
    assert min(ratios[OWN], ratios[INSIDE]) >= 1.0


def many(model: str, width: int, num_envs: int, batch_size: int, num_workers: int) -> Setting:
    """As near to these numbers as PuffeRL allows: an even number of processes, the same environments in each."""
    num_workers = max(2, min(num_workers, CORES // 2 * 2))
    num_envs -= num_envs % num_workers
    horizon = round(batch_size / (AGENTS * num_envs))
    return Setting(
        model, width, num_envs,
        batch_size=AGENTS * num_envs * horizon, minibatch_size=num_envs * horizon, bptt_horizon=horizon,
        num_workers=num_workers, device=DEVICE,
    )  # fmt: skip


@pytest.mark.skipif(CORES < MANY_CORES, reason=f"needs {MANY_CORES} cores, there are {CORES}")
@pytest.mark.parametrize(
    "setting",
    [
        pytest.param(many("mlp", 512, 256, 32_768, num_workers=8), id="mlp, 256 environments"),
        pytest.param(many("mlp", 512, 1024, 131_072, num_workers=14), id="mlp, about 1000 environments"),
        pytest.param(many("lstm", 256, 1024, 131_072, num_workers=8), id="lstm, 1024 environments"),
    ],
)
def test_with_many_cores_training_is_as_fast_as_pufferl(setting: Setting, tmp_path: Path) -> None:
    ratios = compare(setting, "wall", rounds=3, seconds=2.5, logs=tmp_path)
    assert min(ratios[OWN], ratios[INSIDE]) >= 1.0
