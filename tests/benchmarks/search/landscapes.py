"""Recorded RL landscapes of ARLBench: 256 configurations x 10 seeds x 10 evaluations of real DQN, SAC and PPO training.

The files are not part of the project: `METTA_SWEEP_ARLBENCH` names the folder that holds `NAME.npz` and
`runtime_spread.json`. A forest over configurations predicts the mean over seeds; a run adds to it the residual curve of
one recorded seed of the nearest recorded configuration, and fails at 30 % of its cost where that seed had failed. The
learning rates were constant, so that a shorter run is the beginning of a longer one, and its length is searched too.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from searchers import CurvePoint, Params, Space
from searchers.distributions import Array
from tests.benchmarks.search.forest import Forest
from tests.benchmarks.search.tasks import Run, Task

FOLDER_VARIABLE = "METTA_SWEEP_ARLBENCH"
LANDSCAPES = (
    "atari_double_dunk_dqn",
    "atari_qbert_dqn",
    "box2d_bipedal_walker_sac",
    "box2d_lunar_lander_dqn",
    "brax_hopper_sac",
    "cc_acrobot_dqn",
    "cc_cartpole_ppo",
    "cc_pendulum_sac",
    "minigrid_unlock_ppo",
)
LENGTH = "train.steps"
FULL_STEPS = 1_000_000  # the recorded lengths differ; only shares of them matter
EVALUATIONS = 10
MARKS = FULL_STEPS * np.arange(1, EVALUATIONS + 1) / EVALUATIONS
FULL_SECONDS = 1000.0
OVERHEAD_SECONDS = 20.0
FAILS_AT = 0.3
MEDIAN_RUNS_IN_BUDGET = 70
BATCH_SHARE = 0.8  # of the order of costs; the rest is the machine's
LOG_RANGE = 30.0  # a logarithmic axis spans this at least
BATCHES = ("buffer_batch_size", "minibatch_size")


@dataclass(frozen=True)
class Axis:
    """One recorded hyperparameter.

    Attributes:
        low, high: the smallest and the largest recorded value.
        is_log: values were drawn evenly by their logarithm.
        is_whole: values are whole numbers.
        is_choice: values are 0 and 1.
        switch: the 0 or 1 parameter without which this one does nothing.
    """

    name: str
    low: float
    high: float
    is_log: bool
    is_whole: bool
    is_choice: bool
    switch: str | None

    @classmethod
    def of(cls, name: str, values: Array, switches: dict[str, Array]) -> Axis:
        found = np.isfinite(values)
        low, high, middle = (float(np.quantile(values[found], share)) for share in (0.0, 1.0, 0.5))
        is_skewed = low > 0 and high / low >= LOG_RANGE and abs(middle - (low + high) / 2) > (high - low) / 4
        switch = next((other for other, on in switches.items() if np.array_equal(on == 1, found)), None)
        is_whole = bool(np.all(values[found] == np.round(values[found])))
        return cls(name, low, high, is_skewed or name in BATCHES, is_whole, name in switches, switch)

    def share(self, values: Array) -> Array:
        """Values as shares of the recorded range; the middle where there is none."""
        low, high = (np.log(self.low), np.log(self.high)) if self.is_log else (self.low, self.high)
        shares = ((np.log(values) if self.is_log else values) - low) / (high - low)
        return np.where(np.isfinite(shares), shares, 0.5)

    def leaf(self) -> dict[str, Any]:
        """Of the search space; its centre is the middle of the range."""
        if self.is_choice:
            return {"choices": [False, True]}
        kind = "log_normal" if self.is_log else "uniform"
        if self.name in BATCHES:
            kind = "uniform_pow2"
        elif self.name == "gae_lambda":
            kind = "logit_normal"
        elif self.is_whole:
            kind = "int_log_normal" if self.is_log else "int_uniform"
        return {"distribution": kind, "min": self.low, "max": self.high}


@dataclass(frozen=True)
class Landscape:
    """One recorded environment with one algorithm.

    Attributes:
        recorded: (n, d) shares of the configurations.
        residuals: (n, seeds, 10) of the seeds around their mean, NaN from where a seed had failed.
        forest: (d,) shares -> (10,) mean scores at the evaluations.
        speed: (n,) the machine's part of a configuration's cost, a share of the order.
        spread: quantiles of the runtime over its median.
    """

    axes: tuple[Axis, ...]
    recorded: Array
    residuals: Array
    forest: Forest
    speed: Array
    spread: Array

    def shares(self, params: Params) -> Array:
        """(d,) of a point; a parameter without effect lies in the middle."""
        values = np.array([float(params[axis.name]) for axis in self.axes])
        is_idle = [axis.switch is not None and not params[axis.switch] for axis in self.axes]
        values[is_idle] = np.nan
        return np.array([axis.share(value) for axis, value in zip(self.axes, values, strict=True)])

    def _nearest(self, shares: Array) -> int:
        return int(np.argmin(((self.recorded - shares) ** 2).sum(axis=1)))

    def _seconds_per_step(self, shares: Array, nearest: int) -> float:
        """Off-policy updates take longer with larger batches, PPO's epochs with smaller ones."""
        index = next(i for i, axis in enumerate(self.axes) if axis.name in BATCHES)
        batch = shares[index] if self.axes[index].name == BATCHES[0] else 1.0 - shares[index]
        order = BATCH_SHARE * batch + (1.0 - BATCH_SHARE) * self.speed[nearest]
        factor = np.interp(order, np.linspace(0, 1, len(self.spread)), self.spread)
        return float(factor) * FULL_SECONDS / FULL_STEPS

    def true_mean(self, params: Params) -> float:
        return float(np.interp(_steps(params), MARKS, self.forest.predict(self.shares(params)[None])[0]))

    def run(self, params: Params, rng: np.random.Generator) -> Run:
        steps, shares = _steps(params), self.shares(params)
        nearest = self._nearest(shares)
        residual = self.residuals[nearest, rng.integers(self.residuals.shape[1])]
        pace = self._seconds_per_step(shares, nearest)
        seconds = OVERHEAD_SECONDS + pace * steps
        if np.isnan(residual[: int(np.searchsorted(MARKS, steps)) + 1]).any():
            return Run(None, FAILS_AT * seconds)
        scores = self.forest.predict(shares[None])[0] + residual
        curve = [
            CurvePoint(int(mark), pace * mark, score) for mark, score in zip(MARKS, scores, strict=True) if mark < steps
        ]
        return Run(float(np.interp(steps, MARKS, scores)), seconds, tuple(curve))


def _steps(params: Params) -> float:
    return float(params[LENGTH])


def _folder() -> Path:
    folder = os.environ.get(FOLDER_VARIABLE)
    if not folder or not (Path(folder) / "runtime_spread.json").exists():
        raise FileNotFoundError(
            f"{FOLDER_VARIABLE}: need the folder of the recorded landscapes (NAME.npz, runtime_spread.json), "
            f"got {folder!r}; they are not part of the project: set it, or leave out the tasks called arl-*"
        )
    return Path(folder)


def landscape(name: str) -> Landscape:
    """A recorded landscape by the name of its file."""
    with np.load(_folder() / f"{name}.npz") as file:
        values, names, scores = file["configurations"], list(map(str, file["names"])), file["scores"]
    columns = dict(zip(names, values.T, strict=True))
    switches = {key: column for key, column in columns.items() if set(np.unique(column)) == {0.0, 1.0}}
    axes = tuple(Axis.of(key, column, switches) for key, column in columns.items())
    recorded = np.column_stack([axis.share(column) for axis, column in zip(axes, values.T, strict=True)])
    means = _means(scores)
    spread = json.loads((_folder() / "runtime_spread.json").read_text())[name.rsplit("_", 1)[1].upper()]
    speed = np.random.default_rng(0).random(len(recorded))
    return Landscape(axes, recorded, scores - means[:, None], Forest.fit(recorded, means), speed, np.array(spread))


def _means(scores: Array) -> Array:
    """(n, 10) over the seeds that had not failed, the last one known where all had."""
    count = np.isfinite(scores).sum(axis=1)
    means = np.where(count > 0, np.nansum(scores, axis=1) / np.maximum(count, 1), np.nan)
    for i in range(1, EVALUATIONS):
        means[:, i] = np.where(np.isnan(means[:, i]), means[:, i - 1], means[:, i])
    return means


def parameters_of(found: Landscape) -> dict[str, dict[str, Any]]:
    lengths = {"distribution": "log_normal", "min": FULL_STEPS / EVALUATIONS, "max": FULL_STEPS}
    return {**{axis.name: axis.leaf() for axis in found.axes}, LENGTH: lengths}


def _scale(found: Landscape) -> tuple[float, float]:
    """(median cost of a random point, the best true mean)."""
    rng = np.random.default_rng(0)
    space = Space.from_config(parameters_of(found))
    points = space.sample(512, lambda count: rng.uniform(-1, 1, (count, space.dimension)))
    costs = []
    for params in map(space.from_unit, points):
        shares = found.shares(params)
        pace = found._seconds_per_step(shares, found._nearest(shares))
        costs.append(OVERHEAD_SECONDS + pace * _steps(params))
    return float(np.median(costs)), _best_mean(found)


def _best_mean(found: Landscape) -> float:
    """The forest's highest value: the best of the recorded and of random points, improved a coordinate at a time."""
    rng, dimension = np.random.default_rng(0), len(found.axes)
    points = np.vstack([found.recorded, rng.random((2000, dimension))])
    thirds = np.array([axis.is_choice or axis.name in BATCHES for axis in found.axes])
    points[:, thirds] = np.round(2 * points[:, thirds]) / 2  # choices lie at 0 and 1, the three batch sizes at halves
    is_choice = np.array([axis.is_choice for axis in found.axes])
    points[:, is_choice] = points[:, is_choice] > 0.5
    best = _best_rows(found, points)
    for _ in range(10):
        moved = np.repeat(best, 20, axis=0)
        rows, donors = np.arange(len(moved)), rng.integers(len(points), size=len(moved))
        columns = rng.integers(dimension, size=len(moved))
        moved[rows, columns] = points[donors, columns]
        best = _best_rows(found, np.vstack([best, moved]))
    return float(found.forest.predict(best).max())


def _best_rows(found: Landscape, points: Array) -> Array:
    return points[np.argsort(-found.forest.predict(points).max(axis=1))[:20]]


@cache
def _task(name: str) -> Task:
    found = landscape(name)
    cost, optimum = _scale(found)
    parameters, budget = parameters_of(found), MEDIAN_RUNS_IN_BUDGET * cost
    family = f"arl-{name.rsplit('_', 1)[1]}"
    return Task(f"arl-{name}", family, found, parameters, "maximize", budget, optimum, fidelity=LENGTH)


def landscape_task(name: str) -> Callable[[int], Task]:
    """A maker of the task of one landscape; the seed changes which recorded seeds are drawn."""
    return lambda seed: _task(name)
