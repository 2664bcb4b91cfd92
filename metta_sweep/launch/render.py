"""`render`: the packaged file of a provider, cut and filled to the request. Pure: text in, text out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml

from metta_sweep.errors import ConfigError
from metta_sweep.launch.cluster_files import ClusterFile, group_resources, read_provider_file
from metta_sweep.launch.request import ClusterRequest, OwnMachines


def render(request: ClusterRequest) -> str:
    """A cluster file for `ray up` (for `kubectl apply` with kuberay). Holds no key and no token.

    Raises:
        ConfigError: the provider's file has no node with so many GPUs.
    """
    config = read_provider_file(request.provider)
    fill = {"local": render_local, "kuberay": render_kuberay}.get(request.provider, render_cloud)
    fill(config, request)
    where = f"the choices are explained in the packaged {request.provider}.yaml"
    header = f"# Written by `python -m metta_sweep cluster up`; {where}.\n"
    return header + yaml.dump(config, Dumper=WithoutAliases, sort_keys=False, width=140)


class WithoutAliases(yaml.SafeDumper):
    """Writes shared parts out, so that a person can change one of them."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def render_cloud(config: ClusterFile, request: ClusterRequest) -> None:
    """Keep the head and the one kind of worker that was requested."""
    config["cluster_name"] = request.name
    config["max_workers"] = request.nodes
    head = config["head_node_type"]
    kinds = config["available_node_types"]
    chosen = choose_node_type(kinds, head, request)
    workers = kinds[chosen] | {"min_workers": 0, "max_workers": request.nodes}
    config["available_node_types"] = {head: kinds[head], chosen: workers}
    fill_place(config["provider"], request)
    if request.image:
        config["docker"]["image"] = request.image
    if request.shared:
        config["initialization_commands"].append(mount_command(request.shared))


def choose_node_type(kinds: Mapping[str, Any], head: str, request: ClusterRequest) -> str:
    """Name of the worker type with so many GPUs, spot or on demand.

    Raises:
        ConfigError: there is none; names the sizes that there are.
    """
    market = "spot" if request.spot else "on-demand"
    by_gpus = {
        int(kind["resources"].get("GPU", 0)): name
        for name, kind in kinds.items()
        if name != head and kind.get("labels", {}).get("market") == market
    }
    if request.gpus not in by_gpus:
        raise ConfigError(no_such_size(request, by_gpus))
    return by_gpus[request.gpus]


def no_such_size(request: ClusterRequest, sizes: Mapping[int, Any]) -> str:
    """One line: which sizes there are instead."""
    *most, last = (str(size) for size in sorted(sizes))
    known = f"{', '.join(most)} or {last}" if most else last
    file = f"cluster/{request.provider}.yaml"
    return f"--gpus: {request.provider} has workers with {known} GPUs, got {request.gpus}; or edit {file}"


def fill_place(provider: ClusterFile, request: ClusterRequest) -> None:
    """Region, zones and project; a region without zones leaves the choice of zone to a provider that needs none."""
    if request.region:
        provider["region"] = request.region
        provider.pop("availability_zone")
        if request.provider == "gcp":
            provider["availability_zone"] = f"{request.region}-a"
    if request.zones:
        provider["availability_zone"] = request.zones
    if request.project:
        provider["project_id"] = request.project


def mount_command(shared: str) -> str:
    """Mounts the export once, whatever a node was used for before."""
    client = "(command -v mount.nfs4 >/dev/null || (sudo apt-get update -qq && sudo apt-get install -y -qq nfs-common))"
    return f"mountpoint -q /shared || ({client} && sudo mount -t nfs4 -o nfsvers=4.1,hard {shared} /shared)"


def render_local(config: ClusterFile, request: ClusterRequest) -> None:
    """Fill in addresses and log-in; ports and directories replace those of the packaged commands."""
    own = request.own
    config["cluster_name"] = request.name
    config["provider"] |= {"head_ip": own.head, "worker_ips": list(own.workers)}
    if own.ssh_user:
        config["auth"]["ssh_user"] = own.ssh_user
    if own.ssh_private_key:
        config["auth"]["ssh_private_key"] = own.ssh_private_key
    for key in ("setup_commands", "head_start_ray_commands", "worker_start_ray_commands"):
        config[key] = [settle(command, own) for command in config[key]]


def settle(command: str, own: OwnMachines) -> str:
    """A packaged command with this cluster's places in it."""
    packaged = OwnMachines()
    for attribute in ("virtual_environment", "temp_dir"):
        command = command.replace(getattr(packaged, attribute), getattr(own, attribute))
    for before in ("--port=", "$RAY_HEAD_IP:"):
        command = command.replace(f"{before}{packaged.port}", f"{before}{own.port}")
    return command.replace(f"--dashboard-port={packaged.dashboard_port}", f"--dashboard-port={own.dashboard_port}")


def render_kuberay(config: ClusterFile, request: ClusterRequest) -> None:
    """Keep the head and the one worker group that was requested."""
    spec = config["spec"]
    config["metadata"]["name"] = request.name
    by_gpus = {int(group_resources(group).get("GPU", 0)): group for group in spec["workerGroupSpecs"]}
    if request.gpus not in by_gpus:
        raise ConfigError(no_such_size(request, by_gpus))
    group = by_gpus[request.gpus]
    group["maxReplicas"] = request.nodes
    spec["workerGroupSpecs"] = [group]
    if request.image:
        for pod in (spec["headGroupSpec"], group):
            pod["template"]["spec"]["containers"][0]["image"] = request.image
