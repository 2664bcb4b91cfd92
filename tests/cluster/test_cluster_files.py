"""The files under `cluster/`: valid for a bare `ray up`, pinned like the tests, and free of secrets."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from metta_sweep.launch.checks import image_problems, ray_version, schema_problems
from metta_sweep.launch.cluster_files import image_of, worker_nodes

ROOT = Path(__file__).parents[2]
CLUSTER = ROOT / "cluster"
RAY_FILES = ("aws", "gcp", "local")


def load(name: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((CLUSTER / f"{name}.yaml").read_text(encoding="utf-8")))


def ray_cluster(document: dict[str, Any]) -> dict[str, Any]:
    """The RayCluster of a RayCluster or RayJob object."""
    if document["kind"] == "RayCluster":
        return document
    return {"kind": "RayCluster", "metadata": document["metadata"], "spec": document["spec"]["rayClusterSpec"]}


@pytest.mark.parametrize("name", RAY_FILES)
def test_ray_accepts_the_file_as_it_is(name: str) -> None:
    assert schema_problems(load(name)[0]) == []


@pytest.mark.parametrize("name", RAY_FILES)
def test_the_file_needs_nothing_of_the_directory_in_which_ray_up_is_typed(name: str) -> None:
    config = load(name)[0]
    assert all(Path(local).expanduser().is_absolute() for local in config["file_mounts"].values())
    commands = [command for key in config if key.endswith("_commands") for command in config[key]]
    needed = {found for command in commands for found in re.findall(r"metta_sweep_cluster/(\S+)", command)}
    scripts = dict(
        re.findall(r"cat > (\S+) <<'END_OF_FILE'\n(.*?)END_OF_FILE\n", "".join(config["setup_commands"]), re.S)
    )
    assert needed <= scripts.keys()
    assert {file: (CLUSTER / file).read_text() for file in scripts} == scripts, "as they stand in cluster/"


def test_the_scripts_arrive_as_they_are_under_the_shell_that_ray_wraps_around_commands(tmp_path: Path) -> None:
    write = load("local")[0]["setup_commands"][0]
    subprocess.run(
        ["bash", "-c", f"true && ({write})"], env={"HOME": str(tmp_path), "PATH": os.environ["PATH"]}, check=True
    )
    written = {path.name: path.read_text() for path in (tmp_path / "metta_sweep_cluster").iterdir()}
    assert written == {name: (CLUSTER / name).read_text() for name in ("setup.sh", "requirements.txt", "stop.sh")}


def test_rays_autoscaler_reads_cluster_and_job_of_kuberay() -> None:
    documents = load("kuberay")
    assert [document["kind"] for document in documents] == ["RayCluster", "RayJob"]
    for document in documents:
        assert schema_problems(ray_cluster(document)) == []
        assert worker_nodes(ray_cluster(document))


@pytest.mark.parametrize("name", ["aws", "gcp", "kuberay"])
def test_images_hold_the_ray_that_the_tests_ran_with(name: str) -> None:
    assert image_problems(image_of(load(name)[0]), ray_version(), "3.11") == []
    images = set(re.findall(r"rayproject/ray:\S+", (CLUSTER / f"{name}.yaml").read_text(encoding="utf-8")))
    assert len(images) == 1


@pytest.mark.parametrize("name", ["aws", "gcp"])
def test_nothing_is_billed_while_nothing_runs(name: str) -> None:
    config = load(name)[0]
    workers = {kind: spec for kind, spec in config["available_node_types"].items() if kind != "head"}
    assert all(spec["min_workers"] == 0 for spec in workers.values())
    assert config["idle_timeout_minutes"] <= 2
    assert config["provider"]["cache_stopped_nodes"] is False, "a stopped machine's disk is billed"
    assert {spec["labels"]["market"] for spec in workers.values()} == {"spot", "on-demand"}


def test_kuberay_scales_to_zero_and_a_job_leaves_nothing_behind() -> None:
    cluster, job = load("kuberay")
    for document in (cluster, ray_cluster(job)):
        assert document["spec"]["autoscalerOptions"]["idleTimeoutSeconds"] <= 120
        assert all(group["minReplicas"] == 0 for group in document["spec"]["workerGroupSpecs"])
        assert document["spec"]["authOptions"] == {"mode": "token"}
    assert job["spec"]["shutdownAfterJobFinishes"] is True


def test_no_file_holds_a_key_or_says_where_one_is_written() -> None:
    for path in CLUSTER.rglob("*"):
        if path.is_file():
            assert not re.search(r"(WANDB_API_KEY|METTA_SWEEP_TOKEN)\s*[=:]\s*\S", path.read_text(encoding="utf-8")), (
                path
            )


LOCKS = ("requirements.txt", "cluster/image.txt", "cluster/build.txt", "cluster/cuda.txt", "audit.txt")


def groups(pattern: str, line: str) -> tuple[str, str]:
    """The two groups of a line that must match."""
    found = re.fullmatch(pattern, line)
    assert found is not None, line
    return found[1], found[2]


def pins_of(file: str) -> dict[str, str]:
    """Version by package."""
    lines = [line for line in (ROOT / file).read_text().splitlines() if line and not line.startswith((" ", "#"))]
    return dict(groups(r"([a-z0-9.-]+)(?:\[[a-z,]+\])?==(\S+).*", line) for line in lines)


@pytest.mark.parametrize("file", LOCKS)
def test_every_pin_but_torch_has_hashes(file: str) -> None:
    text = "\n".join(line for line in (ROOT / file).read_text().splitlines() if not line.startswith("#"))
    pins = re.split(r"\n(?! )", text)
    assert [
        pin
        for pin in pins
        if not re.fullmatch(r"\S+==\S+( ; [^\\]+)? \\(\n    --hash=sha256:[0-9a-f]{64}( \\)?)+", pin)
    ] == []
    assert "torch" not in pins_of(file)
    assert "://" not in text, "packages are found where the machine's pip looks for them"


def test_what_the_package_needs_is_pinned_everywhere_at_the_same_version() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = {plain(re.split(r"[><=~]", word)[0]) for word in project["dependencies"]}
    tested = {plain(re.split(r"[><=~]", word)[0]) for word in project["optional-dependencies"]["test"]} - {
        "metta-sweep"
    }
    torch = {"torch": (CLUSTER / "torch.txt").read_text().splitlines()[-1].removeprefix("torch==")}
    ours, image = pins_of("requirements.txt") | torch, pins_of("cluster/image.txt") | torch
    assert wanted | tested <= ours.keys(), "run `make lock`"
    assert wanted <= image.keys(), "run `make lock`"
    assert image.items() <= ours.items()
    assert pins_of("cluster/build.txt").items() <= ours.items()
    nodes = (
        (CLUSTER / "requirements.txt").read_text().splitlines()
    )  # stands in the cluster files, where hashes would be most of them
    named = dict(groups(r"([\w.-]+)(?:\[[\w,-]+\])?==(\S+)", line) for line in nodes if not line.startswith("#"))
    assert {plain(name) for name in named} == wanted
    assert {plain(name): version for name, version in named.items()}.items() <= ours.items()


def test_the_base_of_the_image_has_the_digest_that_its_registry_gave_or_none() -> None:
    kept = [line for line in (CLUSTER / "base_image.txt").read_text().splitlines() if not line.startswith("#")]
    tag = re.search(r"^ARG BASE=(\S+)$", (CLUSTER / "Dockerfile").read_text(), re.M)
    assert tag is not None
    assert all(re.fullmatch(re.escape(tag[1]) + "@sha256:[0-9a-f]{64}", line) for line in kept)


@pytest.fixture
def docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the files of the image, and a docker that writes down what it is asked; `inspect` answers with the file
    `digest`.
    """
    for name in ("build_image.sh", "base_image.txt", "Dockerfile"):
        shutil.copy(CLUSTER / name, tmp_path / name)
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / "docker"
    program.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/asked\n[ "$2" != imagetools ] || cat {tmp_path}/digest\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    return tmp_path


def built(directory: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", str(directory / "build_image.sh"), "me/image:1"], capture_output=True, text=True, check=False
    )


def test_the_image_is_built_on_a_digest_that_is_looked_up_once(docker: Path) -> None:
    (docker / "digest").write_text("sha256:" + "a" * 64)
    assert built(docker).returncode == 0
    (docker / "digest").write_text("sha256:" + "b" * 64)  # somebody pushed the tag anew
    assert built(docker).returncode == 0
    base = re.search(r"^ARG BASE=(\S+)$", (CLUSTER / "Dockerfile").read_text(), re.M)
    assert base is not None
    asked = (docker / "asked").read_text().splitlines()
    assert [f"--build-arg BASE={base[1]}@sha256:{'a' * 64} " in line for line in asked] == [False, True, True]


def test_a_digest_that_cannot_be_looked_up_is_told_and_none_is_made_up(docker: Path) -> None:
    done = built(docker)  # the answer is empty
    assert done.returncode == 1
    assert "cannot be looked up" in done.stderr
    assert (docker / "base_image.txt").read_text() == (CLUSTER / "base_image.txt").read_text()


def plain(name: str) -> str:
    """A distribution's name without extras, as package indices compare it."""
    return re.sub(r"[-_.]+", "-", name.partition("[")[0]).lower()


@pytest.mark.parametrize("script", sorted(path.name for path in CLUSTER.glob("*.sh")))
def test_scripts_are_readable_to_bash(script: str) -> None:
    subprocess.run(["bash", "-n", str(CLUSTER / script)], check=True)


def test_setup_does_nothing_where_everything_is_installed() -> None:
    venv = Path(__import__("sys").prefix)
    done = subprocess.run(["bash", str(CLUSTER / "setup.sh"), str(venv)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "everything is installed"
