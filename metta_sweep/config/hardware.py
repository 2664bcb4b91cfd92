"""What this machine has, found without importing torch or Ray, and what `auto` in the configuration becomes on it."""

from __future__ import annotations

import importlib.metadata
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from metta_sweep.config import tree as trees
from metta_sweep.config.job import Machine
from metta_sweep.config.tree import Tree
from metta_sweep.errors import ConfigError


def detect(environ: Mapping[str, str]) -> Machine:
    """CPU cores and GPUs that the sweep may use; NUM_CPUS and NUM_GPUS say otherwise, or raise `ConfigError`."""
    num_cpus, num_gpus = _number(environ, "NUM_CPUS", at_least=1), _number(environ, "NUM_GPUS", at_least=0)
    gpus = usable_gpus(environ) if num_gpus is None else num_gpus
    return Machine(usable_cpus() if num_cpus is None else num_cpus, gpus)


def _number(environ: Mapping[str, str], name: str, at_least: int) -> int | None:
    text = environ.get(name, "").strip()
    if not text:
        return None
    if not text.isdecimal() or int(text) < at_least:
        raise ConfigError(f"environment: {name}: need a whole number >= {at_least}, got {text!r}; unset it to detect")
    return int(text)


def usable_cpus(cgroup: Path = Path("/sys/fs/cgroup/cpu.max")) -> int:
    """Cores that this process may run on: its affinity, cut to the container's quota."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = cgroup.read_text().split()
    except (OSError, ValueError):
        return cores
    return cores if quota == "max" else max(1, min(cores, int(quota) // int(period)))


def usable_gpus(environ: Mapping[str, str], devices: Path = Path("/dev")) -> int:
    """NVIDIA GPUs that are visible, 0 when the installed torch could not use them."""
    if _torch_is_cpu_only():
        return 0
    visible = environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return len([name for name in visible.split(",") if name.strip() and name.strip() != "-1"])
    return len([path for path in devices.glob("nvidia[0-9]*") if path.name.removeprefix("nvidia").isdecimal()])


def _torch_is_cpu_only() -> bool:
    try:
        return importlib.metadata.version("torch").endswith("+cpu")
    except importlib.metadata.PackageNotFoundError:
        return True


def fill(tree: Mapping[str, Any], machine: Machine) -> Tree:
    """The tree with every `auto` of device, resources and workers replaced by what fits the machine.

    `device`: cuda with a GPU, else cpu. `world_size`: a rank for each GPU, 1 without. `gpus_per_worker`: 1 on cuda,
    else 0. `cpus_per_worker`: what `trainer.num_workers` asks for, where that is written; else the share of the cores
    that goes with the rank's GPU, or part of one, on cuda, and 1 without. `trainer.num_workers`: a core each, but for
    the learner's own beside a GPU; without one learner and workers take turns, and on a single core a worker gains
    nothing.
    """
    out = dict(tree)

    def settle(key: str, value: Any) -> Any:
        nonlocal out
        path = trees.split(key)
        if trees.get(out, path) == "auto":
            out = trees.put(out, path, value)
        return trees.get(out, path)

    on_gpu = settle("device", "cuda" if machine.num_gpus else "cpu") == "cuda"
    settle("resources.world_size", max(1, machine.num_gpus) if on_gpu else 1)
    gpus = settle("resources.gpus_per_worker", 1.0 if on_gpu else 0.0)
    workers = trees.get(out, ("trainer", "num_workers"))
    cpus = settle("resources.cpus_per_worker", _cores(workers, gpus, machine) if on_gpu else max(1, _whole(workers)))
    cores = _whole(cpus)
    settle("trainer.num_workers", max(0, cores - 1) if on_gpu else cores if cores > 1 else 0)
    return out


def _whole(value: Any) -> int:
    """Anything that is no number counts as 0: it is refused later, by its key."""
    return int(value) if isinstance(value, int | float) and math.isfinite(value) else 0


def _cores(workers: Any, gpus: Any, machine: Machine) -> int:
    """Cores for a rank beside a GPU: one for the learner and one for each worker, where workers are written."""
    return _whole(workers) + 1 if isinstance(workers, int) else _cores_beside(gpus, machine)


def _cores_beside(gpus: Any, machine: Machine) -> int:
    """Cores for a rank with so many GPUs, so that runs that share the machine's GPUs share its cores as well."""
    if machine.num_gpus == 0:
        return 1
    held = gpus if isinstance(gpus, int | float) else 1.0  # anything else is refused later, by its key
    return max(1, int(machine.num_cpus * held / machine.num_gpus))
