"""One Ray for each file of driver tests, a registry, and instant runs."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import ray
from ray.cluster_utils import Cluster

from metta_sweep.registry.api import Registry
from metta_sweep.registry.open import open_registry
from tests.metta_sweep.driver.drive import ROOT, Environ, Instant, end_drivers_of
from tests.ray_token import use_ray_token


@pytest.fixture(scope="module")
def environ() -> Iterator[Environ]:
    """One Ray with two CPUs, and one connection to it, for all tests of this file: starting them takes longer than most
    of those.
    """
    process = pytest.MonkeyPatch()
    use_ray_token(process)
    process.setenv("PYTHONPATH", str(ROOT))
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 2, "include_dashboard": False})
    ray.init(address=cluster.address, log_to_driver=False, logging_level=logging.ERROR, configure_logging=False)
    yield {"RAY_ADDRESS": cluster.address}
    ray.shutdown()
    cluster.shutdown()
    process.undo()


@pytest.fixture
def instant(tmp_path: Path) -> Instant:
    """Sets what instant runs of this test do."""

    def set_options(**options: Any) -> None:
        (tmp_path / "instant.json").write_text(json.dumps(options))

    set_options()
    return set_options


@pytest.fixture(autouse=True)
def _no_driver_is_left(tmp_path: Path) -> Iterator[None]:
    yield
    end_drivers_of(tmp_path)


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    opened = open_registry(tmp_path, None)
    yield opened
    opened.close()
