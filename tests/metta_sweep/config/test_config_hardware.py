"""What `auto` becomes, found without torch, Ray or a GPU library."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from metta_sweep.config import hardware
from metta_sweep.config.job import Machine

AUTO = {
    "device": "auto",
    "resources": {"world_size": "auto", "gpus_per_worker": "auto", "cpus_per_worker": "auto"},
    "trainer": {"num_workers": "auto"},
}


@pytest.mark.parametrize(
    ("machine", "expected"),
    [
        (Machine(num_cpus=16, num_gpus=0), ("cpu", 1, 0.0, 1, 0)),
        (Machine(num_cpus=16, num_gpus=4), ("cuda", 4, 1.0, 4, 3)),
        (Machine(num_cpus=2, num_gpus=4), ("cuda", 4, 1.0, 1, 0)),
    ],
)
def test_auto_fits_the_machine(machine: Machine, expected: tuple[object, ...]) -> None:
    filled = hardware.fill(AUTO, machine)
    resources = filled["resources"]
    found = (
        filled["device"],
        resources["world_size"],
        resources["gpus_per_worker"],
        resources["cpus_per_worker"],
        filled["trainer"]["num_workers"],
    )
    assert found == expected


@pytest.mark.parametrize(("gpus", "cpus"), [(0.25, 4), (0.1, 1), (0.01, 1), (1, 16), ("half", 16)])
def test_runs_that_share_a_gpu_share_the_cores_beside_it(gpus: object, cpus: int) -> None:
    written = {**AUTO, "resources": {"world_size": 1, "gpus_per_worker": gpus, "cpus_per_worker": "auto"}}
    filled = hardware.fill(written, Machine(num_cpus=16, num_gpus=1))
    assert (filled["resources"]["cpus_per_worker"], filled["trainer"]["num_workers"]) == (cpus, cpus - 1)


@pytest.mark.parametrize(
    ("device", "cpus", "workers", "expected"),
    [
        ("cpu", "auto", 4, (4, 4)),  # learner and workers take turns
        ("cpu", "auto", 0, (1, 0)),
        ("cpu", 3, "auto", (3, 3)),
        ("cpu", 0.5, "auto", (0.5, 0)),
        ("cuda", "auto", 4, (5, 4)),  # the learner works while they do
        ("cuda", "auto", 0, (1, 0)),
        ("cuda", 6, "auto", (6, 5)),
        ("cpu", "auto", "many", (1, "many")),  # refused later, by its key
    ],
)
def test_cores_cover_the_workers_and_workers_fill_the_cores(
    device: str, cpus: object, workers: object, expected: tuple[object, object]
) -> None:
    resources = {"world_size": 1, "gpus_per_worker": float(device == "cuda"), "cpus_per_worker": cpus}
    written = {"device": device, "resources": resources, "trainer": {"num_workers": workers}}
    filled = hardware.fill(written, Machine(num_cpus=16, num_gpus=1))
    assert (filled["resources"]["cpus_per_worker"], filled["trainer"]["num_workers"]) == expected


def test_what_is_written_stays() -> None:
    written = {
        "device": "cpu",
        "resources": {"world_size": 2, "gpus_per_worker": 0, "cpus_per_worker": 3},
        "trainer": {"num_workers": 5},
    }
    assert hardware.fill(written, Machine(16, 8)) == written


def test_num_cpus_and_num_gpus_say_what_to_use() -> None:
    assert hardware.detect({"NUM_CPUS": "16", "NUM_GPUS": "4"}) == Machine(16, 4)


@pytest.mark.parametrize(("text", "cores"), [("max 100000", 10**6), ("150000 100000", 1), ("50000 100000", 1)])
def test_a_containers_quota_limits_the_cores(text: str, cores: int, tmp_path: Path) -> None:
    quota = tmp_path / "cpu.max"
    quota.write_text(text)
    assert hardware.usable_cpus(quota) == min(cores, hardware.usable_cpus(tmp_path / "absent"))


def test_gpus_are_counted_from_device_files_and_the_visible_list(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hardware, "_torch_is_cpu_only", lambda: False)
    for name in ("nvidia0", "nvidia1", "nvidiactl", "nvidia-uvm"):
        (tmp_path / name).touch()
    assert hardware.usable_gpus({}, tmp_path) == 2
    assert hardware.usable_gpus({"CUDA_VISIBLE_DEVICES": "3,5,7"}, tmp_path) == 3
    assert hardware.usable_gpus({"CUDA_VISIBLE_DEVICES": ""}, tmp_path) == 0


def test_loading_a_job_imports_neither_ray_torch_wandb_nor_a_simulator() -> None:
    code = (
        "import sys; from metta_sweep.config import load_sweep_job; load_sweep_job(['sweep_name=x', 'sweep=quick'], "
        "{}); heavy = {'ray', 'torch', 'wandb', 'mettagrid', 'pandas', 'sqlalchemy', 'scipy.stats'}; "
        "print(sorted(heavy & set(sys.modules)))"
    )
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"
    )
