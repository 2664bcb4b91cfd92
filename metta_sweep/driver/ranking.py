"""The sweep's answer: which configurations are best, ranked by what the model believes."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pandas as pd

from metta_sweep.analysis.best import BestRun, best, with_posterior
from metta_sweep.analysis.frame import frame
from metta_sweep.analysis.pareto import pareto_front
from metta_sweep.config.registered import RegisteredSweep, read_spec
from metta_sweep.driver.proposer import Proposer
from metta_sweep.registry.reader import Reader, readable


@dataclass(frozen=True, slots=True)
class Ranking:
    """What a sweep found.

    Attributes:
        spec: the sweep as registered.
        runs: one row per run.
        best: best configurations, best first.
        front: rows of the Pareto front, cheapest first.
        num_foreign: runs left out of both, because their parameters are not those of the sweep.
    """

    spec: RegisteredSweep
    runs: pd.DataFrame
    best: list[BestRun]
    front: pd.DataFrame
    num_foreign: int = 0


def rank(
    registry: Reader, sweep_name: str, *, top_n: int = 5, by: str = "posterior", hourly_cost: float | None = None
) -> Ranking:
    """Read the sweep, ask the model about every point that ran, and rank.

    Raises:
        UnknownSweep: no sweep of this name.
        UnreadableSweep: its records make no sense.
    """
    with readable(sweep_name):
        spec = read_spec(registry.get_sweep(sweep_name).spec_yaml)
        runs = frame(registry, sweep_name, hourly_cost=hourly_cost)
        proposer = Proposer(replace(spec.sweep, searcher=None), spec.seed)
        proposer.observe(registry.observations(sweep_name))
    is_ours = runs["params"].map(lambda params: not spec.foreign(params)).astype(bool)
    known = runs[is_ours]
    # A searcher of somebody's own is a name of a class; what a registry says is never imported.
    if by == "posterior" and spec.sweep.searcher is None:
        known = with_posterior(known, lambda params: proposer.believe(dict(params)))
    goal = spec.sweep.goal
    return Ranking(spec, runs, best(known, top_n, goal, by=by), pareto_front(known, goal), int((~is_ours).sum()))
