"""What a run's driver and its ranks tell each other. Needs neither torch nor Ray: the driver's process stays small."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from trainables.disk import PRIVATE
from trainables.ownership import run_mark
from trainables.result import Costs, Point
from trainables.run_files import RunFiles
from trainables.simulation.aggregate import PlayedEpisode


@dataclass(frozen=True, slots=True)
class Place:
    """Where a rank lives; `node` is Ray's id of it, for several may be on one host."""

    node: str
    host: str
    address: str
    pid: int
    gpus: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Task:
    """One run, as a rank gets it.

    Attributes:
        mapping: the run's configuration; it was checked by the driver, leniently.
        directory: of the run.
        attempt: from 1.
        meeting: address and free port where the ranks of a command may find each other; None for one rank.
        umask: of the processes that write the run's files.
        sweep_id: id of its sweep; "" for a run of its own.
    """

    mapping: Mapping[str, Any]
    directory: str
    attempt: int
    meeting: tuple[str, int] | None = None
    umask: int = PRIVATE
    sweep_id: str = ""

    @property
    def run(self) -> str:
        """Id of the run."""
        return str(self.mapping["run"])

    @property
    def files(self) -> RunFiles:
        return RunFiles(Path(self.directory))

    @property
    def mark(self) -> dict[str, str]:
        """Whose the directory and its checkpoints are."""
        return run_mark(self.sweep_id, self.run, self.mapping)


@dataclass(frozen=True, slots=True)
class Trained:
    """What a rank says after training.

    Attributes:
        complete: False when it was asked to stop before the end.
        env_steps: over all ranks.
        costs: of this rank in this attempt.
        base_costs: over all ranks, of earlier attempts, as far as their work survived.
        curve: points of the learning curve.
        reported: what a command or function reported last, by name.
    """

    complete: bool
    env_steps: int
    costs: Costs
    base_costs: Costs
    curve: tuple[Point, ...]
    reported: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Evaluated:
    """What a rank says after its share of the evaluation."""

    episodes: tuple[PlayedEpisode, ...]
    costs: Costs
