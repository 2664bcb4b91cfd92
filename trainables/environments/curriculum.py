"""Which task the next training episode plays: always the same, by fixed weights, or where the policy is learning
most.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any

import numpy as np

from trainables.environments.catalog import Family, MettaGridFamily, resolve
from trainables.environments.mettagrid_tasks import Task, with_observation_of
from trainables.errors import Problem
from trainables.fields import Table, build, convert, number, one_of
from trainables.seeding import Purpose, stream

FAST, SLOW = 0.3, 0.03  # weights of a new mean in the two moving averages
FLOOR = 0.2  # share of episodes that go to all tasks by their weights, however little they teach


@dataclass(frozen=True, slots=True)
class CurriculumConfig:
    """The mapping form of `trainer.curriculum`.

    Attributes:
        tasks: weight of each task by its path.
        sampling: weighted, or learning_progress.
    """

    tasks: Table = field(default_factory=dict)
    sampling: Annotated[str, one_of("weighted", "learning_progress")] = "weighted"


@dataclass(frozen=True, slots=True)
class Curriculum:
    """A checked curriculum.

    Attributes:
        family: the environments, with one task per path.
        paths: of the tasks, as configured.
        weights: of the tasks, > 0, sum 1.
        sampling: see `CurriculumConfig`.
    """

    family: Family
    paths: tuple[str, ...]
    weights: tuple[float, ...]
    sampling: str


def resolve_curriculum(
    value: str | Mapping[str, Any], options: Mapping[str, Any], problems: list[Problem]
) -> Curriculum | None:
    """What `trainer.curriculum` asks for, with the `env` section as options of every task; None when there are
    problems.
    """
    key = "trainer.curriculum"
    if isinstance(value, str):
        family = resolve(value, options, key, "env", problems)
        return None if family is None else Curriculum(family, (value,), (1.0,), "weighted")
    config = build(CurriculumConfig, value, key, problems)
    if not config.tasks:
        problems.append(Problem(f"{key}.tasks", "missing; give weights by path, such as /env/mettagrid/arena/basic: 1"))
    weights = {str(path): convert(weight, number)[0] or 0.0 for path, weight in config.tasks.items()}
    for path, weight in config.tasks.items():
        if weights[str(path)] <= 0:
            problems.append(Problem(f"{key}.tasks.{path}", f"need a weight above 0, got {weight!r}"))
    families = [resolve(path, options, f"{key}.tasks", "env", problems) for path in weights]
    found = [family for family in families if family is not None]
    if problems or len(found) != len(weights):
        return None
    merged = _merge(found, problems)
    total = sum(weights.values())
    if merged is None:
        return None
    return Curriculum(merged, tuple(weights), tuple(weight / total for weight in weights.values()), config.sampling)


def _merge(families: Sequence[Family], problems: list[Problem]) -> Family | None:
    """One family that plays all tasks, seen through the window of the first."""
    if len(families) == 1:
        return families[0]
    tasks: list[tuple[str, Task]] = []
    for family in families:
        if not isinstance(family, MettaGridFamily):
            problems.append(
                Problem(
                    "trainer.curriculum.tasks",
                    "several tasks need to be MettaGrid tasks; use /env/mettagrid/... only, or a single one",
                )
            )
            return None
        tasks += family.tasks
    agents = {name: task.num_agents for name, task in tasks}
    if len(set(agents.values())) > 1:
        problems.append(
            Problem(
                "trainer.curriculum.tasks", f"numbers of agents differ ({agents}); set env.num_agents for all of them"
            )
        )
        return None
    return MettaGridFamily(tuple((name, with_observation_of(task, tasks[0][1])) for name, task in tasks))


class TaskSampler:
    """Picks tasks for episodes, and learns from how they went.

    All ranks see the same numbers and so agree on the probabilities.

    With `learning_progress` a task's probability grows with how fast its score changes, in either direction: the
    distance of a fast and a slow moving average, relative to the largest score seen. Source: Kanitscheider et al. 2021,
    arXiv:2106.14876, section 3.

    Args:
        weights: by task, sum 1.
        sampling: see `CurriculumConfig`.
        words: names of the random stream: seed, and where training (re)started.

    Attributes:
        adapts: whether the probabilities change with what it learns.
    """

    def __init__(self, weights: Sequence[float], sampling: str, words: tuple[int, ...]) -> None:
        self._weights = np.asarray(weights, dtype=np.float64)
        self.adapts = sampling == "learning_progress" and len(weights) > 1
        self._words = words
        self._fast = np.full(len(weights), np.nan)
        self._slow = np.full(len(weights), np.nan)
        self._largest = np.zeros(len(weights))

    def pick(self, env: int, episode: int) -> int:
        """Task of an episode; `env` is the global index of the environment."""
        if len(self._weights) == 1:
            return 0
        rng = np.random.default_rng(stream(Purpose.CURRICULUM, *self._words, env, episode))
        return int(rng.choice(len(self._weights), p=self.probabilities()))

    def probabilities(self) -> np.ndarray:
        """(tasks,) now; tasks that were never played count as learning as fast as the fastest."""
        if not self.adapts or np.isnan(self._fast).all():
            return self._weights
        progress = np.abs(self._fast - self._slow) / np.maximum(self._largest, 1e-6)
        progress = np.where(np.isnan(progress), np.nanmax(progress), progress) * self._weights
        if progress.sum() < 1e-9:
            return self._weights
        mixed: np.ndarray = FLOOR * self._weights + (1.0 - FLOOR) * progress / progress.sum()
        return mixed

    def learn(self, score_sums: Sequence[float], counts: Sequence[float]) -> None:
        """Takes the scores of episodes that ended in one update, added up over all ranks, by task."""
        totals, numbers = np.asarray(score_sums, dtype=np.float64), np.asarray(counts, dtype=np.float64)
        means = np.divide(totals, numbers, out=np.full_like(totals, np.nan), where=numbers > 0)
        for average, rate in ((self._fast, FAST), (self._slow, SLOW)):
            moved = np.where(np.isnan(average), means, average + rate * (means - average))
            average[:] = np.where(np.isnan(means), average, moved)
        self._largest = np.fmax(self._largest, np.abs(means))

    def state(self) -> dict[str, list[float]]:
        """For a checkpoint."""
        return {"fast": self._fast.tolist(), "slow": self._slow.tolist(), "largest": self._largest.tolist()}

    def load(self, state: Mapping[str, Sequence[float]]) -> None:
        """From a checkpoint; ignored when the tasks are others."""
        if len(state.get("fast", ())) == len(self._weights):
            self._fast, self._slow, self._largest = (
                np.asarray(state[name], dtype=np.float64) for name in ("fast", "slow", "largest")
            )
