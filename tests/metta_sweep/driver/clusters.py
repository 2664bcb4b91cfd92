"""Clusters of several raylets on this machine.

Ray starts nodes from the main thread only, so sweeps on them run in processes of their own.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from ray.cluster_utils import Cluster

from tests.metta_sweep.driver.drive import ROOT
from tests.ray_token import use_ray_token


@contextmanager
def started_cluster(**head: Any) -> Iterator[Cluster]:
    """A head; tests add nodes to it."""
    with pytest.MonkeyPatch.context() as process:
        use_ray_token(process)
        process.setenv("PYTHONPATH", str(ROOT))
        process.setenv("OMP_NUM_THREADS", "1")
        cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False} | head)
        try:
            yield cluster
        finally:
            cluster.shutdown()
