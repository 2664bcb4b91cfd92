"""One Ray for each file of driver tests, a registry, and instant runs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ray.cluster_utils import Cluster

from metta_sweep.registry.api import Registry
from metta_sweep.registry.open import open_registry
from tests.metta_sweep.driver.drive import ROOT, Environ, Instant


@pytest.fixture(scope="module")
def environ() -> Iterator[Environ]:
    """One Ray with two CPUs for all tests of this file; starting one takes longer than most of them."""
    process = pytest.MonkeyPatch()
    process.setenv("RAY_AUTH_MODE", "disabled")
    process.setenv("PYTHONPATH", str(ROOT))
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 2, "include_dashboard": False})
    yield {"RAY_ADDRESS": cluster.address}
    cluster.shutdown()
    process.undo()


@pytest.fixture
def instant(tmp_path: Path) -> Instant:
    """Sets what instant runs of this test do."""

    def set_options(**options: Any) -> None:
        (tmp_path / "instant.json").write_text(json.dumps(options))

    set_options()
    return set_options


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    opened = open_registry(tmp_path, None)
    yield opened
    opened.close()
