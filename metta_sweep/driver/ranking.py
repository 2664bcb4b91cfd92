"""The sweep's answer: which configurations are best, ranked by what the model believes."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from metta_sweep.analysis.best import BestRun, best, with_posterior
from metta_sweep.analysis.frame import frame
from metta_sweep.analysis.pareto import pareto_front
from metta_sweep.config.registered import RegisteredSweep, read_spec
from metta_sweep.driver.proposer import Proposer
from metta_sweep.registry.reader import Reader


@dataclass(frozen=True, slots=True)
class Ranking:
    """What a sweep found.

    Attributes:
        spec: the sweep as registered.
        runs: one row per run.
        best: best configurations, best first.
        front: rows of the Pareto front, cheapest first.
    """

    spec: RegisteredSweep
    runs: pd.DataFrame
    best: list[BestRun]
    front: pd.DataFrame


def rank(registry: Reader, sweep_name: str, *, top_n: int = 5, by: str = "posterior", hourly_cost: float | None = None) -> Ranking:
    """Read the sweep, ask the model about every point that ran, and rank.

    Raises:
        UnknownSweep: no sweep of this name.
    """
    spec = read_spec(registry.get_sweep(sweep_name).spec_yaml)
    runs = frame(registry, sweep_name, hourly_cost=hourly_cost)
    if by == "posterior":
        proposer = Proposer(spec.sweep, spec.seed)
        proposer.observe(registry.observations(sweep_name))
        runs = with_posterior(runs, lambda params: proposer.believe(dict(params)))
    goal = spec.sweep.goal
    return Ranking(spec, runs, best(runs, top_n, goal, by=by), pareto_front(runs, goal))
