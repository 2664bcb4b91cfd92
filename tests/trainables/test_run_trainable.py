"""The Tune trainable: warm workers, interruption, results that never raise."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from trainables.result import RunResult
from trainables.run_files import RunFiles
from trainables.spec import spec_of_point

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("local_ray")]


def config_of(cartpole: dict[str, Any], directory: Path, number: int, **trainer: Any) -> dict[str, Any]:
    run_id = f"s.r.{number}"
    spec = {**cartpole, "run": run_id, "trainer": {**cartpole["trainer"], **trainer}}
    return {"run": {"id": run_id, "attempt": 1, "directory": str(directory / run_id), "spec": spec_of_point(spec)}}


def pids(directory: Path, number: int) -> list[int]:
    return [rank["pid"] for rank in yaml.safe_load(RunFiles(directory / f"s.r.{number}").dist(1).read_text())["ranks"]]


def test_runs_that_end_together_are_followed_by_runs_in_the_same_processes(
    cartpole: dict[str, Any], tmp_path: Path
) -> None:
    from ray import tune

    from trainables.run_trainable import RunTrainable

    runs = [config_of(cartpole, tmp_path, number, total_timesteps=1024)["run"] for number in range(6)]
    results: dict[str, RunResult] = {}

    class Collect(tune.Callback):
        def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
            result = trial.last_result
            results[result["run_id"]] = RunResult.from_dict(json.loads(result["result_json"]))

    slots = tune.PlacementGroupFactory([{}, {"CPU": 1}])
    tuner = tune.Tuner(
        tune.with_resources(RunTrainable, slots),
        param_space={"run": tune.grid_search(runs)},
        tune_config=tune.TuneConfig(reuse_actors=True, max_concurrent_trials=2),
        run_config=tune.RunConfig(storage_path=str(tmp_path / "tune"), verbose=0, callbacks=[Collect()]),
    )
    tuner.fit()
    assert {name: result.outcome for name, result in results.items()} == {f"s.r.{n}": "completed" for n in range(6)}
    assert len({pid for number in range(6) for pid in pids(tmp_path, number)}) == 2


@pytest.fixture
def trial() -> Any:
    """Starts the trainable as an actor in a placement group, as Tune does."""
    import ray
    from ray.util.placement_group import placement_group, remove_placement_group
    from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

    from trainables.run_trainable import RunTrainable

    group = placement_group([{"CPU": 1}])
    ray.get(group.ready())
    strategy = PlacementGroupSchedulingStrategy(group, placement_group_capture_child_tasks=True)
    actors: list[Any] = []

    def start(config: dict[str, Any]) -> Any:
        actors.append(ray.remote(num_cpus=0)(RunTrainable).options(scheduling_strategy=strategy).remote(config=config))
        return actors[-1]

    yield start
    for actor in actors:
        ray.get(actor.stop.remote())
        ray.kill(actor)
    remove_placement_group(group)


def finish(actor: Any) -> tuple[list[dict[str, Any]], RunResult]:
    """Steps to the end: the answers on the way, and the result."""
    import ray

    answers: list[Any] = []
    while True:
        answer = ray.get(actor.train.remote())
        if answer["done"]:
            return answers, RunResult.from_dict(json.loads(answer["result_json"]))
        answers.append(answer)


def test_interruption_failure_and_reuse_in_one_slot(cartpole: dict[str, Any], tmp_path: Path, trial: Any) -> None:
    import ray

    long = config_of(cartpole, tmp_path, 0, total_timesteps=32768)
    actor = trial(long)
    while True:  # until it trains
        answer = ray.get(actor.train.remote())
        assert not answer["done"], answer
        assert math.isnan(answer["score"])
        if answer["progress_json"] and json.loads(answer["progress_json"])["env_steps"] >= 1024:
            break
    costs = ray.get(actor.checkpoint_now.remote(20.0))
    assert costs["costs"]["train"]["cpu_seconds"] > 0
    _, interrupted = finish(actor)
    assert (interrupted.outcome, interrupted.score) == ("interrupted", None)
    assert interrupted.env_steps >= 1024
    checkpoint = max((tmp_path / "s.r.0" / "checkpoints").iterdir()).name
    assert checkpoint == f"step_{interrupted.env_steps:015d}.pt"

    # The same run goes on from there, in the same process.
    long["run"]["attempt"] = 2
    assert ray.get(actor.reset.remote(long))
    _, resumed = finish(actor)
    assert (resumed.outcome, resumed.env_steps) == ("completed", 32768), resumed.log_tail
    assert resumed.costs.train.cpu_seconds > resumed.attempt_costs.train.cpu_seconds
    ranks = yaml.safe_load(RunFiles(tmp_path / "s.r.0").dist(2).read_text())["ranks"]
    assert [rank["pid"] for rank in ranks] == pids(tmp_path, 0)

    # A failed run answers like any other, and its processes are never used again.
    broken = config_of(cartpole, tmp_path, 1, optimizer={"learning_rate": 1e30})
    assert ray.get(actor.reset.remote(broken))
    _, failed = finish(actor)
    assert (failed.outcome, failed.failure) == ("failed", "hyperparameters"), failed.message
    assert pids(tmp_path, 1) == pids(tmp_path, 0)
    assert ray.get(actor.reset.remote(config_of(cartpole, tmp_path, 2, total_timesteps=512)))
    _, fresh = finish(actor)
    assert fresh.outcome == "completed"
    assert pids(tmp_path, 2) != pids(tmp_path, 0)

    # Stopped early by a rule of the sweep: the slot is free for the next run, the workers stay.
    assert ray.get(actor.reset.remote(config_of(cartpole, tmp_path, 3, total_timesteps=10**7)))
    ray.get(actor.train.remote())
    assert ray.get(actor.reset.remote(config_of(cartpole, tmp_path, 4, total_timesteps=512)))
    assert finish(actor)[1].outcome == "completed"
    assert pids(tmp_path, 4) == pids(tmp_path, 2)

    # Code of another version needs another process.
    other = config_of(cartpole, tmp_path, 5)
    other["run"]["spec"] = replace(other["run"]["spec"], code_version="2")
    assert not ray.get(actor.reset.remote(other))


def test_a_broken_point_fails_before_any_process_starts(cartpole: dict[str, Any], tmp_path: Path, trial: Any) -> None:
    _, result = finish(trial(config_of({**cartpole, "metric": "rewrd"}, tmp_path, 0)))
    assert (result.outcome, result.failure) == ("failed", "hyperparameters")
    assert result.message == "metric: unknown 'rewrd'; did you mean reward?"
    assert not RunFiles(tmp_path / "s.r.0").dist(1).exists()
