"""Cluster files: where the packaged ones are, and what a rendered one offers to runs. Pure reading."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from metta_sweep.capacity import Node

ClusterFile = dict[str, Any]


def packaged_cluster() -> Path:
    """The packaged provider files: in `metta_sweep/_cluster` when installed, in `cluster/` of a checkout."""
    package = Path(__file__).resolve().parent.parent
    installed = package / "_cluster"
    return installed if installed.is_dir() else package.parent / "cluster"


def read_provider_file(provider: str) -> ClusterFile:
    """The packaged file of a provider; for kuberay its RayCluster object."""
    documents = yaml.safe_load_all((packaged_cluster() / f"{provider}.yaml").read_text(encoding="utf-8"))
    first: ClusterFile = next(documents)
    return first


def provider_of(config: Mapping[str, Any]) -> str:
    """aws, gcp, local or kuberay."""
    return "kuberay" if config.get("kind") == "RayCluster" else str(config["provider"]["type"])


def name_of(config: Mapping[str, Any]) -> str:
    return str(config["metadata"]["name"] if provider_of(config) == "kuberay" else config["cluster_name"])


def cluster_name(sweep_name: str) -> str:
    """A name that clouds and Kubernetes take, made of a sweep's name."""
    plain = re.sub(r"[^a-z0-9]+", "-", sweep_name.lower()).strip("-")[:40].rstrip("-")
    return plain if plain[:1].isalpha() else f"sweep-{plain}"[:40].rstrip("-")


def image_of(config: Mapping[str, Any]) -> str:
    """The container image, "" on machines without containers."""
    if provider_of(config) == "kuberay":
        return str(config["spec"]["headGroupSpec"]["template"]["spec"]["containers"][0]["image"])
    return str((config.get("docker") or {}).get("image", ""))


def start_option(config: Mapping[str, Any], name: str) -> str:
    """Value of an option or variable, such as `--port=`, in the head's start commands of a file for `ray up`."""
    words = " ".join(config["head_start_ray_commands"]).replace(";", " ").split()
    return next(word.removeprefix(name) for word in words if word.startswith(name))


def python_of(config: Mapping[str, Any]) -> str:
    """The interpreter of the nodes, for a shell there: that of the virtual environment on machines without containers.

    A login shell may put another Python first on the path that Ray was started with.
    """
    return f"{start_option(config, 'PATH=').partition(':')[0]}/python" if provider_of(config) == "local" else "python"


def worker_nodes(config: Mapping[str, Any]) -> list[Node]:
    """Every node that may ever be there at once; empty for machines that only Ray will measure."""
    if provider_of(config) == "local":
        return []
    if provider_of(config) == "kuberay":
        groups = [(group, group_resources(group), group["maxReplicas"]) for group in config["spec"]["workerGroupSpecs"]]
        return [Node(size, kind.get("labels", {})) for kind, size, count in groups for _ in range(int(count))]
    head = config["head_node_type"]
    kinds = [kind for name, kind in config["available_node_types"].items() if name != head]
    # Node types of one file are alternatives (spot, on demand): together they stay below the cluster's own maximum.
    kinds.sort(key=lambda kind: (kind["resources"].get("GPU", 0), kind["resources"].get("CPU", 0)), reverse=True)
    nodes = [
        Node(dict(kind["resources"]), kind.get("labels", {}))
        for kind in kinds
        for _ in range(int(kind.get("max_workers", 0)))
    ]
    return nodes[: int(config["max_workers"])]


def group_resources(group: Mapping[str, Any]) -> dict[str, float]:
    """What one pod of a worker group offers, from its limits."""
    limits = group["template"]["spec"]["containers"][0]["resources"]["limits"]
    gpus = float(limits.get("nvidia.com/gpu", 0))
    return {"CPU": float(limits["cpu"])} | ({"GPU": gpus} if gpus else {})
