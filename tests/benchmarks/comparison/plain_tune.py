"""A sweep as one writes it with Ray Tune alone: `... plain_tune optuna|random DIRECTORY CPU_SECONDS OUT.json WORD...`,
where the words are those of a sweep of ours.
"""

from __future__ import annotations

import json
import math
import os
import sys
import uuid
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import optuna
import pytest
import ray
from ray import tune
from ray.tune.search.optuna import OptunaSearch

from metta_sweep.capacity import bundles
from metta_sweep.config import resolve_run
from metta_sweep.config.job import SweepJob
from searchers.distributions import NumericParameter
from tests.benchmarks.comparison.live import SLOTS, Advised, job_of
from tests.ray_token import use_ray_token
from trainables.result import RunResult
from trainables.run_trainable import RunTrainable
from trainables.spec import spec_of_point


def drawn(trial: Any, job: SweepJob) -> dict[str, Any]:
    """A point, asked of Optuna in its own terms."""
    point: dict[str, Any] = {}
    for one in job.sweep.phases[0].space.parameters:
        assert isinstance(one, NumericParameter)
        kind = one.distribution.name
        if kind == "uniform_pow2":
            point[one.name] = 2 ** trial.suggest_int(
                f"log2 {one.name}", int(one.low).bit_length() - 1, int(one.high).bit_length() - 1
            )
        elif kind in ("int_uniform", "int_log_normal"):
            point[one.name] = trial.suggest_int(one.name, int(one.low), int(one.high), log=kind == "int_log_normal")
        elif kind == "logit_normal":  # even in log(1 - x), as people search discounts
            point[one.name] = 1.0 - trial.suggest_float(f"1 - {one.name}", 1.0 - one.high, 1.0 - one.low, log=True)
        else:
            point[one.name] = trial.suggest_float(one.name, one.low, one.high, log=kind == "log_normal")
    return point


@dataclass
class Log(tune.Callback, tune.Stopper):
    """What ended, in order, and whether that is enough.

    Attributes:
        ended: (CPU seconds of the run, its score, its point).
    """

    budget: float
    ended: list[tuple[float, float, dict[str, Any]]] = field(default_factory=list)

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        result = RunResult.from_dict(json.loads(trial.last_result["result_json"]))
        score = -math.inf if result.score is None else result.score
        self.ended.append((result.costs.total.cpu_seconds, score, trial.config["point"]))

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        return False

    def stop_all(self) -> bool:
        return sum(cost for cost, _, _ in self.ended) >= self.budget

    def advised(self, job: SweepJob) -> list[Advised]:
        """The point with the best score so far, after each run."""
        rows, spent, best = [], 0.0, self.ended[0]
        for one in self.ended:
            spent += one[0]
            best = max(best, one, key=lambda run: run[1])
            rows.append(Advised(spent, resolve_run(job.train, "live", best[2], seed=job.seed)))
        return rows


class PointTrainable(RunTrainable):
    """Our trainable, told a point instead of a run; it answers once, at the end of the run."""

    def setup(self, config: dict[str, Any]) -> None:
        super().setup(with_run(config))

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        return super().reset_config(with_run(new_config))

    def step(self) -> dict[str, Any]:
        while "result_json" not in (answer := super().step()):
            pass
        return answer


def with_run(config: dict[str, Any]) -> dict[str, Any]:
    """A run of its own name and seed for the point."""
    number = uuid.uuid4().int % 2**31
    directory = Path(config["directory"])
    spec = resolve_run(job_of(config["words"]).train, f"live.r.{number}", config["point"], seed=number)
    name = spec["run"]
    return {"run": {"id": name, "attempt": 1, "directory": str(directory / "runs" / name), "spec": spec_of_point(spec)}}


def configuration(trial: Any, job: SweepJob, directory: str, words: list[str]) -> dict[str, Any]:
    """What the trainable is told: a point, and how to make a run of it."""
    return {"point": drawn(trial, job), "directory": directory, "words": words}


def search_of(method: str, job: SweepJob, directory: Path, words: list[str]) -> OptunaSearch:
    """OptunaSearch as it comes, or with Optuna's random sampler."""
    sampler = optuna.samplers.RandomSampler(seed=job.seed) if method == "random" else None
    space = partial(configuration, job=job, directory=str(directory), words=words)  # Tune pickles it
    return OptunaSearch(space=space, metric="score", mode="max", sampler=sampler, seed=None if sampler else job.seed)


def main() -> None:
    method, directory, budget, out = sys.argv[1], Path(sys.argv[2]), float(sys.argv[3]), Path(sys.argv[4])
    words = sys.argv[5:]
    job, log = job_of(words), Log(budget)
    use_ray_token(pytest.MonkeyPatch())
    os.environ["OMP_NUM_THREADS"] = "1"
    ray.init(address="local", num_cpus=SLOTS, include_dashboard=False, log_to_driver=False)
    search = search_of(method, job, directory, words)
    tune.Tuner(
        tune.with_resources(PointTrainable, tune.PlacementGroupFactory(bundles(job.resources))),
        tune_config=tune.TuneConfig(search_alg=search, num_samples=-1, reuse_actors=True, max_concurrent_trials=SLOTS),
        run_config=tune.RunConfig(storage_path=str(directory / "tune"), verbose=0, callbacks=[log], stop=log),
    ).fit()
    out.write_text(json.dumps([asdict(one) for one in log.advised(job)]))


if __name__ == "__main__":
    main()
