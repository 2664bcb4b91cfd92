"""What a run's driver and its ranks tell each other. Needs neither torch nor Ray: the driver's process stays small."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from trainables.disk import PRIVATE
from trainables.ownership import claim_run, run_mark
from trainables.result import Costs, Point
from trainables.run_files import RunFiles
from trainables.simulation.aggregate import PlayedEpisode
from trainables.spec import RunSpec


@dataclass(frozen=True, slots=True)
class RankPlace:
    """Where a rank lives; `node` is Ray's id of it, for several may be on one host."""

    node: str
    host: str
    address: str
    pid: int
    gpus: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RankAssignment:
    """Place of a rank in its group: `local_rank` counts the ranks of one node."""

    rank: int
    local_rank: int
    world_size: int
    gpus_per_worker: float
    device: str


@dataclass(frozen=True, slots=True)
class Rendezvous:
    """Where ranks find each other, and how long they wait for one another."""

    address: str
    port: int
    timeout_seconds: float


@dataclass(frozen=True, slots=True)
class RunRequest:
    """One attempt at a run, on its way from the driver to the ranks.

    Attributes:
        spec: what to run, checked; nobody reads its configuration again.
        directory: of the run, absolute.
        attempt: from 1.
        umask: of the processes that write the run's files.
        sweep_id: id of its sweep; "" for a run of its own.
        rendezvous: address and free port where the ranks of a command may find each other; None for one rank.
    """

    spec: RunSpec
    directory: Path
    attempt: int = 1
    umask: int = PRIVATE
    sweep_id: str = ""
    rendezvous: tuple[str, int] | None = None

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> RunRequest:
        """From a trial's config: `{"id", "attempt", "directory", "spec", "umask", "sweep_id"}`."""
        return cls(
            spec=config["spec"],
            directory=Path(config["directory"]),
            attempt=int(config["attempt"]),
            umask=int(config.get("umask", PRIVATE)),
            sweep_id=str(config.get("sweep_id", "")),
        )

    @property
    def files(self) -> RunFiles:
        return RunFiles(self.directory)

    @property
    def mark(self) -> dict[str, str]:
        """Whose the directory and its checkpoints are."""
        return run_mark(self.sweep_id, self.spec.run, self.spec.mapping)

    def claim_directory(self) -> Path | None:
        """Move aside what is not of this run; returns where to, or None when there was nothing."""
        return claim_run(self.directory, self.mark, self.spec.mapping)


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
class EvaluatedShare:
    """What a rank says after its share of the evaluation."""

    episodes: tuple[PlayedEpisode, ...]
    costs: Costs
