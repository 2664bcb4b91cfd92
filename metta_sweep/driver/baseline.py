"""What a random policy scores on the sweep's suite, measured once beside the first runs."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ray
import yaml

from metta_sweep.driver.run_files import write_yaml
from trainables.kinds import kind_of
from trainables.ownership import run_mark

logger = logging.getLogger(__name__)

WAIT_SECONDS = 30.0


class RandomBaseline:
    """Starts the measurement as a Ray task of its own, so that it takes no slot from a run.

    Args:
        directory: of the sweep; keeps the answer for whoever continues it.
        config: resolved configuration of any run. Programs that are not ours (`trainable` command or function) have no
            random policy.
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
    """Score and standard error that were measured before, unless the evaluation is another by now, or the file is
    damaged.
    """
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
