"""One run without a sweep: `train` and `evaluate`."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping

from metta_sweep.config import TrainJob
from metta_sweep.driver.cluster import connected
from metta_sweep.driver.run_files import write_run_config
from metta_sweep.driver.slots import count_slots
from metta_sweep.driver.sweep import TUNE_ENVIRONMENT
from metta_sweep.errors import ConfigError
from trainables.disk import allot
from trainables.errors import SpecError
from trainables.result import Progress, RunResult


def train_one(job: TrainJob, environ: Mapping[str, str], on_progress: Callable[[Progress], None]) -> RunResult:
    """Train and evaluate; goes on from a checkpoint in the run's directory.

    Raises:
        ConfigError: no node can hold the run, or its configuration is wrong.
        ClusterError: Ray cannot be reached.
    """
    os.environ.update({key: value for key, value in TUNE_ENVIRONMENT.items() if key not in environ})
    with connected(environ, job.machine) as cluster:
        count_slots(job.resources, cluster.nodes.usable())
        from trainables.launch import run_once

        job.directory.mkdir(parents=True, exist_ok=True)
        allot(job.directory, job.umask)
        write_run_config(job.directory, job.config)
        try:
            return run_once(job.config, job.directory, on_progress, umask=job.umask)
        except SpecError as error:
            raise ConfigError(*error.problems) from error


def evaluate_one(job: TrainJob, environ: Mapping[str, str]) -> RunResult:
    """Evaluate the newest checkpoint of a run on the suite of the configuration.

    Raises:
        ConfigError: there is no checkpoint, or the configuration is wrong.
        ClusterError: Ray cannot be reached.
    """
    os.environ.update({key: value for key, value in TUNE_ENVIRONMENT.items() if key not in environ})
    with connected(environ, job.machine) as cluster:
        count_slots(job.resources, cluster.nodes.usable())
        from trainables.launch import evaluate_once

        try:
            return evaluate_once(job.config, job.directory, job.umask)
        except SpecError as error:
            raise ConfigError(*error.problems) from error
