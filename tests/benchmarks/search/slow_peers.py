"""Optimisers that see our unit cube: CMA-ES, and BoTorch, SMAC3 and PufferLib's Protein, which take a second and more
for a suggestion; each is imported when it is asked for.

HEBO is missing: its package asks for numpy below 1.25 and does not install beside numpy 2.
"""

from __future__ import annotations

import contextlib
import io
import tempfile
import warnings
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np

from searchers import Explanation, Observation, Origin, Params, Suggestion
from tests.benchmarks.search.harness import MakeMethod
from tests.benchmarks.search.tasks import Task


class UnitPeer(ABC):
    """A peer that sees points of our unit cube and scores to maximise; a failed run is told as the worst score so far.

    The incumbent is the best single observation, as these packages report it.
    """

    def __init__(self, task: Task, seed: int) -> None:
        self.task, self.seed, self.count = task, seed, 0
        self.sign = 1.0 if task.goal == "maximize" else -1.0
        self.points: list[np.ndarray] = []
        self.scores: list[float] = []
        self.costs: list[float] = []
        self.params: list[Params] = []

    def suggest(self, pending: Sequence[Params] = ()) -> Suggestion:
        unit = self.ask(
            np.random.default_rng([self.seed, self.count]), [self.task.space.embed(params) for params in pending]
        )
        self.count += 1
        snapped = self.task.space.snap(np.clip(unit, -1, 1)[None])[0]
        return Suggestion(
            self.task.space.from_unit(snapped), self.count - 1, Explanation(Origin.BASELINE, type(self).__name__)
        )

    def observe(self, observation: Observation) -> None:
        score = min(self.scores, default=0.0) if observation.score is None else self.sign * observation.score
        self.points.append(self.task.space.embed(observation.params))
        self.scores.append(score)
        self.costs.append(observation.cost_seconds)
        self.params.append(observation.params)
        self.tell(observation)

    def recommend(self) -> Params | None:
        return self.params[int(np.argmax(self.scores))] if self.scores else None

    @abstractmethod
    def ask(self, rng: np.random.Generator, pending: Sequence[np.ndarray]) -> np.ndarray:
        """(d,) the next point."""

    @abstractmethod
    def tell(self, observation: Observation) -> None:
        """The newest observation is the last of `points`."""


class CmaEs(UnitPeer):
    """CMA-ES from the middle with a third of the range as its step, told of a generation once it is complete."""

    def __init__(self, task: Task, seed: int) -> None:
        super().__init__(task, seed)
        from cmaes import CMA

        dimension = task.space.dimension
        bounds = np.tile([-1.0, 1.0], (dimension, 1))
        self.strategy = CMA(mean=np.zeros(dimension), sigma=2 / 3, bounds=bounds, seed=seed)
        self.asked = np.zeros(dimension)
        self.open: list[tuple[np.ndarray, Params]] = []
        self.generation: list[tuple[np.ndarray, float]] = []

    def suggest(self, pending: Sequence[Params] = ()) -> Suggestion:
        suggestion = super().suggest(pending)
        self.open.append((self.asked, suggestion.params))
        return suggestion

    def ask(self, rng: np.random.Generator, pending: Sequence[np.ndarray]) -> np.ndarray:
        point: np.ndarray = self.strategy.ask()
        self.asked = point
        return point

    def tell(self, observation: Observation) -> None:
        index = next(i for i, (_, params) in enumerate(self.open) if params == observation.params)
        self.generation.append((self.open.pop(index)[0], -self.scores[-1]))
        if len(self.generation) == self.strategy.population_size:
            self.strategy.tell(self.generation)
            self.generation = []


class BoTorch(UnitPeer):
    """Single-task GP with BoTorch's defaults and log noisy expected improvement; ten Sobol points first."""

    def ask(self, rng: np.random.Generator, pending: Sequence[np.ndarray]) -> np.ndarray:
        import torch
        from botorch.acquisition.logei import qLogNoisyExpectedImprovement
        from botorch.fit import fit_gpytorch_mll
        from botorch.models import SingleTaskGP
        from botorch.optim.optimize import optimize_acqf
        from gpytorch.mlls import ExactMarginalLogLikelihood
        from scipy.stats.qmc import Sobol

        dimension = self.task.space.dimension
        if self.count < 10:
            return 2 * Sobol(dimension, rng=np.random.default_rng(self.seed)).random(16)[self.count] - 1  # type: ignore[no-any-return]
        warnings.simplefilter("ignore")
        torch.manual_seed(int(rng.integers(2**31)))
        unit = torch.tensor((np.array(self.points) + 1) / 2, dtype=torch.double)
        model = SingleTaskGP(unit, torch.tensor(self.scores, dtype=torch.double)[:, None])
        fit_gpytorch_mll(ExactMarginalLogLikelihood(model.likelihood, model))
        waiting = torch.tensor((np.array(pending) + 1) / 2, dtype=torch.double) if pending else None
        acquisition = qLogNoisyExpectedImprovement(model, unit, X_pending=waiting, prune_baseline=True)
        bounds = torch.stack([torch.zeros(dimension), torch.ones(dimension)]).double()
        best, _ = optimize_acqf(acquisition, bounds, q=1, num_restarts=5, raw_samples=128)
        point: np.ndarray = 2 * best[0].detach().numpy() - 1
        return point

    def tell(self, observation: Observation) -> None:
        """Nothing to do: `ask` fits to all points anew."""


class Smac(UnitPeer):
    """SMAC3's facade for hyperparameters (random forest), told of crashes."""

    def __init__(self, task: Task, seed: int) -> None:
        super().__init__(task, seed)
        import logging

        from ConfigSpace import ConfigurationSpace, Float
        from smac import HyperparameterOptimizationFacade, Scenario

        logging.disable(logging.INFO)
        space = ConfigurationSpace(seed=seed)
        self.names = [f"x{i:02d}" for i in range(task.space.dimension)]
        space.add([Float(name, (-1.0, 1.0)) for name in self.names])
        scenario = Scenario(space, n_trials=100_000, seed=seed, output_directory=tempfile.mkdtemp())
        design = HyperparameterOptimizationFacade.get_initial_design(scenario, n_configs=10)
        self.facade = HyperparameterOptimizationFacade(
            scenario, lambda config, seed=0: 0.0, initial_design=design, overwrite=True, logging_level=40
        )
        self.open: list[Any] = []

    def ask(self, rng: np.random.Generator, pending: Sequence[np.ndarray]) -> np.ndarray:
        self.open.append(self.facade.ask())
        return np.array([float(self.open[-1].config[name]) for name in self.names])

    def tell(self, observation: Observation) -> None:
        from smac.runhistory import StatusType, TrialValue

        status = StatusType.CRASHED if observation.score is None else StatusType.SUCCESS
        self.facade.tell(
            self.open.pop(0), TrialValue(cost=-self.scores[-1], time=observation.cost_seconds, status=status)
        )


class PufferProtein(UnitPeer):
    """PufferLib's own Protein as its version 4 calls it; choices as an ordered number, as its configuration knows no
    other way.
    """

    def __init__(self, task: Task, seed: int) -> None:
        super().__init__(task, seed)
        import random

        import pufferlib.sweep
        import torch

        # It draws from the global generators; `Sobol` from numpy's new ones, which it leaves unseeded.
        random.seed(seed)
        np.random.seed(seed)  # noqa: NPY002
        torch.manual_seed(seed)
        self.names = [f"x{i:02d}" for i in range(task.space.dimension)]
        spaces = {name: {"distribution": "uniform", "min": -1.0, "max": 1.0, "scale": "auto"} for name in self.names}
        length = self.names[task.space.names.index(task.fidelity)] if task.fidelity else ""
        settings = {"metric_distribution": "linear", "downsample": 1, "early_stop_quantile": 0.3, "use_gpu": False}
        with contextlib.redirect_stdout(io.StringIO()):
            self.protein = pufferlib.sweep.Protein(
                {"method": "Protein", "metric": "score", "goal": "maximize", **settings, **spaces},
                max_suggestion_cost=1e12,
                cost_param=length,
            )

    def ask(self, rng: np.random.Generator, pending: Sequence[np.ndarray]) -> np.ndarray:
        with contextlib.redirect_stdout(io.StringIO()):
            values, _ = self.protein.suggest(None)
        return np.array([float(values[name]) for name in self.names])

    def tell(self, observation: Observation) -> None:
        values = dict(zip(self.names, map(float, self.points[-1]), strict=True))
        self.protein.observe(values, self.scores[-1], self.costs[-1], is_failure=observation.score is None)


SLOW_PEERS: dict[str, MakeMethod] = {"cma-es": CmaEs, "botorch": BoTorch, "smac": Smac, "puffer-protein": PufferProtein}
