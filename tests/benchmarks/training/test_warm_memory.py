"""Memory of a warm worker over as many runs as it may ever do."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest
import yaml

from tests.ray_token import use_ray_token
from trainables.messages import RunRequest
from trainables.run_files import RunFiles
from trainables.runner import Runner
from trainables.spec import RunSpec
from trainables.worker_group import MAX_RUNS

pytestmark = [pytest.mark.ray, pytest.mark.benchmark, pytest.mark.timeout(3600)]
TRAINER = {"total_timesteps": 16_384, "simulation": {"curve_points": 1, "curve_episodes": 2}}


@pytest.mark.parametrize("num_workers", [0, 2])
def test_memory_is_flat_over_50_runs_in_one_warm_worker(
    num_workers: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import ray
    from ray.util.placement_group import placement_group

    use_ray_token(monkeypatch)
    environment = {"PYTHONPATH": str(Path(__file__).parents[3]), "OMP_NUM_THREADS": "1"}
    ray.init(
        address="local", num_cpus=1, include_dashboard=False, log_to_driver=False, runtime_env={"env_vars": environment}
    )
    runner = Runner(placement_group([{"CPU": 1}]))
    pids, resident = set(), []
    try:
        for number in range(MAX_RUNS):
            directory = tmp_path / f"s.r.{number}"
            trainer = {**TRAINER, "num_workers": num_workers}
            mapping = {"run": directory.name, "seed": number, "trainer": trainer, "sim": {"episodes": 8}}
            result = runner.run(RunRequest(RunSpec.from_mapping(mapping), directory), lambda progress: None)
            assert result.outcome == "completed", result.message
            (rank,) = yaml.safe_load(RunFiles(directory).dist(1).read_text())["ranks"]
            pids.add(rank["pid"])
            processes = [psutil.Process(rank["pid"]), *psutil.Process(rank["pid"]).children()]
            assert len(processes) == 1 + num_workers
            resident.append([process.memory_info().rss / 2**20 for process in processes])
    finally:
        runner.close()
        ray.shutdown()
    shown = [[round(size) for size in resident[n]] for n in (0, *range(4, MAX_RUNS, 5))]
    print("resident MiB of rank and workers after runs 1, 5, 10, ..., 50:", shown)
    assert len(pids) == 1
    for first, last in zip(resident[4], resident[-1], strict=True):  # each process on its own
        assert last < 1.05 * first
