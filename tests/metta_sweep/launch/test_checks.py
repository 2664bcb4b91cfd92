"""What is caught before money is spent."""

from __future__ import annotations

import pytest
import yaml

from metta_sweep.errors import ConfigError
from metta_sweep.launch.checks import check_cluster_file, check_fit, check_tools, image_problems, python_version
from metta_sweep.launch.render import render
from metta_sweep.launch.request import ClusterRequest, OwnMachines
from trainables.resources import Resources

EIGHT_GPUS = yaml.safe_load(render(ClusterRequest("aws", gpus=8, nodes=4)))


@pytest.mark.parametrize(
    ("resources", "slots"),
    [
        (Resources(world_size=8, gpus_per_worker=1, cpus_per_worker=20), 4),
        (Resources(world_size=16, gpus_per_worker=1, strategy="STRICT_SPREAD"), None),
        (Resources(world_size=2, gpus_per_worker=8, strategy="STRICT_SPREAD"), 2),
        (Resources(gpus_per_worker=0.5), 64),
        (Resources(gpus_per_worker=9), None),
        (Resources(world_size=33, gpus_per_worker=1), None),
    ],
)
def test_runs_are_held_against_the_largest_cluster(resources: Resources, slots: int | None) -> None:
    if slots is None:
        with pytest.raises(ConfigError, match=r"resources\."):
            check_fit(EIGHT_GPUS, resources)
    else:
        assert check_fit(EIGHT_GPUS, resources) == slots


def test_the_head_counts_for_nothing() -> None:
    with pytest.raises(ConfigError, match=r"resources\.world_size: 5 ranks"):
        check_fit(yaml.safe_load(render(ClusterRequest("aws", nodes=4))), Resources(world_size=5, cpus_per_worker=16))


def test_machines_of_ones_own_are_measured_by_ray() -> None:
    config = yaml.safe_load(render(ClusterRequest("local", own=OwnMachines(head="h", ssh_user="u"))))
    assert check_fit(config, Resources(world_size=1000)) is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c.update(idle_minutes=3), r"cluster file: top level: .*'idle_minutes'"),
        (lambda c: c.update(max_workers="four"), r"cluster file: max_workers: 'four' is not of type 'integer'"),
        (lambda c: c.update(head_node_type="boss"), r"cluster file: .*head_node_type"),
        (
            lambda c: c["available_node_types"]["gpu_8_spot"]["resources"].update(GPU=0.5),
            r"cluster file: available_node_types\.gpu_8_spot\.resources\.GPU",
        ),
    ],
)
def test_what_rays_schema_refuses_is_said_with_its_place(change: object, message: str) -> None:
    config = yaml.safe_load(render(ClusterRequest("aws", gpus=8, nodes=4)))
    change(config)
    with pytest.raises(ConfigError, match=message):
        check_cluster_file(yaml.safe_dump(config))


@pytest.mark.parametrize(
    ("image", "problem"),
    [
        ("", ""),
        ("rayproject/ray:2.60.0-py311-gpu", ""),
        ("host:5000/me/metta_sweep:2.60.0-py311", ""),
        ("rayproject/ray:2.59.1-py311-gpu", "has Ray 2.59.1 and Python 3.11, you have Ray 2.60.0 and Python 3.11"),
        ("rayproject/ray:2.60.0-py310", "has Ray 2.60.0 and Python 3.10"),
        ("mine:latest", "does not say which Ray and Python are inside; tag it 2.60.0-py311"),
        ("host:5000/mine", "does not say which Ray and Python are inside"),
    ],
)
def test_an_image_of_another_ray_or_python_is_refused(image: str, problem: str) -> None:
    problems = image_problems(image, "2.60.0", "3.11")
    assert len(problems) == bool(problem)
    assert problem in "".join(problems)


def test_a_missing_tool_is_named_with_what_brings_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(ConfigError, match=r"kubectl: not found on this machine; provider kuberay needs it"):
        check_tools("kuberay")


def test_the_version_that_is_compared_is_this_pythons() -> None:
    assert python_version() in ("3.11", "3.12")
