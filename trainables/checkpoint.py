"""Checkpoints of a run: written whole or not at all, the newest few kept, readable without running code from the
file.
"""

from __future__ import annotations

import io
import logging
import pickle
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from trainables import faults
from trainables.disk import replacing
from trainables.result import Costs, Point

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """State of training between two updates.

    Generators are not in it: their streams are named by step (`trainables.seeding`).

    Attributes:
        env_steps: agent steps trained, over all ranks and attempts.
        updates: updates done.
        policy: parameters by name.
        optimizer: state of the optimiser.
        curriculum: state of the curriculum.
        costs: what the work up to here cost, over all ranks.
        curve: learning-curve points so far.
        belongs_to: hash of the run that wrote it (`trainables.ownership`); "" in those of the version before.
    """

    env_steps: int
    updates: int
    policy: Mapping[str, torch.Tensor]
    optimizer: Mapping[str, Any]
    curriculum: Mapping[str, Any]
    costs: Costs
    curve: tuple[Point, ...]
    belongs_to: str = ""


def save(directory: Path, checkpoint: Checkpoint, keep: int) -> Path:
    """Durably: a temporary file is written, synced and renamed. Older checkpoints beyond `keep` are removed."""
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / f"step_{checkpoint.env_steps:015d}.pt"
    content = {
        "env_steps": checkpoint.env_steps,
        "updates": checkpoint.updates,
        "policy": dict(checkpoint.policy),
        "optimizer": checkpoint.optimizer,
        "curriculum": dict(checkpoint.curriculum),
        "costs": asdict(checkpoint.costs),
        "curve": [asdict(point) for point in checkpoint.curve],
        "belongs_to": checkpoint.belongs_to,
    }
    # Through memory: torch turns a full disk into an error that no longer says so.
    buffer = io.BytesIO()
    torch.save(content, buffer)
    with replacing(path) as file:
        faults.point("run.checkpoint")
        file.write(buffer.getbuffer())
    faults.point("run.checkpointed")
    for old in list_checkpoints(directory)[keep:]:
        old.unlink(missing_ok=True)
    return path


def load(path: Path) -> Checkpoint:
    """Reads tensors and plain data only; code in a file is never run."""
    content = torch.load(path, map_location="cpu", weights_only=True)
    costs = Costs.from_dict(content.pop("costs"))
    curve = tuple(Point.from_dict(point) for point in content.pop("curve"))
    return Checkpoint(**content, costs=costs, curve=curve)


def load_newest(directory: Path, belongs_to: str = "") -> Checkpoint | None:
    """The newest checkpoint that can be read, or None; broken files and those of another run are passed over with a
    warning.

    Args:
        directory: where checkpoints are.
        belongs_to: hash of the run that wants to go on; "" takes any. A checkpoint without one is taken: its directory
            says whose it is.
    """
    for path in list_checkpoints(directory):
        try:
            found = load(path)
        except (RuntimeError, EOFError, KeyError, TypeError, pickle.UnpicklingError) as error:
            logger.warning("checkpoint %s cannot be read (%s); trying the one before", path, error)
            continue
        if not belongs_to or found.belongs_to in ("", belongs_to):
            return found
        logger.warning("checkpoint %s is of another run or configuration; trying the one before", path)
    return None


def list_checkpoints(directory: Path) -> list[Path]:
    """Newest first."""
    return sorted(directory.glob("step_*.pt"), reverse=True)
