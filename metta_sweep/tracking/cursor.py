"""What of a run is safely in WandB: one small file in the run's `wandb` folder, replaced as a whole."""

from __future__ import annotations

import json
import logging
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from metta_sweep.tracking.history import Position
from trainables.disk import write_whole

logger = logging.getLogger(__name__)

FILE_NAME = "mirror.json"


@dataclass(frozen=True, slots=True)
class Cursor:
    """State of one run at one destination, as of the last time WandB confirmed it.

    Attributes:
        position: history that is confirmed.
        sequence: sequence number of the observation that is confirmed; 0 before the run ended.
        directories: confirmed offline folders, by name; any other one is the torn copy of a mirror that was killed.
    """

    position: Position = field(default_factory=Position)
    sequence: int = 0
    directories: tuple[str, ...] = ()


class CursorFile:
    """Cursors of one run, one per destination ("offline", or server, entity and project)."""

    def __init__(self, wandb_directory: Path) -> None:
        self.path = wandb_directory / FILE_NAME

    def load(self, destination: str) -> Cursor:
        """The cursor; nothing is confirmed by one that is missing or damaged: what is sent twice does no harm."""
        data = self._read().get(destination)
        if data is None:
            return Cursor()
        try:
            return Cursor(Position(**data["position"]), int(data["sequence"]), tuple(data["directories"]))
        except (LookupError, TypeError, ValueError):
            logger.warning("%s: is damaged; everything of this run is sent again", self.path)
            return Cursor()

    def save(self, destination: str, cursor: Cursor) -> None:
        """Durable when it returns."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(self.path, json.dumps({**self._read(), destination: asdict(cursor)}))

    def _read(self) -> dict[str, Any]:
        try:
            data = json.loads(self.path.read_text())
        except FileNotFoundError:
            return {}
        except ValueError:
            data = None
        if not isinstance(data, dict):
            logger.warning("%s: is damaged; everything of this run is sent again", self.path)
            return {}
        return data
