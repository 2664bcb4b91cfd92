"""Names and formats of the files in a run's directory."""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import yaml

from trainables.disk import write_whole

LOG_TAIL_BYTES = 8192  # what the registry keeps of the log of a failed run


@dataclass(frozen=True, slots=True)
class RunFiles:
    """Where the parts of one run live under its directory.

    Attributes:
        OF_DRIVER: names that whoever proposed the run writes, and the mirror; everything else is the trainable's.
    """

    OF_DRIVER: ClassVar[tuple[str, ...]] = (
        "protein_suggestion.yaml",
        "protein_state.yaml",
        "train_config_overrides.yaml",
        "wandb",
    )

    directory: Path

    @property
    def configuration(self) -> Path:
        """What the run gets, as its driver noted it."""
        return self.directory / "train_config_overrides.yaml"

    @property
    def checkpoints(self) -> Path:
        return self.directory / "checkpoints"

    @property
    def metrics(self) -> Path:
        return self.directory / "metrics.jsonl"

    @property
    def stats_db(self) -> Path:
        return self.directory / "eval" / "stats.db"

    @property
    def eval_config(self) -> Path:
        return self.directory / "sweep_eval_config.yaml"

    @property
    def eval_results(self) -> Path:
        return self.directory / "sweep_eval_results.yaml"

    def dist(self, attempt: int) -> Path:
        """Who ran where, per attempt."""
        return self.directory / f"dist_{attempt}.yaml"

    def log(self, rank: int = 0) -> Path:
        """Log of a rank; what a person reads first is that of rank 0."""
        return self.directory / ("train.log" if rank == 0 else f"train.rank{rank}.log")

    def log_tail(self, rank: int = 0) -> str:
        """The last lines of a rank's log, at most 8 kB; "" when there is none."""
        path = self.log(rank)
        if not path.exists():
            return ""
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - LOG_TAIL_BYTES))
            return file.read().decode(errors="replace")


def write_yaml(path: Path, content: Mapping[str, Any]) -> None:
    """Whole or not at all."""
    write_whole(path, yaml.safe_dump(dict(content), sort_keys=False))


def append_json_line(path: Path, content: Mapping[str, Any]) -> None:
    with path.open("a") as file:
        file.write(json.dumps(dict(content)) + "\n")


@contextmanager
def output_to(path: Path) -> Iterator[None]:
    """Sends everything that this process prints or logs to the end of a file, whoever writes it: Python, C++ or a
    child.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    sys.stdout.flush()
    sys.stderr.flush()
    saved = os.dup(1), os.dup(2)
    target = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    handler = logging.FileHandler(path)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    root = logging.getLogger()
    level = root.level
    try:
        os.dup2(target, 1)
        os.dup2(target, 2)
        root.addHandler(handler)
        root.setLevel(logging.INFO)
        yield
    finally:
        root.removeHandler(handler)
        handler.close()
        root.setLevel(level)
        sys.stdout.flush()
        sys.stderr.flush()
        os.dup2(saved[0], 1)
        os.dup2(saved[1], 2)
        for descriptor in (*saved, target):
            os.close(descriptor)
