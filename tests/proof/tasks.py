"""What the proof trains on: a sweep file of ours each, and what its winner is trained again with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Task:
    """One task.

    Attributes:
        sweep: file in `configs/sweep`.
        phases: runs, shortest and longest training of each phase, agent steps.
        suite: what the winner is played on, in Hydra's words.
    """

    sweep: str
    phases: Mapping[str, tuple[int, int, int]]
    suite: str = "sim=auto"

    @property
    def num_runs(self) -> int:
        return sum(count for count, _, _ in self.phases.values())

    @property
    def num_steps(self) -> int:
        """The longest training, which is what everybody's winner is trained again with."""
        return max(longest for _, _, longest in self.phases.values())

    def words(self, name: str, seed: int) -> list[str]:
        """The sweep as it stands in its file."""
        return [f"sweep_name={name}", f"sweep={self.sweep}", f"seed={seed}"]

    def words_of_full_runs(self, name: str, seed: int) -> list[str]:
        """The same parameters without phases: each run as long as the longest, without points on the way."""
        longest = [f"trainer.total_timesteps={self.num_steps}", "trainer.simulation.curve_points=0"]
        return [*self.words(name, seed), "sweep.num_samples=null", "~sweep.schedule", *longest]


TASKS = {
    "basic": Task(
        "arena_phases",
        {"cheap": (12, 163840, 196608), "medium": (12, 196608, 229376), "expensive": (16, 229376, 262144)},
        "sim=arena_basic",
    ),
    "combat": Task(
        "arena_combat",
        {"cheap": (8, 65536, 131072), "medium": (8, 131072, 196608), "expensive": (8, 196608, 262144)},
    ),
    "pendulum": Task(
        "pendulum", {"cheap": (8, 32768, 65536), "medium": (8, 65536, 98304), "expensive": (8, 98304, 131072)}
    ),
}
