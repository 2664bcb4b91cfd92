"""How many runs fit on nodes that come and go, and what is said when none does: pure arithmetic."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from metta_sweep.errors import ConfigError
from trainables.resources import Resources

SLOTS_CHANGED = "slots_changed"  # kind of the event in the registry
PROMISED_NODES = "METTA_SWEEP_NODES"  # `cluster submit` sets it in a job's environment, for Ray itself tells nobody
# Where somebody has no GPU, it is a laptop or a plan for machines elsewhere.
WITHOUT_GPU = "add +hardware=macbook to train on CPUs; `validate --for-cluster 4x8` checks it for a cluster"


@dataclass(frozen=True, slots=True)
class Node:
    """A machine of the cluster; resources are totals, by Ray's names (CPU, GPU)."""

    resources: Mapping[str, float]
    labels: Mapping[str, str] = field(default_factory=dict)


def usable(living: Mapping[str, Node], promised: Sequence[Node], avoided: Collection[str] = ()) -> tuple[Node, ...]:
    """What runs may count on: living nodes that nobody avoids, or what is promised when that is more."""
    staying = tuple(node for key, node in living.items() if key not in avoided)
    return max(staying, tuple(promised), key=lambda nodes: sum(node.resources.get("CPU", 0.0) for node in nodes))


def promised_nodes(environ: Mapping[str, str]) -> tuple[Node, ...]:
    """What METTA_SWEEP_NODES says that the autoscaler may buy. Raises `ConfigError` when `submit` did not write it."""
    text = environ.get(PROMISED_NODES)
    try:
        return tuple(Node(**node) for node in json.loads(text)) if text else ()
    except (TypeError, ValueError) as error:
        need = 'need a list like [{"resources": {"CPU": 16, "GPU": 1}}]'
        raise ConfigError(f"{PROMISED_NODES}: {need}, got {text!r} ({error})") from error


def counted(count: int, what: str) -> str:
    """`1 run`, `2 runs`."""
    return f"{count} {what}{'s' * (count != 1)}"


def slots_text(slots: int) -> str:
    """As people read it."""
    return f"{counted(slots, 'run')} at a time" if slots else "no node can hold a run now: waiting for one"


def slots_at_start(resources: Resources, nodes: Sequence[Node]) -> int:
    """How many runs fit at once; 0 on a cluster without a node for runs, where a sweep waits for one.

    Raises `ConfigError` when there are nodes, but no run fits.
    """
    return count_slots(resources, nodes) if any(offers_anything(node) for node in nodes) else 0


def offers_anything(node: Node) -> bool:
    """Whether it can hold runs at all; the head of a cluster often holds none."""
    return bool(node.resources.get("CPU") or node.resources.get("GPU"))


def count_slots(resources: Resources, nodes: Sequence[Node]) -> int:
    """How many runs fit at once. Raises `ConfigError`, which names what is missing, when not even one fits."""
    if slots := slots_on(resources, nodes):
        return slots
    raise ConfigError(explain_misfit(resources, nodes))


def slots_on(resources: Resources, nodes: Sequence[Node]) -> int:
    """How many runs fit at once, possibly 0."""
    workers_per_node = [workers_on(node, resources) for node in nodes]
    if resources.strategy == "STRICT_PACK":
        slots = sum(count // resources.world_size for count in workers_per_node)
    elif resources.strategy == "STRICT_SPREAD":
        slots = strict_spread_slots(workers_per_node, resources.world_size)
    else:
        slots = sum(workers_per_node) // resources.world_size
    return min(slots, resources.max_concurrent_runs or slots)


def workers_on(node: Node, resources: Resources) -> int:
    """How many ranks fit on a node."""
    if not has_labels(node, resources):
        return 0
    fitting = [node.resources.get(name, 0.0) // amount for name, amount in resources.bundle.items()]
    return int(min(fitting, default=10_000))


def has_labels(node: Node, resources: Resources) -> bool:
    return all(node.labels.get(name) == value for name, value in resources.labels.items())


def bundles(resources: Resources) -> list[dict[str, float]]:
    """Bundles of one run's placement group: an empty one for the trial driver, then one a rank."""
    return [{}] + [resources.bundle] * resources.world_size


def strict_spread_slots(workers_per_node: Sequence[int], world_size: int) -> int:
    """Most runs r of `world_size` ranks on different nodes that fit: sum(min(workers, r)) >= r * world_size."""
    counts = range(1, sum(workers_per_node) // world_size + 1)
    fitting = [runs for runs in counts if sum(min(one, runs) for one in workers_per_node) >= runs * world_size]
    return max(fitting, default=0)


def explain_misfit(resources: Resources, nodes: Sequence[Node]) -> str:
    """One line: which key asks for more than the cluster has, and what to set."""
    if not any(offers_anything(node) for node in nodes):
        return "the cluster has no node that offers a CPU or GPU; add one, or wait for its autoscaler"
    labelled = [node for node in nodes if has_labels(node, resources)]
    if not labelled:
        labels = {label for node in nodes for label in node.labels.items() if not label[0].startswith("ray.io/node-id")}
        known = ", ".join(sorted(f"{name}={value}" for name, value in labels)) or "no labels"
        return f"resources.node_labels: no node has {', '.join(resources.node_labels)}; there are {known}"
    for key, name, asked in (("gpus", "GPU", resources.gpus_per_worker), ("cpus", "CPU", resources.cpus_per_worker)):
        most = max((node.resources.get(name, 0.0) for node in labelled), default=0.0)
        if asked > most:
            fix = WITHOUT_GPU if name == "GPU" and most == 0 else "lower it, or add larger nodes"
            return f"resources.{key}_per_worker: {asked:g} {name}s per rank, but no node has more than {most:g}; {fix}"
    total = sum(workers_on(node, resources) for node in labelled)
    ranks = f"resources.world_size: {resources.world_size} ranks with strategy {resources.strategy}"
    fits = f"this cluster of {counted(len(labelled), 'node')} fits {total}"
    return f"{ranks}, but {fits}; lower resources.world_size or choose strategy PACK"


def missing(resources: Resources, nodes: Sequence[Node]) -> str:
    """Why a run finds no place on these nodes, with what would help."""
    try:
        slots = count_slots(resources, nodes)
    except ConfigError as error:
        return str(error)
    why = "something else uses their resources, nodes are still starting, or its process is slow to start"
    return f"{counted(len(nodes), 'node')} can hold {counted(slots, 'run')}, but {why}"
