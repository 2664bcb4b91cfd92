"""The Ray cluster under a sweep: start or find it, and see what it can run."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from metta_sweep.config.job import Machine, Resources
from metta_sweep.errors import ClusterError, ConfigError

logger = logging.getLogger(__name__)

ANSWER_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Cluster:
    """What there is.

    Attributes:
        nodes: total CPUs and GPUs of each living node.
        dashboard_url: Ray's own dashboard, "" when it is not running.
        is_local: whether this process started it.
    """

    nodes: tuple[Mapping[str, float], ...]
    dashboard_url: str
    is_local: bool


@contextmanager
def connected(environ: Mapping[str, str], machine: Machine) -> Iterator[Cluster]:
    """Connect to the cluster of RAY_ADDRESS, or start a private one on this machine, for the length of the block.

    A process that is connected already keeps its cluster.

    Raises:
        ClusterError: it cannot be reached, or RAY_ADDRESS asks for client mode.
    """
    import ray  # half a second of imports that other commands do without

    address = environ.get("RAY_ADDRESS") or None
    if address and address.startswith("ray://"):
        raise ClusterError(
            f"RAY_ADDRESS={address}: client mode cannot hold placement groups for a driver outside the cluster; "
            "submit the sweep as a job (python -m metta_sweep cluster submit), or run it on the head node with RAY_ADDRESS=auto"
        )
    if ray.is_initialized():  # this process is connected already, and whoever did that ends it
        yield Cluster(tuple(living_nodes().values()), "", is_local=False)
        return
    if address:
        check_answers(address)
    options = local_options(environ, machine) if address is None else {"address": address}
    try:
        context = ray.init(log_to_driver=False, logging_level=logging.ERROR, configure_logging=False, **options)
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise ClusterError(f"cannot reach Ray at {address or 'this machine'}: {error}") from error
    try:
        yield Cluster(tuple(living_nodes().values()), url_of(context.dashboard_url), is_local=address is None)
    finally:
        ray.shutdown()


def living_nodes() -> dict[str, Mapping[str, float]]:
    """Total resources of each living node, by its id."""
    import ray

    return {node["NodeID"]: node["Resources"] for node in ray.nodes() if node["Alive"]}


def check_answers(address: str) -> None:
    """Raises `ClusterError` when nobody listens at `host:port`; Ray itself would try for minutes. Words such as `auto` are left to Ray."""
    host, colon, port = address.rpartition(":")
    if not colon or not port.isdecimal():
        return
    try:
        socket.create_connection((host, int(port)), timeout=ANSWER_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise ClusterError(f"RAY_ADDRESS={address}: nobody answers there ({error}); start the cluster, or unset RAY_ADDRESS") from error


def local_options(environ: Mapping[str, str], machine: Machine) -> dict[str, Any]:
    """A private Ray: token authentication is off, for nobody else can reach it, and nothing of it outlives this process."""
    os.environ.setdefault("RAY_AUTH_MODE", "disabled")
    return {
        "address": "local",  # never a cluster that somebody else started on this machine
        "num_cpus": machine.num_cpus,
        "num_gpus": machine.num_gpus,
        "include_dashboard": environ.get("METTA_SWEEP_RAY_DASHBOARD", "1") != "0",
        "dashboard_host": "127.0.0.1",
    }


def url_of(address: str | None) -> str:
    """The dashboard's `host:port` as an address for a browser; "" without a dashboard."""
    return f"http://{address}" if address and "://" not in address else address or ""


def slots_of(resources: Resources, machine: Machine, environ: Mapping[str, str]) -> int:
    """How many runs fit at once where `run` would start them; a cluster is asked, on this machine nothing is started.

    Raises:
        ClusterError: the cluster cannot be reached.
        ConfigError: not even one fits.
    """
    if not environ.get("RAY_ADDRESS"):
        return count_slots(resources, [{"CPU": float(machine.num_cpus), "GPU": float(machine.num_gpus)}])
    with connected(environ, machine) as cluster:
        return count_slots(resources, cluster.nodes)


def bundles(resources: Resources) -> list[dict[str, float]]:
    """Bundles of one run's placement group: an empty one for the trial driver, then one a rank."""
    worker = {"CPU": float(resources.cpus_per_worker)}
    if resources.gpus_per_worker:
        worker["GPU"] = float(resources.gpus_per_worker)
    return [{}] + [dict(worker) for _ in range(resources.world_size)]


def count_slots(resources: Resources, nodes: Sequence[Mapping[str, float]]) -> int:
    """How many runs fit at once.

    Raises:
        ConfigError: not even one fits; names what is missing.
    """
    workers_per_node = [workers_on(node, resources) for node in nodes]
    if resources.strategy == "STRICT_PACK":
        slots = sum(count // resources.world_size for count in workers_per_node)
    elif resources.strategy == "STRICT_SPREAD":
        slots = strict_spread_slots(workers_per_node, resources.world_size)
    else:
        slots = sum(workers_per_node) // resources.world_size
    if slots < 1:
        raise ConfigError(explain_misfit(resources, nodes))
    return min(slots, resources.max_concurrent_runs or slots)


def workers_on(node: Mapping[str, float], resources: Resources) -> int:
    """How many ranks fit on a node."""
    by_cpu = node.get("CPU", 0.0) // resources.cpus_per_worker if resources.cpus_per_worker else float("inf")
    by_gpu = node.get("GPU", 0.0) // resources.gpus_per_worker if resources.gpus_per_worker else float("inf")
    return int(min(by_cpu, by_gpu, 10_000))


def strict_spread_slots(workers_per_node: Sequence[int], world_size: int) -> int:
    """Most runs r such that r runs of `world_size` ranks on different nodes fit: sum(min(workers, r)) >= r * world_size."""
    best = 0
    for runs in range(1, sum(workers_per_node) // world_size + 1):
        if sum(min(count, runs) for count in workers_per_node) >= runs * world_size:
            best = runs
    return best


def explain_misfit(resources: Resources, nodes: Sequence[Mapping[str, float]]) -> str:
    """One line: which key asks for more than the cluster has, and what to set."""
    most_gpus = max((node.get("GPU", 0.0) for node in nodes), default=0.0)
    most_cpus = max((node.get("CPU", 0.0) for node in nodes), default=0.0)
    for key, asked, most in (("gpus", resources.gpus_per_worker, most_gpus), ("cpus", resources.cpus_per_worker, most_cpus)):
        if asked > most:
            kind = key[:-1].upper()
            return f"resources.{key}_per_worker: {asked:g} {kind}s per rank, but no node has more than {most:g}; lower it, or add larger nodes"
    total = sum(workers_on(node, resources) for node in nodes)
    return (
        f"resources.world_size: {resources.world_size} ranks with strategy {resources.strategy}, but this cluster of {len(nodes)} "
        f"node(s) fits {total}; lower resources.world_size or choose strategy PACK"
    )
