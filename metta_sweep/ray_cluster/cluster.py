"""The Ray cluster under a sweep: start or find it, and see its nodes."""

from __future__ import annotations

import logging
import os
import signal
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass

from metta_sweep.capacity import Node, promised_nodes, slots_at_start, usable
from metta_sweep.config.job import Machine
from metta_sweep.errors import ClusterError
from metta_sweep.ray_cluster.keeper import set_variables
from metta_sweep.ray_cluster.private_ray import PrivateRay, private_ray
from trainables.ray_internals import draining_nodes, on_loopback, read_credentials
from trainables.resources import Resources

logger = logging.getLogger(__name__)

CONNECT_SECONDS = 10.0  # a guess: a machine that is there answers sooner even from far away


@dataclass(frozen=True, slots=True)
class ClusterNodes:
    """The nodes of the cluster that this process is connected to, asked each time, and what an autoscaler promises."""

    promised: tuple[Node, ...] = ()

    def living(self) -> dict[str, Node]:
        """By id."""
        import ray

        return {node["NodeID"]: Node(node["Resources"], node["Labels"]) for node in ray.nodes() if node["Alive"]}

    def leaving(self) -> frozenset[str]:
        """Ids of the nodes that Ray is draining, for they will be taken away."""
        return frozenset(draining_nodes())

    def usable(self) -> tuple[Node, ...]:
        """What runs may count on: living nodes that stay, or what is promised when that is more."""
        return usable(self.living(), self.promised, self.leaving())


@dataclass(frozen=True, slots=True)
class RayCluster:
    """What there is.

    Attributes:
        dashboard_url: Ray's own dashboard, "" when it is not running.
        own: the private Ray that this process started, None on anybody else's cluster.
    """

    nodes: ClusterNodes
    dashboard_url: str
    own: PrivateRay | None


@contextmanager
def connected(environ: Mapping[str, str], machine: Machine, sweep: str = "") -> Iterator[RayCluster]:
    """Connect to the cluster of RAY_ADDRESS, or start a private one on this machine, for the length of the block.

    A process that is connected already keeps its cluster.

    Args:
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
            "submit the sweep as a job (`cluster submit`), or run it on the head node with RAY_ADDRESS=auto"
        )
    if ray.is_initialized():  # this process is connected already, and whoever did that ends it
        yield RayCluster(ClusterNodes(promised_nodes(environ)), "", own=None)
        return
    if address:
        check_answers(address)
    job = JobConfig(metadata={"sweep": sweep}) if sweep else None
    with ExitStack() as stack:
        stack.enter_context(terminable())
        own = None if address else stack.enter_context(private_ray(environ, machine))
        stack.enter_context(credentials(own))
        try:
            with on_loopback() if own else nullcontext():
                context = ray.init(
                    own.address if own else address,
                    log_to_driver=False,
                    logging_level=logging.ERROR,
                    configure_logging=False,
                    job_config=job,
                )
            stack.enter_context(terminable())  # Ray has a way of its own
        except (ConnectionError, ValueError, RuntimeError) as error:
            raise ClusterError(f"cannot reach Ray at {address or 'this machine'}: {error}") from error
        stack.callback(ray.shutdown)
        yield RayCluster(ClusterNodes(promised_nodes(environ)), url_of(context.dashboard_url), own)


@contextmanager
def terminable() -> Iterator[None]:
    """SIGTERM is what Ctrl-C is for the length of the block; threads cannot say so."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def credentials(own: PrivateRay | None) -> Iterator[None]:
    """For the length of the block this process has its private Ray's token; else what its environment says."""
    before = {name: os.environ.get(name) for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN_PATH", "RAY_AUTH_TOKEN")}
    if own is not None:
        os.environ.pop("RAY_AUTH_TOKEN", None)
        os.environ |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(own.token_path)}
    read_credentials()
    try:
        yield
    finally:
        set_variables(before)


def check_answers(address: str) -> None:
    """Raises `ClusterError` when nobody listens at `host:port`; Ray itself would try for minutes.

    Words such as `auto` are left to Ray.
    """
    host, colon, port = address.rpartition(":")
    if not colon or not port.isdecimal():
        return
    try:
        socket.create_connection((host, int(port)), timeout=CONNECT_SECONDS).close()
    except (OSError, OverflowError) as error:
        advice = "start the cluster, or unset RAY_ADDRESS"
        raise ClusterError(f"RAY_ADDRESS={address}: nobody answers there ({error}); {advice}") from error


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
