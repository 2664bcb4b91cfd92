"""From episodes to metrics: means over episodes, simulations weighted equally, with standard errors over episodes.

Names: `reward` (the score over the whole suite), `{suite}/{simulation}/reward`, every counter of the environment under its own name
and per simulation, `episode_length`, `shaped_return`, and one per custom metric, under the function's name.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from trainables.errors import CodeFailure
from trainables.simulation.config import Suite

CustomMetric = Callable[[Sequence["PlayedEpisode"]], float]


@dataclass(frozen=True, slots=True)
class PlayedEpisode:
    """One row of an evaluation; `index` names the held-out episode within its simulation, the rest is as in `Episode`."""

    simulation: str
    index: int
    task: str
    num_steps: int
    score: float
    shaped_return: float
    stats: Mapping[str, float] = field(default_factory=dict)

    def values(self) -> dict[str, float]:
        """Everything measured, by metric name."""
        return {"reward": self.score, "shaped_return": self.shaped_return, "episode_length": float(self.num_steps), **self.stats}


def metric_names(suite: Suite) -> tuple[str, ...]:
    """Every name that `metrics` of this suite always holds."""
    base = ("reward", "shaped_return", "episode_length")
    names = list(base) + sorted({name for sim in suite.simulations for name in sim.family.stat_names()})
    for sim in suite.simulations:
        names += [f"{suite.name}/{sim.name}/{name}" for name in (*base, *sim.family.stat_names())]
    return tuple([*names, *(custom.partition(":")[2] for custom in suite.metrics)])


def metrics(suite: Suite, episodes: Sequence[PlayedEpisode]) -> dict[str, float]:
    """All metrics of an evaluation; a counter that no agent ever moved is 0.

    Raises:
        CodeFailure: a custom metric raised, or is not there.
    """
    per_simulation = {sim.name: _means(sim.family.stat_names(), [e for e in episodes if e.simulation == sim.name]) for sim in suite.simulations}
    answer: dict[str, float] = {}
    for name in sorted({name for values in per_simulation.values() for name in values}):
        answer[name] = float(np.mean([values.get(name, 0.0) for values in per_simulation.values()]))
    for sim_name, values in per_simulation.items():
        answer |= {f"{suite.name}/{sim_name}/{name}": value for name, value in values.items()}
    for custom in suite.metrics:
        answer[custom.partition(":")[2]] = _call(custom, episodes)
    return answer


def _means(always: Sequence[str], episodes: Sequence[PlayedEpisode]) -> dict[str, float]:
    values = [episode.values() for episode in episodes]
    names = {name for row in values for name in row} | set(always)
    return {name: float(np.mean([row.get(name, 0.0) for row in values])) for name in sorted(names)}


def standard_error(suite: Suite, episodes: Sequence[PlayedEpisode], metric: str) -> float | None:
    """Standard error of a metric over independent episodes; None for one episode, and for custom metrics."""
    simulations = [sim.name for sim in suite.simulations]
    parts = metric.split("/", 2)
    if len(parts) == 3 and parts[0] == suite.name and parts[1] in simulations:
        simulations, metric = [parts[1]], parts[2]
    variance = 0.0
    for name in simulations:
        values = [row.get(metric, 0.0) for e in episodes if e.simulation == name and (row := e.values())]
        if len(values) < 2 or not any(metric in e.values() for e in episodes):
            return None
        variance += float(np.var(values, ddof=1)) / len(values)
    return math.sqrt(variance) / len(simulations)


def _call(path: str, episodes: Sequence[PlayedEpisode]) -> float:
    module, _, function = path.partition(":")
    try:
        metric: CustomMetric = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError) as error:
        raise CodeFailure(f"sim.metrics: {path} cannot be imported: {error}") from error
    return float(metric(episodes))
