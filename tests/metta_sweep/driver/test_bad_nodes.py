"""Nodes that lose every run, and nodes that go away, on a real Ray of two nodes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from ray.cluster_utils import Cluster

from metta_sweep.errors import ClusterError, SweepAborted
from metta_sweep.registry.api import Registry
from metta_sweep.registry.records import RunState
from tests.metta_sweep.driver.drive import ROOT, SWEEP, Environ, Instant, drive, wait_for
from tests.ray_token import use_ray_token

pytestmark = [
    pytest.mark.ray,
    pytest.mark.timeout(600),
]  # dead processes are replaced one after the other, on a busy machine slowly
SOON = "settings.infrastructure_retry_delay=0.1"


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """A head with one slot."""
    with pytest.MonkeyPatch.context() as process:
        use_ray_token(process)
        process.setenv("PYTHONPATH", str(ROOT))
        cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
        yield cluster
        cluster.shutdown()


@pytest.fixture
def environ(cluster: Cluster) -> Environ:
    return {"RAY_ADDRESS": cluster.address}


@contextmanager
def when(condition: Callable[[], bool], act: Callable[[], object]) -> Iterator[None]:
    """Acts beside the block once the condition holds."""
    thread = threading.Thread(target=lambda: (wait_for(condition, seconds=240), act()))  # type: ignore[func-returns-value]
    thread.start()
    yield
    thread.join()


def test_a_node_that_loses_every_run_is_cordoned_and_its_points_are_run_elsewhere(
    cluster: Cluster, tmp_path: Path, registry: Registry, instant: Instant, environ: Environ
) -> None:
    node = cluster.add_node(num_cpus=1)
    instant(bad_node=node.node_id)
    hold = tmp_path / "hold"  # the good node's slot stays taken until the bad one is seen through
    hold.touch()
    registry.create_sweep(SWEEP, "")
    with when(lambda: "node_cordoned" in [event.kind for event in registry.events(SWEEP)], hold.unlink):
        ending = drive(tmp_path, "sweep.num_samples=3", SOON, "settings.max_fast_losses=2", environ=environ)
    cluster.remove_node(node)
    assert ending.exit_code == 0
    assert [run.state for run in registry.runs(SWEEP)] == [RunState.COMPLETED] * 3
    (cordoned,) = [event for event in registry.events(SWEEP) if event.kind == "node_cordoned"]
    assert cordoned.detail["node"] == node.node_id
    after = [event.kind for event in registry.events(SWEEP) if event.sequence > cordoned.sequence]
    assert "interrupted" not in after[1:]  # the loss that led to it may be told after it


@pytest.mark.long
def test_lost_runs_in_a_row_end_the_sweep_with_the_reason(
    tmp_path: Path, registry: Registry, instant: Instant, environ: Environ, cluster: Cluster
) -> None:
    instant(bad_node=cluster.head_node.node_id)
    with pytest.raises(SweepAborted, match=r"settings.max_infrastructure_failures=2"):
        drive(tmp_path, "sweep.num_samples=4", SOON, "settings.max_infrastructure_failures=2", environ=environ)
    assert {run.state for run in registry.runs(SWEEP)} <= {RunState.INTERRUPTED, RunState.RESERVED}
    assert {run.owner for run in registry.runs(SWEEP)} == {None}


@pytest.mark.long
def test_when_no_node_is_left_for_a_run_the_sweep_says_what_is_missing_and_gives_up(
    cluster: Cluster, tmp_path: Path, registry: Registry, instant: Instant, environ: Environ
) -> None:
    node = cluster.add_node(num_cpus=2)
    instant(sleep_seconds=30.0)
    patience = ("settings.placement_warning_seconds=20", "settings.placement_timeout_seconds=30")
    with (
        when(lambda: any(tmp_path.glob("**/pid_1")), lambda: cluster.remove_node(node, allow_graceful=False)),
        pytest.raises(
            ClusterError,
            match=r"waited 30 s for a place: resources.cpus_per_worker: 2 CPUs per rank, but no node has more than 1",
        ),
    ):
        drive(tmp_path, "sweep.num_samples=1", "resources.cpus_per_worker=2", SOON, *patience, environ=environ)
    (told,) = [event for event in registry.events(SWEEP) if event.kind == "waiting_for_resources"]
    assert told.detail["runs"] == [f"{SWEEP}.r.0"]
    (run,) = registry.runs(SWEEP)
    assert (run.state, run.owner) == (RunState.INTERRUPTED, None)


@pytest.mark.long
def test_runs_that_ask_for_a_kind_of_node_are_on_that_kind_only(
    cluster: Cluster, tmp_path: Path, registry: Registry, instant: Instant, environ: Environ
) -> None:
    node = cluster.add_node(num_cpus=1, labels={"market": "spot"})
    ending = drive(tmp_path, "sweep.num_samples=3", 'resources.node_labels=["market=spot"]', environ=environ)
    cluster.remove_node(node)
    assert ending.exit_code == 0
    assert [path.read_text() for path in tmp_path.glob("**/node_1")] == [node.node_id] * 3
