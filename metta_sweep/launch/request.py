"""What a user asks for when they ask for a cluster."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from metta_sweep.errors import ConfigError

PROVIDERS = {
    "aws": "Amazon EC2",
    "gcp": "Google Compute Engine",
    "local": "your own machines over ssh",
    "kuberay": "Kubernetes with the KubeRay operator",
}
# Cloud labels and Kubernetes names take no more than this.
NAME = re.compile(r"[a-z]([a-z0-9-]{0,38}[a-z0-9])?")


@dataclass(frozen=True, slots=True)
class OwnMachines:
    """Machines that are there already, reached over ssh (provider `local`).

    Attributes:
        head: address of the head.
        workers: addresses of the others.
        ssh_user: who to log in as; "" = as in `cluster/local.yaml`.
        ssh_private_key: path of the key; "" = ssh's own agent and configuration.
        virtual_environment: where the nodes' Python lives, made when missing; "" = as in `cluster/local.yaml`.
        temp_dir: Ray's session directory on the nodes, which tells this cluster's processes from others'.
        port: of Ray's head.
        dashboard_port: of Ray's dashboard on the head's loopback.
    """

    head: str = ""
    workers: tuple[str, ...] = ()
    ssh_user: str = ""
    ssh_private_key: str = ""
    virtual_environment: str = "~/metta_sweep_venv"
    temp_dir: str = "/tmp/metta_sweep_ray"
    port: int = 6379
    dashboard_port: int = 8265


@dataclass(frozen=True, slots=True)
class ClusterRequest:
    """One cluster.

    Attributes:
        provider: aws, gcp, local or kuberay.
        name: of the cluster; lower case letters, digits and `-`.
        nodes: most workers at once; none is there while nothing waits.
        gpus: GPUs of each worker.
        spot: workers that are cheaper and may be taken away at any time.
        image: container image; "" = as in the provider's file.
        region: cloud region; "" = as in the provider's file.
        zones: availability zones, comma-separated; "" = as in the provider's file, or all of a region that is given.
        project: Google's project id.
        shared: NFS export `host:/path` to mount on `/shared`; "" = each node has a `/shared` of its own.
        own: for provider local.
    """

    provider: str
    name: str = "metta-sweep"
    nodes: int = 1
    gpus: int = 0
    spot: bool = True
    image: str = ""
    region: str = ""
    zones: str = ""
    project: str = ""
    shared: str = ""
    own: OwnMachines = field(default_factory=OwnMachines)

    def __post_init__(self) -> None:
        if problems := tuple(request_problems(self)):
            raise ConfigError(*problems)


def request_problems(request: ClusterRequest) -> list[str]:
    """Everything that is wrong with a request whatever the provider's file says, one line each."""
    problems: list[str] = []
    if request.provider not in PROVIDERS:
        known = ", ".join(f"{name} ({what})" for name, what in PROVIDERS.items())
        wrong = f"unknown provider {request.provider!r}." if request.provider else "where should it run?"
        problems.append(f"--provider: {wrong} There are {known}; add for example --provider aws")
    if not NAME.fullmatch(request.name):
        problems.append(
            f"--name: need at most 40 lower case letters, digits and '-', beginning with a letter, got {request.name!r}"
        )
    if request.nodes < 1:
        problems.append(f"--nodes: need at least 1, got {request.nodes}")
    if request.gpus < 0:
        problems.append(f"--gpus: need at least 0, got {request.gpus}")
    if request.shared and not re.fullmatch(r"[A-Za-z0-9._-]+:/[A-Za-z0-9._/-]*", request.shared):
        problems.append(f"--shared: need an NFS export host:/path, got {request.shared!r}")
    if request.provider == "gcp" and not request.project:
        problems.append("--project: provider gcp needs the id of your project")
    if request.provider == "local" and not request.own.head:
        problems.append(
            "--head: provider local needs the address of the head machine, and --workers A,B for the others"
        )
    return problems
