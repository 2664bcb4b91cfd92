"""From episodes to metrics: means over episodes, simulations weighted equally, with standard errors over episodes.

Names: `reward` (the score over the whole suite), `{suite}/{simulation}/reward`, every counter of the environment under
its own name and per simulation, `episode_length`, `shaped_return`, and those of custom metrics: a function that returns
a number has its own name, one that returns a mapping the names in that.
"""

from __future__ import annotations

import importlib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field

import numpy as np

from trainables.errors import CodeFailure
from trainables.fields import nearest
from trainables.simulation.config import Suite

CustomMetric = Callable[[Sequence["PlayedEpisode"]], "float | Mapping[str, float]"]


@dataclass(frozen=True, slots=True)
class PlayedEpisode:
    """One row of an evaluation; `index` names the held-out episode within its simulation, else as `Episode`."""

    simulation: str
    index: int
    task: str
    num_steps: int
    score: float
    shaped_return: float
    stats: Mapping[str, float] = field(default_factory=dict)

    def values(self) -> dict[str, float]:
        """Everything measured, by metric name."""
        own = {"reward": self.score, "shaped_return": self.shaped_return, "episode_length": float(self.num_steps)}
        return {**own, **self.stats}


def to_json(episodes: Sequence[PlayedEpisode]) -> bytes:
    """Episodes on their way to another rank."""
    return json.dumps([asdict(episode) for episode in episodes], default=float).encode()


def from_json(content: bytes) -> list[PlayedEpisode]:
    return [PlayedEpisode(**row) for row in json.loads(content)]


def metric_names(suite: Suite) -> tuple[str, ...]:
    """Every name that `metrics` of this suite always holds, but for those that custom metrics add."""
    base = ("reward", "shaped_return", "episode_length")
    names = list(base) + sorted({name for sim in suite.simulations for name in sim.family.stat_names()})
    for sim in suite.simulations:
        names += [f"{suite.name}/{sim.name}/{name}" for name in (*base, *sim.family.stat_names())]
    return tuple(names)


def custom_names(suite: Suite) -> tuple[str, ...] | None:
    """Names that custom metrics add; None when that cannot be told yet.

    Only a call tells: each function gets two made-up episodes of every simulation.
    """
    made_up = [
        PlayedEpisode(sim.name, index, sim.name, 10, 1.0 + index, 1.0, dict.fromkeys(sim.family.stat_names(), 1.0))
        for sim in suite.simulations
        for index in range(2)
    ]
    names: list[str] = []
    for custom in suite.metrics:
        try:
            names += _call(custom, made_up)
        except (Exception, SystemExit):  # noqa: BLE001  # it may do well with real episodes, and is asked again then
            return None
    return tuple(names)


def metrics(suite: Suite, episodes: Sequence[PlayedEpisode]) -> dict[str, float]:
    """All metrics of an evaluation; a counter that no agent ever moved is 0.

    Raises:
        CodeFailure: a custom metric is not there, or returns something else than numbers of its own.
    """
    per_simulation = {
        sim.name: _means(sim.family.stat_names(), [e for e in episodes if e.simulation == sim.name])
        for sim in suite.simulations
    }
    answer: dict[str, float] = {}
    for name in sorted({name for values in per_simulation.values() for name in values}):
        answer[name] = float(np.mean([values.get(name, 0.0) for values in per_simulation.values()]))
    for sim_name, values in per_simulation.items():
        answer |= {f"{suite.name}/{sim_name}/{name}": value for name, value in values.items()}
    for custom in suite.metrics:
        found = _call(custom, episodes)
        if taken := sorted(found.keys() & answer.keys()):
            problem = f"{custom} returns {', '.join(taken)}, which is reported already; use another name"
            raise CodeFailure(f"sim.metrics: {problem}")
        answer |= found
    return answer


def score_of(metric: str, found: Mapping[str, float]) -> float:
    """The sweep's metric among all that was measured.

    Raises:
        CodeFailure: nobody reported it.
    """
    if metric not in found:
        raise CodeFailure(f"metric: {metric!r} was not reported{nearest(metric, found)}", f"no metric {metric}")
    return found[metric]


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


def _call(path: str, episodes: Sequence[PlayedEpisode]) -> dict[str, float]:
    """What a custom metric says, by name."""
    module, _, function = path.partition(":")
    try:
        metric: CustomMetric = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError) as error:
        raise CodeFailure(f"sim.metrics: {path} cannot be imported: {error}") from error
    answer = metric(episodes)
    values = answer if isinstance(answer, Mapping) else {function: answer}
    try:
        return {str(name): float(value) for name, value in values.items()}
    except (TypeError, ValueError) as error:
        problem = f"need a number, or a mapping of names to numbers, got {answer!r:.200}"
        raise CodeFailure(f"sim.metrics: {path}: {problem}") from error
