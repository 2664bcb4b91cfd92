"""What can be known before money is spent: about the file, its image and nodes, and the tools on this machine."""

from __future__ import annotations

import importlib.util
import logging
import re
import shutil
import sys
from collections.abc import Mapping
from typing import Any

import yaml

from metta_sweep.errors import ConfigError
from metta_sweep.launch.cluster_files import image_of, provider_of, worker_nodes
from trainables.ray_internals import validate_cluster_file
from trainables.resources import Resources

# What Ray imports to talk to a provider, and the package that brings it.
MODULES = {"aws": ("boto3", "boto3"), "gcp": ("googleapiclient", "google-api-python-client")}
PROGRAMS = {"aws": ("ssh", "rsync"), "gcp": ("ssh", "rsync"), "local": ("ssh", "rsync"), "kuberay": ("kubectl",)}


def check_cluster_file(text: str) -> dict[str, Any]:
    """The cluster file as a mapping, once Ray's own code and the version check have nothing against it.

    Raises:
        ConfigError: with everything that is wrong.
    """
    config: dict[str, Any] = yaml.safe_load(text)
    problems = [*schema_problems(config), *image_problems(image_of(config), ray_version(), python_version())]
    if problems:
        raise ConfigError(*problems)
    return config


def schema_problems(config: Mapping[str, Any]) -> list[str]:
    """What Ray's validator says."""
    import jsonschema

    logging.getLogger("ray.autoscaler").setLevel(logging.WARNING)  # it tells which defaults it filled in
    try:
        validate_cluster_file(config, is_kuberay=provider_of(config) == "kuberay")
    except jsonschema.ValidationError as error:
        return [f"cluster file: {'.'.join(str(part) for part in error.absolute_path) or 'top level'}: {error.message}"]
    except (KeyError, TypeError, ValueError) as error:
        return [f"cluster file: {error!r}; compare with the packaged one"]
    return []


def image_problems(image: str, ray: str, python: str) -> list[str]:
    """Whether the tag says this Ray and this Python (`...:2.60.0-py311`): else checkpoints and pickles do not fit.

    "" passes.

    Args:
        ray: such as "2.60.0".
        python: such as "3.11".
    """
    if not image:
        return []
    tag = image.rpartition(":")[2] if ":" in image.rpartition("/")[2] else ""
    wanted = f"{ray}-py{python.replace('.', '')}"
    found = re.search(r"(\d+\.\d+\.\d+)[a-z0-9.]*-py(\d{2,3})\b", tag)
    if found is None:
        return [f"image {image}: its tag does not say which Ray and Python are inside; tag it {wanted}"]
    if f"{found[1]}-py{found[2]}" != wanted:
        has = f"Ray {found[1]} and Python {found[2][0]}.{found[2][1:]}"
        return [f"image {image}: has {has}, you have Ray {ray} and Python {python}; use an image tagged {wanted}"]
    return []


def ray_version() -> str:
    from importlib.metadata import version

    return version("ray")


def python_version() -> str:
    return f"{sys.version_info.major}.{sys.version_info.minor}"


def check_fit(config: Mapping[str, Any], resources: Resources) -> int | None:
    """How many runs fit the cluster at its largest; None where only Ray will know, on machines of your own.

    Raises:
        ConfigError: not even one fits; names the key.
    """
    from metta_sweep.capacity import count_slots

    nodes = worker_nodes(config)
    return count_slots(resources, nodes) if nodes else None


def check_tools(provider: str) -> None:
    """What this machine needs to reach the provider.

    Raises:
        ConfigError: one line for each thing that is missing.
    """
    problems = [
        f"{name}: not found on this machine; provider {provider} needs it"
        for name in PROGRAMS[provider]
        if shutil.which(name) is None
    ]
    module, package = MODULES.get(provider, ("sys", ""))
    if importlib.util.find_spec(module) is None:
        problems.append(f"{module}: not installed; provider {provider} needs it: pip install {package}")
    if problems:
        raise ConfigError(*problems)
