"""What Ray itself knows of a running sweep: gauges on a node's metrics port, the sweep's name on the job."""

from __future__ import annotations

import re
import urllib.request
from pathlib import Path

import pytest
from ray._raylet import GcsClient  # type: ignore[attr-defined]

from metta_sweep.driver.display import GAUGES
from tests.metta_sweep.driver.clusters import started_cluster
from tests.metta_sweep.driver.drive import SWEEP, Instant, kill_everything, start_driver, wait_for


@pytest.mark.ray
@pytest.mark.long
def test_gauges_are_on_the_metrics_port_and_the_job_carries_the_sweeps_name(tmp_path: Path, instant: Instant) -> None:
    instant(sleep_seconds=1.0)
    with started_cluster(num_cpus=1) as cluster:
        driver = start_driver(tmp_path, "sweep.num_samples=null", environ={"RAY_ADDRESS": cluster.address})
        port = cluster.head_node.metrics_export_port

        def shown() -> set[str]:
            text = (
                urllib.request.urlopen(f"http://{cluster.head_node.node_ip_address}:{port}/metrics", timeout=10)
                .read()
                .decode()
            )
            return {
                name
                for name, labels in re.findall(r"^ray_metta_sweep_(\w+)\{(.*)\}", text, re.MULTILINE)
                if f'sweep="{SWEEP}"' in labels
            }

        try:
            wait_for(lambda: shown() == {name for name, _, _ in GAUGES})
            jobs = GcsClient(address=cluster.address).get_all_job_info()
            assert [job.config.metadata.get("sweep") for job in jobs.values() if not job.is_dead] == [SWEEP]
        finally:
            kill_everything(driver)
