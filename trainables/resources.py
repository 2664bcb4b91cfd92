"""What a run is given: ranks, cores, GPUs, and how long it waits for them."""

from __future__ import annotations

import re
from dataclasses import dataclass

from trainables.errors import Problem
from trainables.fields import nearest

LABEL = re.compile(r"[\w./-]+=[\w.-]+")  # of a node, as Ray takes it


@dataclass(frozen=True, slots=True)
class Resources:
    """What a run is given.

    Attributes:
        world_size: ranks of `torch.distributed`.
        gpus_per_worker: GPUs of a rank; fractions only at world size 1.
        cpus_per_worker: CPU cores of a rank.
        strategy: PACK, STRICT_PACK, SPREAD or STRICT_SPREAD.
        node_labels: `name=value` each; every rank runs on nodes with all of these labels only.
        max_concurrent_runs: runs at once; None = as many as fit the cluster. Read by the driver of a sweep.
        max_restarts: how often a run goes on from its last checkpoint after a worker was lost, before it fails.
        collective_timeout_seconds: a rank that keeps the others waiting longer than this is given up.
        stall_seconds: our own training is given up when it makes no update for so long, evaluation when no episode
            ends; programs may be silent as long as they like.
    """

    world_size: int = 1
    gpus_per_worker: float = 0.0
    cpus_per_worker: float = 1.0
    strategy: str = "PACK"
    node_labels: tuple[str, ...] = ()
    max_concurrent_runs: int | None = None
    max_restarts: int = 2
    collective_timeout_seconds: float = 45.0
    stall_seconds: float = 1800.0

    @property
    def labels(self) -> dict[str, str]:
        """`node_labels` by name."""
        return dict(label.split("=", 1) for label in self.node_labels)

    @property
    def bundle(self) -> dict[str, float]:
        """What one rank reserves of Ray; nothing is named that it does not need."""
        asked = {"CPU": float(self.cpus_per_worker), "GPU": float(self.gpus_per_worker)}
        return {name: amount for name, amount in asked.items() if amount}


def resource_problems(resources: Resources, device: str) -> list[Problem]:
    """What is wrong with them, whatever the machine."""
    problems = []
    if resources.world_size < 1:
        problems.append(Problem("resources.world_size", f"need at least 1, got {resources.world_size}"))
    if resources.strategy not in (choices := ("PACK", "STRICT_PACK", "SPREAD", "STRICT_SPREAD")):
        problems.append(
            Problem("resources.strategy", f"unknown value {resources.strategy!r}{nearest(resources.strategy, choices)}")
        )
    problems += [
        Problem("resources.node_labels", f"need name=value, got {label!r}")
        for label in resources.node_labels
        if not LABEL.fullmatch(label)
    ]
    gpus = resources.gpus_per_worker
    if gpus < 0 or (gpus != int(gpus) and (resources.world_size > 1 or gpus > 1)):
        problems.append(
            Problem("resources.gpus_per_worker", f"need 0, 1, 2, ... or a fraction below 1 at world_size 1, got {gpus}")
        )
    if device == "cuda" and gpus == 0:
        problems.append(Problem("device", "cuda needs resources.gpus_per_worker above 0; set it, or use device=cpu"))
    for name in ("cpus_per_worker", "max_restarts", "collective_timeout_seconds", "stall_seconds"):
        if getattr(resources, name) < 0:
            problems.append(Problem(f"resources.{name}", f"need at least 0, got {getattr(resources, name)}"))
    return problems
