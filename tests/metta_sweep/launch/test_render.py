"""Cluster files: what is asked for is what is written, and Ray's own code accepts it."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from metta_sweep.capacity import Node
from metta_sweep.errors import ConfigError
from metta_sweep.launch.checks import check_cluster_file
from metta_sweep.launch.cluster_files import cluster_name, worker_nodes
from metta_sweep.launch.render import render
from metta_sweep.launch.request import ClusterRequest, OwnMachines

OWN = OwnMachines(
    head="127.0.0.1",
    workers=("127.0.0.2",),
    ssh_user="me",
    ssh_private_key="~/key",
    port=7001,
    dashboard_port=7002,
    temp_dir="/tmp/x",
)
REQUESTS = [
    ClusterRequest("aws", gpus=8, nodes=4),
    ClusterRequest("aws", gpus=1, spot=False, shared="fs-1.efs.us-west-2.amazonaws.com:/"),
    ClusterRequest("aws", region="eu-central-1", zones="eu-central-1b"),
    ClusterRequest("gcp", project="p", gpus=4, nodes=2),
    ClusterRequest("local", own=OWN),
    ClusterRequest("kuberay", gpus=8, nodes=3, name="big"),
    ClusterRequest("kuberay"),
]


def rendered(request: ClusterRequest) -> dict[str, Any]:
    config: dict[str, Any] = yaml.safe_load(render(request))
    return config


@pytest.mark.parametrize("request_", REQUESTS, ids=lambda r: f"{r.provider}-{r.gpus}")
def test_every_rendered_file_passes_rays_validator(request_: ClusterRequest) -> None:
    check_cluster_file(render(request_))


@pytest.mark.parametrize(("spot", "kind"), [(True, "gpu_8_spot"), (False, "gpu_8_on_demand")], ids=["spot", "no-spot"])
def test_only_the_asked_kind_of_worker_is_offered_and_none_is_there_while_nothing_waits(spot: bool, kind: str) -> None:
    config = rendered(ClusterRequest("aws", gpus=8, nodes=4, spot=spot))
    workers = config["available_node_types"]
    assert sorted(workers) == [kind, "head"]
    assert (workers[kind]["min_workers"], workers[kind]["max_workers"], config["max_workers"]) == (0, 4, 4)
    assert ("InstanceMarketOptions" in workers[kind]["node_config"]) == spot
    assert worker_nodes(config) == [Node({"CPU": 192, "GPU": 8}, {"market": "spot" if spot else "on-demand"})] * 4


def test_the_head_is_never_a_spot_machine_and_holds_no_rank() -> None:
    for request in (ClusterRequest("aws", gpus=1), ClusterRequest("gcp", project="p", gpus=1)):
        head = rendered(request)["available_node_types"]["head"]
        assert head["resources"] == {"CPU": 0}
        assert "SPOT" not in str(head["node_config"]).upper()


def test_kuberay_offers_the_one_group_that_was_asked_for() -> None:
    config = rendered(ClusterRequest("kuberay", gpus=8, nodes=3, name="big", image="mine:2.60.0-py311"))
    assert [group["groupName"] for group in config["spec"]["workerGroupSpecs"]] == ["gpu-8"]
    assert worker_nodes(config) == [Node({"CPU": 96.0, "GPU": 8.0})] * 3
    assert config["metadata"]["name"] == "big"
    assert "rayproject" not in str(config)


def test_own_machines_keep_their_ports_and_session_directory_everywhere() -> None:
    config = rendered(ClusterRequest("local", own=OWN))
    commands = " ".join(config["head_start_ray_commands"] + config["worker_start_ray_commands"])
    assert config["provider"] == {"type": "local", "head_ip": "127.0.0.1", "worker_ips": ["127.0.0.2"]}
    assert config["auth"] == {"ssh_user": "me", "ssh_private_key": "~/key"}
    assert "--port=7001" in commands
    assert "$RAY_HEAD_IP:7001" in commands
    assert "--dashboard-port=7002" in commands
    assert "/tmp/metta_sweep_ray" not in commands
    assert "6379" not in commands
    assert "ray stop" not in commands, "it would end everybody's Ray on a machine that people share"


@pytest.mark.parametrize("provider", ["aws", "gcp", "local"])
def test_clusters_that_we_launch_ask_for_a_token_and_hide_their_dashboard(provider: str) -> None:
    config = rendered(ClusterRequest(provider, project="p", own=OWN))
    starts = [
        command
        for key in ("head_start_ray_commands", "worker_start_ray_commands")
        for command in config[key]
        if "ray start" in command
    ]
    assert len(starts) == 2
    assert all("RAY_AUTH_MODE=token RAY_LOGGER_LEVEL=warning" in command for command in starts), (
        "at info Ray logs the keys of a job"
    )
    assert "--dashboard-host=127.0.0.1" in " ".join(starts)


def test_a_shared_export_is_mounted_before_the_container_starts() -> None:
    commands = rendered(ClusterRequest("aws", shared="nfs:/data"))["initialization_commands"]
    assert "mount -t nfs4 -o nfsvers=4.1,hard nfs:/data /shared" in commands[-1]


def test_a_region_without_zones_leaves_them_to_the_provider() -> None:
    assert rendered(ClusterRequest("aws", region="eu-west-1"))["provider"] == {
        "type": "aws",
        "region": "eu-west-1",
        "cache_stopped_nodes": False,
    }


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"provider": "azure"}, r"--provider: unknown provider 'azure'\. There are aws \(.*kuberay \("),
        ({"provider": "aws", "name": "My_Cluster"}, r"--name: .* got 'My_Cluster'"),
        ({"provider": "aws", "nodes": 0}, r"--nodes: need at least 1, got 0"),
        ({"provider": "aws", "gpus": -1}, r"--gpus: need at least 0, got -1"),
        ({"provider": "aws", "shared": "nfs; rm -rf /"}, r"--shared: need an NFS export host:/path"),
        ({"provider": "gcp"}, r"--project: provider gcp needs"),
        ({"provider": "local"}, r"--head: provider local needs"),
    ],
)
def test_a_request_that_cannot_be_met_is_refused_by_flag(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        ClusterRequest(**arguments)


@pytest.mark.parametrize(("provider", "sizes"), [("aws", "0, 1, 4 or 8"), ("kuberay", "0, 1 or 8")])
def test_a_size_that_the_provider_lacks_is_refused_with_those_it_has(provider: str, sizes: str) -> None:
    with pytest.raises(ConfigError, match=rf"--gpus: {provider} has workers with {sizes} GPUs, got 3"):
        render(ClusterRequest(provider, gpus=3))


@pytest.mark.parametrize(
    ("sweep", "cluster"),
    [("My_sweep.v2", "my-sweep-v2"), ("7b", "sweep-7b"), ("a" * 50, "a" * 40), ("x" * 39 + ".y", "x" * 39)],
)
def test_a_cluster_may_be_called_like_its_sweep(sweep: str, cluster: str) -> None:
    assert cluster_name(sweep) == cluster
    ClusterRequest("aws", name=cluster)
