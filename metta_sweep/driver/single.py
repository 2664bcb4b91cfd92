"""One run without a sweep: `train` and `evaluate`."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping

from metta_sweep.capacity import count_slots
from metta_sweep.config import TrainJob
from metta_sweep.config import tree as trees
from metta_sweep.config.files import read_yaml
from metta_sweep.driver.cluster import connected
from metta_sweep.driver.ray_watch import end_process, watched
from metta_sweep.driver.run_files import RUN_CONFIG, write_run_config
from metta_sweep.driver.sweep import TUNE_ENVIRONMENT
from metta_sweep.errors import ConfigError
from trainables.disk import allot
from trainables.errors import SpecError
from trainables.ownership import claim_run, moved_text, run_mark
from trainables.result import Progress, RunResult


def train_one(
    job: TrainJob,
    environ: Mapping[str, str],
    on_progress: Callable[[Progress], None],
    say: Callable[[str], None],
) -> RunResult:
    """Train and evaluate; goes on from a checkpoint in the run's directory when that is of the same configuration.

    Args:
        job: the run.
        environ: environment variables.
        on_progress: called about five times a second with news.
        say: tells the person at the terminal.

    Raises:
        ConfigError: no node can hold the run, or its configuration is wrong.
        ClusterError: Ray cannot be reached.
    """
    os.environ.update({key: value for key, value in TUNE_ENVIRONMENT.items() if key not in environ})
    with connected(environ, job.machine) as cluster:
        count_slots(job.resources, cluster.nodes.usable())
        from trainables.launch import run_once

        aside = claim_run(job.directory, run_mark("", job.run, job.config), job.config)
        if aside is not None:
            why = f"another run was called {job.run} before, or it had another configuration"
            say(moved_text(job.directory, aside, why))
        allot(job.directory, job.umask)
        write_run_config(job.directory, job.config)
        try:
            with watched(cluster.own, give_up):
                return run_once(job.config, job.directory, on_progress, umask=job.umask)
        except SpecError as error:
            raise ConfigError(*error.problems) from error


def evaluate_one(job: TrainJob, environ: Mapping[str, str]) -> RunResult:
    """Evaluate the newest checkpoint of a run on the suite of the configuration.

    Raises:
        ConfigError: there is no checkpoint, or the configuration is wrong.
        ClusterError: Ray cannot be reached.
    """
    check_same_policy(job)
    os.environ.update({key: value for key, value in TUNE_ENVIRONMENT.items() if key not in environ})
    with connected(environ, job.machine) as cluster:
        count_slots(job.resources, cluster.nodes.usable())
        from trainables.launch import evaluate_once

        try:
            with watched(cluster.own, give_up):
                return evaluate_once(job.config, job.directory, job.umask)
        except SpecError as error:
            raise ConfigError(*error.problems) from error


def give_up(reason: str) -> None:
    """The private Ray died under a run; its checkpoints are on disk."""
    end_process(reason, lambda text: sys.stderr.write(f"{text}\n"), may_restart=False)


def check_same_policy(job: TrainJob) -> None:
    """Whether the configuration is of the task and the network that the run was trained with.

    Raises:
        ConfigError: it is of others, so that no checkpoint of the run could be read.
    """
    path = job.directory / RUN_CONFIG
    trained = read_yaml(path) if path.is_file() else {}
    problems = []
    for key in ("trainer.curriculum", "model"):
        was, now = (trees.get(tree, trees.split(key)) for tree in (trained, job.config))
        if was is not None and was != now:
            problems.append(
                f"{key}: run {job.run} was trained with {was!r}, not {now!r}; give `evaluate` the words that `train` "
                "was given"
            )
    if problems:
        raise ConfigError(*problems)
