"""One run without a sweep, for `train` and `evaluate`; and what a random policy scores."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ray
import yaml

from metta_sweep.capacity import count_slots
from metta_sweep.config import TrainJob
from metta_sweep.config import tree as trees
from metta_sweep.config.files import read_yaml
from metta_sweep.driver.files import RUN_CONFIG, write_run_config, write_yaml
from metta_sweep.driver.tune import TUNE_ENVIRONMENT
from metta_sweep.errors import ConfigError
from metta_sweep.ray_cluster.cluster import connected
from metta_sweep.ray_cluster.watch import end_process, watched
from trainables.disk import allot
from trainables.errors import SpecError
from trainables.kinds import kind_of
from trainables.ownership import claim_run, moved_text, run_mark
from trainables.result import Progress, RunResult

logger = logging.getLogger(__name__)


def train_one(
    job: TrainJob, environ: Mapping[str, str], on_progress: Callable[[Progress], None], say: Callable[[str], None]
) -> RunResult:
    """Train and evaluate; goes on from a checkpoint in the run's directory when that is of the same configuration.

    Args:
        on_progress: called about five times a second with progress.
        say: tells the person at the terminal.

    Raises:
        ConfigError: no node can hold the run, or its configuration is wrong.
        ClusterError: Ray cannot be reached.
    """
    with place_for(job, environ):
        from trainables.launch import run_once

        aside = claim_run(job.directory, run_mark("", job.run, job.config), job.config)
        if aside is not None:
            why = f"they belong to an earlier run {job.run}, or to another configuration of it"
            say(moved_text(job.directory, aside, why))
        allot(job.directory, job.umask)
        write_run_config(job.directory, job.config)
        return run_once(job.spec, job.directory, on_progress, umask=job.umask)


def evaluate_one(job: TrainJob, environ: Mapping[str, str]) -> RunResult:
    """Evaluate the newest checkpoint of a run on the suite of the configuration.

    Raises:
        ConfigError: there is no checkpoint, or the configuration is wrong.
        ClusterError: Ray cannot be reached.
    """
    check_same_policy(job)
    with place_for(job, environ):
        from trainables.launch import evaluate_once

        return evaluate_once(job.spec, job.directory, job.umask)


@contextmanager
def place_for(job: TrainJob, environ: Mapping[str, str]) -> Iterator[None]:
    """A cluster on which the run finds a place; what is wrong with its specification is the configuration's fault."""
    os.environ.update({key: value for key, value in TUNE_ENVIRONMENT.items() if key not in environ})
    with connected(environ, job.machine) as cluster:
        count_slots(job.resources, cluster.nodes.usable())
        try:
            with watched(cluster.own, give_up):
                yield
        except SpecError as error:
            raise ConfigError(*error.problems) from error


def give_up(reason: str) -> None:
    """The private Ray died under a run; its checkpoints are on disk."""
    end_process(reason, lambda text: sys.stderr.write(f"{text}\n"), may_restart=False)


def check_same_policy(job: TrainJob) -> None:
    """Raises `ConfigError` for another task or network than the run's: none of its checkpoints could be read."""
    path = job.directory / RUN_CONFIG
    trained = read_yaml(path) if path.is_file() else {}
    problems = []
    for key in ("trainer.curriculum", "model"):
        was, now = (trees.get(tree, trees.split(key)) for tree in (trained, job.config))
        if was is not None and was != now:
            fix = "give `evaluate` the words that `train` was given"
            problems.append(f"{key}: run {job.run} was trained with {was!r}, not {now!r}; {fix}")
    if problems:
        raise ConfigError(*problems)


WAIT_SECONDS = 30.0  # a guess: the measurement began with the sweep, and only a very short one waits for it


class RandomBaseline:
    """Starts the measurement as a Ray task of its own, so that it takes no slot from a run.

    The sweep's directory keeps the answer for whoever continues it. Programs that are not ours (`trainable` command or
    function) have no random policy.
    """

    def __init__(self, directory: Path, config: Mapping[str, Any]) -> None:
        self._path = directory / "random_policy.yaml"
        self._of = evaluation_hash(config)
        self._task: ray.ObjectRef | None = None
        self._known = read_score(self._path, self._of)
        if kind_of(config).plays_suite and self._known is None:
            self._task = ray.remote(measure).options(num_cpus=0, name="random policy").remote(dict(config))

    def score(self) -> tuple[float, float | None] | None:
        """Score and standard error, or None when there is none (the log says why)."""
        if self._task is not None:
            try:
                mean, error = ray.get(self._task, timeout=WAIT_SECONDS)
            except (ray.exceptions.RayError, TimeoutError) as failure:
                logger.warning("the random policy was not measured: %s", failure)
                return None
            self._task = None
            self._known = mean, error
            try:
                write_yaml(self._path, {"score": mean, "standard_error": error, "of": self._of})
            except OSError as failure:
                logger.warning("the random policy is measured again next time: %s", failure)
        return self._known


def read_score(path: Path, of: str) -> tuple[float, float | None] | None:
    """Score and standard error as measured before, unless the evaluation is another by now, or the file damaged."""
    try:
        known = yaml.safe_load(path.read_text(encoding="utf-8"))
        return (float(known["score"]), known["standard_error"]) if known.get("of", of) == of else None
    except FileNotFoundError:
        return None
    except (yaml.YAMLError, LookupError, TypeError, ValueError, AttributeError) as failure:
        logger.warning("%s is damaged, the random policy is measured again: %s", path, failure)
        return None


def evaluation_hash(config: Mapping[str, Any]) -> str:
    """Equal for equal evaluations of a policy that knows nothing."""
    played = {key: config.get(key) for key in ("env", "sim", "metric")}
    return run_mark("", "", {**played, "curriculum": (config.get("trainer") or {}).get("curriculum")})["hash"]


def measure(config: dict[str, Any]) -> tuple[float, float | None]:
    """Runs on a worker: torch and the simulator are imported there, not in the driver."""
    from trainables.simulation.random_policy import random_policy_score

    return random_policy_score(config)
