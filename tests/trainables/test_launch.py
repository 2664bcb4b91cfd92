"""Whole runs on a real Ray: what is written, what failures are called, that nothing is left behind."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

from trainables.launch import evaluate_once, run_once
from trainables.result import Progress, RunResult
from trainables.run_files import RunFiles
from trainables.spec import RunSpec

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("local_ray")]
ODD = "/env/gymnasium/tests.trainables.odd_environments:Odd-v0"


def odd(cartpole: dict[str, Any], **options: Any) -> dict[str, Any]:
    """A run on the misbehaving environment, without second chances unless asked for."""
    trainer = {**cartpole["trainer"], "curriculum": ODD, "simulation": {"curve_points": 0}}
    sim = {"episodes": 2, "simulations": {"quiet": {"env": ODD}}}
    return {**cartpole, "trainer": trainer, "sim": sim, "env": options, "resources": {"max_restarts": 0}}


def train(mapping: dict[str, Any], directory: Path, on_progress: Callable[[Progress], None], **rest: Any) -> RunResult:
    return run_once(RunSpec.from_mapping(mapping), directory, on_progress, **rest)


def evaluate(mapping: dict[str, Any], directory: Path) -> RunResult:
    return evaluate_once(RunSpec.from_mapping(mapping), directory)


def ignore(progress: Progress) -> None:
    del progress


def pids(directory: Path, attempt: int = 1) -> list[int]:
    return [rank["pid"] for rank in yaml.safe_load(RunFiles(directory).dist(attempt).read_text())["ranks"]]


def wait_until_gone(ids: list[int]) -> None:
    deadline = time.monotonic() + 10.0
    while any(psutil.pid_exists(pid) for pid in ids) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not [pid for pid in ids if psutil.pid_exists(pid)]


def test_a_run_trains_evaluates_and_writes_its_files(cartpole: dict[str, Any], tmp_path: Path) -> None:
    heard: list[Progress] = []
    result = train(cartpole, tmp_path, heard.append)
    assert (result.outcome, result.env_steps, result.failure) == ("completed", 4096, None), result.log_tail
    assert result.score == result.metrics["reward"] == result.metrics["gymnasium/CartPole-v1/reward"]
    assert [point.env_steps for point in result.curve] == [2048, 4096]
    assert all(getattr(result.costs, part).cpu_seconds > 0 for part in ("setup", "train", "curve", "evaluate"))
    assert result.costs == result.attempt_costs
    assert [p.point.env_steps for p in heard if p.point] == [2048]
    assert RunResult.from_dict(json.loads(json.dumps(result.to_dict()))) == result

    files = RunFiles(tmp_path)
    assert "4096/4096 steps" in files.log().read_text()
    assert len(files.metrics.read_text().splitlines()) == 8
    assert yaml.safe_load(files.eval_results.read_text())["score"] == result.score
    assert yaml.safe_load(files.eval_config.read_text())["sim"]["simulations"] == {
        "CartPole-v1": {"env": "/env/gymnasium/CartPole-v1", "episodes": 4}
    }
    with sqlite3.connect(files.stats_db) as database:
        assert database.execute("select count(*), avg(score) from episodes where run = 's.r.0'").fetchone() == (
            4,
            pytest.approx(result.score),
        )
    wait_until_gone(pids(tmp_path))

    # The same directory again: training is done, so it only evaluates, to the same score.
    again = train(cartpole, tmp_path, ignore, attempt=2)
    assert (again.score, again.env_steps) == (result.score, 4096)

    # With another configuration it is another run: nothing of the old one is used.
    other = {**cartpole, "trainer": {**cartpole["trainer"], "optimizer": {"learning_rate": 0.05}}}
    fresh = train(other, tmp_path, ignore)
    assert fresh.costs == fresh.attempt_costs
    assert len(files.metrics.read_text().splitlines()) == 8
    assert (tmp_path / "earlier-1" / "sweep_eval_results.yaml").is_file()


@pytest.mark.parametrize(
    ("does", "failure", "reason"),  # further kinds: test_rank_worker.py
    [
        ("raise", "code", "KeyError: 'the environment lost its map'"),
        ("out of memory", "hyperparameters", "CUDA out of memory"),
    ],
)
def test_a_failure_has_a_kind_a_reason_and_a_log(
    cartpole: dict[str, Any], tmp_path: Path, does: str, failure: str, reason: str
) -> None:
    result = train(odd(cartpole, does=does), tmp_path, ignore)
    assert (result.outcome, result.failure, result.score) == ("failed", failure, None)
    assert reason in result.message
    assert "\n" not in result.message
    assert "Traceback" in result.log_tail
    wait_until_gone(pids(tmp_path))


def test_a_killed_worker_costs_a_restart_from_the_checkpoint_and_not_the_run(
    cartpole: dict[str, Any], tmp_path: Path
) -> None:
    mapping = odd(cartpole, seconds=0.001)
    mapping["trainer"]["checkpoint"] = {"interval_seconds": 0}
    mapping["resources"] = {"world_size": 2, "max_restarts": 1}
    killed: list[int] = []

    def kill_once(progress: Progress) -> None:
        if not killed and progress.env_steps >= 1024:
            killed.append(pids(tmp_path)[1])
            os.kill(killed[0], signal.SIGKILL)

    result = train(mapping, tmp_path, kill_once)
    assert (result.outcome, result.env_steps) == ("completed", 4096), (result.message, result.log_tail)
    steps = [json.loads(line)["env_steps"] for line in RunFiles(tmp_path).metrics.read_text().splitlines()]
    assert sorted(set(steps)) == [512 * n for n in range(1, 9)]
    assert len(steps) <= 10  # nothing but the update in flight was done twice
    assert (
        result.attempt_costs.setup.cpu_seconds > result.costs.setup.cpu_seconds
    )  # the budget pays for both groups of workers
    assert killed[0] not in pids(tmp_path)


def test_a_killed_environment_worker_costs_a_restart_too_and_leaves_nobody(
    cartpole: dict[str, Any], tmp_path: Path
) -> None:
    mapping = odd(cartpole, seconds=0.001)
    mapping["trainer"] |= {"checkpoint": {"interval_seconds": 0}, "num_workers": 2}
    mapping["resources"] = {"max_restarts": 1, "cpus_per_worker": 2}
    killed: list[psutil.Process] = []

    def kill_once(progress: Progress) -> None:
        if not killed and progress.env_steps >= 1024:
            killed.extend(psutil.Process(pids(tmp_path)[0]).children())
            killed[1].kill()

    result = train(mapping, tmp_path, kill_once)
    assert (result.outcome, result.env_steps) == ("completed", 4096), (result.message, result.log_tail)
    assert "environment worker 1 (environments 4 to 7) was killed by SIGKILL" in RunFiles(tmp_path).log().read_text()
    steps = [json.loads(line)["env_steps"] for line in RunFiles(tmp_path).metrics.read_text().splitlines()]
    assert sorted(set(steps)) == [512 * n for n in range(1, 9)]
    assert len(steps) <= 10  # nothing but the update in flight was done twice
    assert len(killed) == 2
    wait_until_gone([*pids(tmp_path), *(process.pid for process in killed)])


def test_runs_side_by_side_hold_the_cores_of_their_environment_workers(
    cartpole: dict[str, Any], tmp_path: Path
) -> None:
    import ray

    mapping = odd(cartpole, seconds=0.001)
    mapping["trainer"] |= {"num_workers": 2}
    mapping["resources"] = {"cpus_per_worker": 2}
    free: list[float] = []
    both = threading.Barrier(2, timeout=240)

    def look_once(progress: Progress) -> None:
        if progress.env_steps == 512:
            both.wait()
            free.append(ray.available_resources().get("CPU", 0.0))
            both.wait()

    with ThreadPoolExecutor(2) as pool:
        results = list(pool.map(lambda name: train(mapping, tmp_path / name, look_once), ("one", "two")))
    assert [result.outcome for result in results] == ["completed"] * 2
    assert free == [0.0, 0.0]  # of the four that this Ray has


def test_a_lost_node_ends_the_run_at_once_with_its_checkpoint_kept(cartpole: dict[str, Any], tmp_path: Path) -> None:
    from ray.util.placement_group import placement_group, remove_placement_group

    from trainables.errors import NodeLost
    from trainables.messages import RunRequest
    from trainables.runner import Runner

    mapping = odd(cartpole, seconds=0.001)
    mapping["trainer"]["checkpoint"] = {"interval_seconds": 0}
    mapping["resources"] = {"max_restarts": 2}
    lost: list[str] = []

    def check_places() -> None:
        if lost:
            raise NodeLost("lost node 1")

    def lose_once(progress: Progress) -> None:
        if not lost and progress.env_steps >= 1024:
            lost.append("node 1")
            os.kill(pids(tmp_path)[0], signal.SIGKILL)

    group = placement_group([{"CPU": 1}])
    result = Runner(group, check_places).run(RunRequest(RunSpec.from_mapping(mapping), tmp_path), lose_once)
    remove_placement_group(group)
    assert (result.outcome, result.failure, result.message) == ("interrupted", "infrastructure", "lost node 1")
    assert result.given_up().outcome == "failed", "when nobody takes it up elsewhere"
    assert list(RunFiles(tmp_path).checkpoints.glob("*"))


def test_a_full_disk_at_a_checkpoint_costs_a_restart_from_the_one_before(
    cartpole: dict[str, Any], tmp_path: Path
) -> None:
    mapping = odd(cartpole, does="fill the disk", after=1200, once=str(tmp_path / "full"))
    mapping["trainer"]["checkpoint"] = {"interval_seconds": 0}
    mapping["resources"] = {"max_restarts": 1}
    result = train(mapping, tmp_path, ignore)
    assert (result.outcome, result.env_steps) == ("completed", 4096), (result.message, result.log_tail)
    assert "No space left on device" in RunFiles(tmp_path).log().read_text()
    steps = [json.loads(line)["env_steps"] for line in RunFiles(tmp_path).metrics.read_text().splitlines()]
    assert len(steps) == 9  # only the update whose checkpoint did not fit was done twice
    assert set(steps) == {512 * n for n in range(1, 9)}
    assert pids(tmp_path) != [int((tmp_path / "full").read_text())]
    wait_until_gone(pids(tmp_path))


def test_a_worker_that_is_killed_every_time_is_the_fault_of_the_infrastructure(
    cartpole: dict[str, Any], tmp_path: Path
) -> None:
    mapping = odd(cartpole, does="be killed")
    mapping["resources"] = {"max_restarts": 1}
    result = train(mapping, tmp_path, ignore)
    assert (result.outcome, result.failure) == ("failed", "infrastructure")
    assert result.message.startswith("a worker was lost")


@pytest.mark.parametrize(
    ("does", "how", "num_workers"),
    [
        ("die", "exit code 1 at trainables/odd_environments.py:", 0),
        ("crash", "SIGSEGV at ", 0),
        pytest.param("die", "exit code 1 at trainables/odd_environments.py:", 1, marks=pytest.mark.long),
    ],
)
def test_a_worker_that_ends_itself_says_how_and_twice_is_the_fault_of_the_code(
    cartpole: dict[str, Any], tmp_path: Path, does: str, how: str, num_workers: int
) -> None:
    mapping = odd(cartpole, does=does)
    mapping["trainer"] |= {"num_workers": num_workers}
    mapping["resources"] = {"max_restarts": 5}
    result = train(mapping, tmp_path, ignore)
    assert (result.outcome, result.failure) == ("failed", "code")
    assert result.message.startswith(f"a worker ended with {how}")
    assert result.message.endswith("twice in a row")
    assert how in result.signature
    assert result.log_tail


def test_a_worker_that_hangs_is_given_up(cartpole: dict[str, Any], tmp_path: Path) -> None:
    mapping = odd(cartpole, seconds=0.001)
    mapping["resources"] = {"world_size": 2, "max_restarts": 0, "collective_timeout_seconds": 5}
    stopped: list[float] = []

    def stop_once(progress: Progress) -> None:
        if not stopped and progress.env_steps >= 512:
            stopped.append(time.monotonic())
            os.kill(pids(tmp_path)[1], signal.SIGSTOP)

    result = train(mapping, tmp_path, stop_once)
    assert (result.outcome, result.failure) == ("failed", "infrastructure")
    assert "another rank is gone or hangs" in result.message
    assert time.monotonic() - stopped[0] < 30.0
    wait_until_gone(pids(tmp_path))


def test_a_single_worker_that_hangs_is_given_up_too(cartpole: dict[str, Any], tmp_path: Path) -> None:
    mapping = odd(cartpole, seconds=0.001)
    mapping["resources"] = {"max_restarts": 0, "collective_timeout_seconds": 1}

    def stop(progress: Progress) -> None:
        del progress
        os.kill(pids(tmp_path)[0], signal.SIGSTOP)

    result = train(mapping, tmp_path, stop)
    assert (result.outcome, result.failure) == ("failed", "infrastructure")
    assert result.message.startswith("rank 0 has not answered for")
    wait_until_gone(pids(tmp_path))


@pytest.mark.long
@pytest.mark.parametrize(
    ("num_workers", "who"), [(0, ""), (2, " (environment worker 0 (environments 0 to 3) has not answered for ")]
)
def test_an_environment_that_hangs_is_given_up(
    cartpole: dict[str, Any], tmp_path: Path, num_workers: int, who: str
) -> None:
    mapping = odd(cartpole, does="hang", after=1000)
    mapping["trainer"] |= {"num_workers": num_workers}
    mapping["resources"] = {"max_restarts": 0, "stall_seconds": 5}
    result = train(mapping, tmp_path, ignore)
    assert (result.outcome, result.failure) == ("failed", "infrastructure")
    assert result.message.startswith(f"no update for 5 s: training hangs{who}")
    wait_until_gone(pids(tmp_path))


@pytest.mark.parametrize("curve_points", [0, 1])
def test_a_suite_whose_episodes_never_end_is_named_and_tried_once(
    cartpole: dict[str, Any], tmp_path: Path, curve_points: int
) -> None:
    mapping = odd(cartpole)
    mapping["trainer"]["total_timesteps"] = 1024
    mapping["trainer"]["simulation"] = {"curve_points": curve_points, "curve_episodes": 2}
    mapping["sim"] = {"name": "odd", "episodes": 2, "simulations": {"endless": {"env": ODD, "does": "never end"}}}
    mapping["resources"] = {"max_restarts": 2, "stall_seconds": 4}
    result = train(mapping, tmp_path, ignore)
    assert (result.outcome, result.failure) == ("failed", "code")
    assert result.message.startswith("suite odd, simulation endless: no episode ended for ")
    assert result.signature == "episodes of odd/endless do not end"
    assert list(RunFiles(tmp_path).dist(1).parent.glob("dist_*")) == [RunFiles(tmp_path).dist(1)]
    if not curve_points:
        again = evaluate(mapping, tmp_path)
        assert again.message.startswith("suite odd, simulation endless: no episode ended for ")


def lengths_and_process(episodes: list[Any]) -> dict[str, float]:
    return {"longest": float(max(episode.num_steps for episode in episodes)), "pid": float(os.getpid())}


def test_a_metric_of_ones_own_is_the_score_and_is_computed_by_a_rank(cartpole: dict[str, Any], tmp_path: Path) -> None:
    mapping = odd(cartpole)
    mapping["trainer"]["total_timesteps"] = 512
    mapping["sim"]["metrics"] = ["tests.trainables.test_launch:lengths_and_process"]
    result = train({**mapping, "metric": "longest"}, tmp_path, ignore)
    assert (result.outcome, result.score, result.standard_error) == ("completed", 10.0, None), result.message
    assert result.metrics["pid"] in pids(tmp_path)


def test_a_slow_evaluation_that_comes_forward_is_waited_for(cartpole: dict[str, Any], tmp_path: Path) -> None:
    mapping = odd(cartpole)
    mapping["trainer"]["total_timesteps"] = 512
    mapping["sim"] = {
        "episodes": 8,
        "simulations": {"slow": {"env": ODD, "seconds": 0.1}},
    }  # 8 s to the end of the first
    mapping["resources"] = {"max_restarts": 0, "stall_seconds": 4}
    result = train(mapping, tmp_path, ignore)
    assert result.outcome == "completed", result.message
    assert result.costs.evaluate.wall_seconds >= 8


def test_a_command_runs_on_ranks_that_can_find_each_other(cartpole: dict[str, Any], tmp_path: Path) -> None:
    trainable = {
        "kind": "command",
        "command": f"{sys.executable} -m tests.trainables.programs.toy {{overrides}}",
        "workdir": str(Path(__file__).parents[2]),
        "parameters": {"does": "ranks"},
    }
    mapping = {**cartpole, "trainable": trainable, "resources": {"world_size": 2}, "suggestion": {"optim.lr": 0.25}}
    result = train(mapping, tmp_path, ignore)
    assert (result.outcome, result.score, result.env_steps) == ("completed", 1.0, 400), result.log_tail
    said = [
        next(line for line in RunFiles(tmp_path).log(rank).read_text().splitlines() if line.startswith("rank")).split()
        for rank in (0, 1)
    ]
    assert [words[:4] for words in said] == [["rank", "0", "of", "2"], ["rank", "1", "of", "2"]]
    assert said[0][5:] == said[1][5:]
    assert [point.score for point in result.curve] == [0.25, 0.5, 0.75, 1.0]


def test_more_than_the_cluster_has_is_refused_by_name(cartpole: dict[str, Any], tmp_path: Path) -> None:
    from trainables.errors import SpecError

    with pytest.raises(SpecError, match=r"resources: 8 x 1 CPU do not fit the cluster, which has 4"):
        train({**cartpole, "resources": {"world_size": 8}}, tmp_path, ignore)
