"""A cluster that is not this machine, in a word: so that a laptop can check and plan what will run there."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import yaml

from metta_sweep.capacity import Node, counted
from metta_sweep.errors import ConfigError
from metta_sweep.launch.cluster_files import worker_nodes

SHAPE = re.compile(r"(?P<nodes>[1-9]\d{0,4})x(?P<gpus>\d{1,3})(?:x(?P<cores>[1-9]\d{0,3}))?")
# What clouds give with a GPU, and to a node without one.
CORES_PER_GPU = 8
FIX = "write NODESxGPUS, such as 4x8, or NODESxGPUSxCORES, or give a cluster file"


def described_nodes(text: str) -> list[Node]:
    """Workers of the cluster that `--for-cluster` describes.

    Args:
        text: `4x8` for 4 nodes with 8 GPUs each, `4x8x96` with 96 cores each, or the path of a cluster file.

    Raises:
        ConfigError: neither, or a file that does not say what its workers have.
    """
    if match := SHAPE.fullmatch(text):
        gpus = int(match["gpus"])
        cores = int(match["cores"] or CORES_PER_GPU * max(gpus, 1))
        resources = {"CPU": float(cores)} | ({"GPU": float(gpus)} if gpus else {})
        return [Node(resources)] * int(match["nodes"])
    path = Path(text)
    if not path.is_file():
        raise ConfigError(f"--for-cluster: there is no file {text!r}; {FIX}")
    try:
        nodes = worker_nodes(yaml.safe_load(path.read_text(encoding="utf-8")))
    except (yaml.YAMLError, KeyError, TypeError, ValueError, AttributeError) as error:
        reason = str(error).partition("\n")[0]
        text = f"{path} is not a cluster file ({type(error).__name__}: {reason}); {FIX}"
        raise ConfigError(f"--for-cluster: {text}") from error
    if not nodes:
        raise ConfigError(f"--for-cluster: {path} does not say what its machines have; {FIX}")
    return nodes


def nodes_text(nodes: Sequence[Node]) -> str:
    """As people read it."""
    size = nodes[0].resources
    gpus = size.get("GPU", 0)  # may be a fraction
    return f"{counted(len(nodes), 'node')} with {gpus:g} GPU{'s' * (gpus != 1)} and {size['CPU']:g} cores each"
