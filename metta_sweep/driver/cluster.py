"""The Ray cluster under a sweep: start or find it, and see its nodes."""

from __future__ import annotations

import json
import logging
import os
import socket
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from metta_sweep.config.job import Machine, Resources
from metta_sweep.driver.slots import Node, slots_at_start
from metta_sweep.errors import ClusterError, ConfigError

logger = logging.getLogger(__name__)

ANSWER_SECONDS = 10.0
PROMISED_NODES = "METTA_SWEEP_NODES"


@dataclass(frozen=True, slots=True)
class ClusterNodes:
    """The nodes of the cluster that this process is connected to, asked each time.

    Attributes:
        promised: what the autoscaler may make of them.
    """

    promised: tuple[Node, ...] = ()

    def living(self) -> dict[str, Node]:
        """By id."""
        import ray

        return {node["NodeID"]: Node(node["Resources"], node["Labels"]) for node in ray.nodes() if node["Alive"]}

    def leaving(self) -> frozenset[str]:
        """Ids of the nodes that Ray is draining, for they will be taken away."""
        from trainables.preemption import draining_nodes

        return frozenset(draining_nodes())

    def usable(self, avoided: Collection[str] = ()) -> tuple[Node, ...]:
        """What runs may count on: living nodes that stay and that nobody avoids, or what is promised when that is more."""
        gone = {*avoided, *self.leaving()}
        living = tuple(node for key, node in self.living().items() if key not in gone)
        return max(living, self.promised, key=lambda nodes: sum(node.resources.get("CPU", 0.0) for node in nodes))


@dataclass(frozen=True, slots=True)
class Cluster:
    """What there is.

    Attributes:
        nodes: of the cluster.
        dashboard_url: Ray's own dashboard, "" when it is not running.
        is_local: whether this process started it.
    """

    nodes: ClusterNodes
    dashboard_url: str
    is_local: bool


@contextmanager
def connected(environ: Mapping[str, str], machine: Machine, sweep: str = "") -> Iterator[Cluster]:
    """Connect to the cluster of RAY_ADDRESS, or start a private one on this machine, for the length of the block.

    A process that is connected already keeps its cluster.

    Args:
        environ: of the process.
        machine: what a private cluster may use.
        sweep: name that Ray's dashboard shows for this job.

    Raises:
        ClusterError: it cannot be reached, or RAY_ADDRESS asks for client mode.
    """
    import ray  # half a second of imports that other commands do without
    from ray.job_config import JobConfig

    address = environ.get("RAY_ADDRESS") or None
    if address and address.startswith("ray://"):
        raise ClusterError(
            f"RAY_ADDRESS={address}: client mode cannot hold placement groups for a driver outside the cluster; "
            "submit the sweep as a job (python -m metta_sweep cluster submit), or run it on the head node with RAY_ADDRESS=auto"
        )
    if ray.is_initialized():  # this process is connected already, and whoever did that ends it
        yield Cluster(ClusterNodes(promised_nodes(environ)), "", is_local=False)
        return
    if address:
        check_answers(address)
    options: dict[str, Any] = local_options(environ, machine) if address is None else {"address": address}
    options["job_config"] = JobConfig(metadata={"sweep": sweep}) if sweep else None
    try:
        context = ray.init(log_to_driver=False, logging_level=logging.ERROR, configure_logging=False, **options)
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise ClusterError(f"cannot reach Ray at {address or 'this machine'}: {error}") from error
    try:
        yield Cluster(ClusterNodes(promised_nodes(environ)), url_of(context.dashboard_url), is_local=address is None)
    finally:
        ray.shutdown()


def promised_nodes(environ: Mapping[str, str]) -> tuple[Node, ...]:
    """What METTA_SWEEP_NODES says that the autoscaler may buy; Ray itself tells nobody.

    Raises:
        ConfigError: it is not what `cluster submit` writes.
    """
    text = environ.get(PROMISED_NODES)
    try:
        return tuple(Node(**node) for node in json.loads(text)) if text else ()
    except (TypeError, ValueError) as error:
        raise ConfigError(f'{PROMISED_NODES}: need a list like [{{"resources": {{"CPU": 16, "GPU": 1}}}}], got {text!r} ({error})') from error


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
        return slots_at_start(resources, [Node({"CPU": float(machine.num_cpus), "GPU": float(machine.num_gpus)})])
    with connected(environ, machine) as cluster:
        return slots_at_start(resources, cluster.nodes.usable())
