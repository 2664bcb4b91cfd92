"""Hydra composition into a frozen, validated `SweepJob`; below it nobody sees a `DictConfig` or the environment."""

from metta_sweep.config.job import SweepJob, TrainJob, TrainTemplate
from metta_sweep.config.load import load_sweep_job, validate_file
from metta_sweep.config.runs import load_train_job, resolve_run

__all__ = ["SweepJob", "TrainJob", "TrainTemplate", "load_sweep_job", "load_train_job", "resolve_run", "validate_file"]
