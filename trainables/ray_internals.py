"""What we need of Ray and no public call gives: each such touch is here, and `tests/trainables/test_ray_internals.py`
pins what it leans on, for a new Ray may move any of it. (Those of Ray Tune are in `metta_sweep/driver`.)

Ray reads its environment when it is imported; so nothing here imports it before it is called.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ray._private.node import Node as Node

# Loggers that tell of every file which is not shipped with a job.
PACKAGING_LOGGERS = ("ray._private.runtime_env.packaging", "ray._private.runtime_env.working_dir")


def draining_nodes() -> dict[str, int]:
    """Deadline of each node that Ray drains, by its id, in epoch milliseconds; 0 = none."""
    import ray

    return dict(ray._private.state.state.get_draining_nodes())


def node_of_actor(actor_id: str) -> str:
    """Id of the node that an actor is or was on; "" when Ray does not know.

    The public call asks Ray's dashboard, which may not run.
    """
    import ray

    return str(ray._private.state.actors(actor_id).get("Address", {}).get("NodeID", ""))


def read_credentials() -> None:
    """Makes the Ray of this process look at its environment again: it did so before, at its import or for another
    cluster.
    """
    from ray._raylet import AuthenticationTokenLoader, Config  # type: ignore[attr-defined]  # compiled

    Config.initialize("")
    AuthenticationTokenLoader.instance().reset_cache()


@contextmanager
def on_loopback() -> Iterator[None]:
    """Ray takes 127.0.0.1 as it stands for the length of the block. It reads it as the address that other machines see,
    where a private Ray does not listen; its switch for that is read at its import.
    """
    from ray._private import ray_constants

    before = ray_constants.ENABLE_RAY_CLUSTER
    ray_constants.ENABLE_RAY_CLUSTER = False
    try:
        yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = before


def start_head(temp_dir: str, num_cpus: float, num_gpus: float, *, has_dashboard: bool) -> Node:
    """The daemons of a Ray of its own, on the loopback interface.

    Ray's commands (`ray.init`, `ray start`) put a node on all interfaces, and `ray start` always adds a server for
    remote clients.
    """
    from ray._private.node import Node
    from ray._private.parameter import RayParams

    params = RayParams(
        node_ip_address="127.0.0.1",
        temp_dir=temp_dir,
        num_cpus=num_cpus,
        num_gpus=num_gpus,
        include_dashboard=has_dashboard,
        dashboard_host="127.0.0.1",
        dashboard_port=None,  # the usual one or the next that is free: this machine may have other sweeps
        dashboard_agent_listen_port=0,
        include_log_monitor=False,  # it would copy what workers print to drivers, and ours does not want it
        no_monitor=True,  # the autoscaler's: this machine is all there is
    )
    return Node(params, head=True, shutdown_at_exit=False, spawn_reaper=True)


def validate_cluster_file(config: Mapping[str, Any], *, is_kuberay: bool) -> None:
    """Ray's own validator of files for `ray up`; a RayCluster is first turned into what its autoscaler would read.

    Raises:
        jsonschema.ValidationError, KeyError, TypeError, ValueError: it is none.
    """
    from ray.autoscaler._private.kuberay.autoscaling_config import _derive_autoscaling_config_from_ray_cr
    from ray.autoscaler._private.util import prepare_config, validate_config

    validate_config(
        _derive_autoscaling_config_from_ray_cr(dict(config)) if is_kuberay else prepare_config(dict(config))
    )
