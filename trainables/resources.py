"""What a run is given: ranks, cores, GPUs, and how long it waits for them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated

from trainables.errors import Problem
from trainables.fields import Amount, Count, Texts, Whole, at_least, in_range, one_of

LABEL = re.compile(r"[\w./-]+=[\w.-]+")  # of a node, as Ray takes it
STRATEGIES = ("PACK", "STRICT_PACK", "SPREAD", "STRICT_SPREAD")  # of a placement group, as Ray takes them
LABELS = 'name=value each, such as ["market=spot"]'  # what is needed of `node_labels`


@dataclass(frozen=True, slots=True)
class Resources:
    """What a run is given.

    Attributes:
        world_size: ranks of `torch.distributed`.
        gpus_per_worker: GPUs of a rank; fractions only at world size 1.
        cpus_per_worker: CPU cores of a rank and of the processes that step its environments.
        strategy: PACK, STRICT_PACK, SPREAD or STRICT_SPREAD.
        node_labels: `name=value` each; every rank runs on nodes with all of these labels only.
        max_concurrent_runs: runs at once; None = as many as fit the cluster. Read by the driver of a sweep.
        max_restarts: how often a run goes on from its last checkpoint after a worker was lost, before it fails.
        collective_timeout_seconds: a rank that keeps the others waiting longer than this is given up.
        stall_seconds: our own training is given up when it makes no update for so long, evaluation when no episode
            ends; programs may be silent as long as they like.
    """

    world_size: Annotated[Whole, at_least(1, " rank")] = 1
    gpus_per_worker: Amount = 0.0
    cpus_per_worker: Amount = 1.0
    strategy: Annotated[str, one_of(*STRATEGIES, wrong="{} is not a strategy")] = "PACK"
    node_labels: Annotated[Texts, in_range(LABELS, lambda labels: all(map(LABEL.fullmatch, labels)))] = ()
    max_concurrent_runs: Annotated[Whole, at_least(1, ", or null for as many as fit")] | None = None
    max_restarts: Count = 2
    collective_timeout_seconds: Amount = 45.0
    stall_seconds: Amount = 1800.0

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
    problems: list[Problem] = []
    gpus = resources.gpus_per_worker
    if gpus != int(gpus) and (resources.world_size > 1 or gpus > 1):
        problems.append(
            Problem("resources.gpus_per_worker", f"need 0, 1, 2, ... or a fraction below 1 at world_size 1, got {gpus}")
        )
    if device == "cuda" and gpus == 0:
        problems.append(Problem("device", "cuda needs resources.gpus_per_worker above 0; set it, or use device=cpu"))
    return problems
