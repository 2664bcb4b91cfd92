"""Simulated RL training with a known optimum: learning curves, seed noise, costs over 30x, divergence, out of memory,
schedules.

The schedule trap: a run of length T anneals its learning rate, so its score at share u is below that of a finished run
of length u T. A model that takes curve points for short runs is misled.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from searchers import CurvePoint, Goal, Params, Space
from tests.benchmarks.search.tasks import Run, Task

LENGTH = "trainer.total_timesteps"
MAX_STEPS = 30_000_000
CORE = {
    "trainer.optimizer.learning_rate": {"distribution": "log_normal", "min": 1e-5, "max": 1e-2},
    "trainer.ppo.gamma": {"distribution": "logit_normal", "min": 0.8, "max": 0.9999},
    "trainer.ppo.ent_coef": {"distribution": "log_normal", "min": 1e-5, "max": 0.1},
    LENGTH: {"distribution": "log_normal", "min": 1_000_000, "max": MAX_STEPS},
}
MORE = {
    "trainer.batch_size": {"distribution": "uniform_pow2", "min": 2048, "max": 131072},
    "model.hidden_size": {"distribution": "uniform_pow2", "min": 64, "max": 1024},
    "trainer.ppo.clip_coef": {"distribution": "uniform", "min": 0.05, "max": 0.5},
    "trainer.optimizer.type": {"choices": ["adam", "muon", "sgd"]},
}
MINOR = {
    "trainer.ppo.gae_lambda": {"distribution": "logit_normal", "min": 0.6, "max": 0.999},
    "trainer.ppo.vf_coef": {"distribution": "log_normal", "min": 0.1, "max": 5.0},
    "trainer.ppo.vf_clip_coef": {"distribution": "uniform", "min": 0.05, "max": 1.0},
    "trainer.ppo.max_grad_norm": {"distribution": "log_normal", "min": 0.1, "max": 5.0},
    "trainer.optimizer.beta1": {"distribution": "logit_normal", "min": 0.5, "max": 0.99},
    "trainer.optimizer.beta2": {"distribution": "logit_normal", "min": 0.9, "max": 0.9999},
    "trainer.update_epochs": {"distribution": "int_uniform", "min": 1, "max": 8},
}
BATCH, WIDTH, RATE, KIND, EPOCHS = (
    "trainer.batch_size",
    "model.hidden_size",
    "trainer.optimizer.learning_rate",
    "trainer.optimizer.type",
    "trainer.update_epochs",
)
CURVE_SHARES = (0.1, 0.2, 0.4, 0.7)


@dataclass(frozen=True)
class Training:
    """One instance of the simulator.

    Attributes:
        space: to read points in unit coordinates.
        best_unit: (d,) where hyperparameters are best.
        weights: (d,) how much each matters.
        kind_penalty: loss of each optimizer type, 0 for the best.
        noise: standard deviation over seeds, in units of the best score (1).
        trap: how far an unannealed policy is below an annealed one.
        sign: -1 turns scores into losses.
    """

    space: Space
    best_unit: np.ndarray
    weights: np.ndarray
    kind_penalty: tuple[float, ...]
    noise: float
    trap: float
    sign: float = 1.0

    @classmethod
    def instance(cls, space: Space, seed: int, noise: float, trap: float, sign: float) -> Training:
        rng = np.random.default_rng([seed, 77])
        best = rng.uniform(-0.7, 0.7, space.dimension)
        weights = np.array([0.25 if name in MINOR else 1.5 for name in space.names]) * rng.uniform(
            0.6, 1.4, space.dimension
        )
        weights[space.names.index(LENGTH)] = 0.0
        penalty = rng.permutation([0.0, 0.08, 0.3])
        return cls(space, best, weights, tuple(penalty), noise, trap, sign)

    def final(self, params: Params, steps: float) -> float:
        """True mean score of a finished run of `steps` steps; the best possible is just below 1."""
        unit = self.space.embed(params)
        distance = self._distance(params, unit)
        quality = 1.0 / (1.0 + distance + 0.5 * distance**2)
        # A higher learning rate learns faster at first: short runs rank hyperparameters differently from long ones.
        speed = math.exp(0.8 * (unit[self.space.names.index(RATE)] - self.best_unit[self.space.names.index(RATE)]))
        progress = 1.0 - math.exp(-((steps * speed / (0.25 * MAX_STEPS)) ** 0.7))
        return quality * progress

    def _distance(self, params: Params, unit: np.ndarray) -> float:
        delta = unit - self.best_unit
        if KIND in self.space.names:
            delta[self.space.names.index(KIND)] = 0.0
        if BATCH in self.space.names:
            # Larger batches want larger learning rates.
            delta[self.space.names.index(RATE)] -= 0.4 * delta[self.space.names.index(BATCH)]
        penalty = self.kind_penalty[["adam", "muon", "sgd"].index(str(params[KIND]))] if KIND in params else 0.0
        return float(self.weights @ delta**2) + penalty

    def fails(self, params: Params) -> str | None:
        """Divergence at high learning rates with small batches; out of memory at large batch times width."""
        unit = self.space.embed(params)
        rate = unit[self.space.names.index(RATE)] - self.best_unit[self.space.names.index(RATE)]
        batch = unit[self.space.names.index(BATCH)] if BATCH in params else 0.0
        if rate - 0.3 * batch > 0.75:
            return "diverged"
        if BATCH in params and float(params[BATCH]) * float(params[WIDTH]) > 2**25.5:
            return "out of memory"
        return None

    def cost(self, params: Params, steps: float) -> float:
        """Seconds: set-up and evaluation, then steps times what the network and the epochs cost."""
        width = (float(params.get(WIDTH, 256)) / 256) ** 0.6
        epochs = (1.0 + float(params.get(EPOCHS, 4)) / 4) / 2
        return float(40.0 + steps / 1e6 * 12.0 * width * epochs)

    def run(self, params: Params, rng: np.random.Generator) -> Run:
        steps = float(params[LENGTH])
        luck, failure = self.noise * rng.standard_normal(), self.fails(params)
        if failure == "out of memory":
            return Run(None, 40.0)
        if failure == "diverged":
            return Run(None, 40.0 + rng.uniform(0.1, 0.5) * (self.cost(params, steps) - 40.0))
        curve = []
        for share in CURVE_SHARES:
            value = (
                self.final(params, share * steps) * (1.0 - self.trap * (1.0 - share))
                + luck
                + 0.5 * self.noise * rng.standard_normal()
            )
            curve.append(CurvePoint(int(share * steps), share * (self.cost(params, steps) - 40.0), self.sign * value))
        return Run(self.sign * (self.final(params, steps) + luck), self.cost(params, steps), tuple(curve))

    def true_mean(self, params: Params) -> float:
        return 0.0 if self.fails(params) else self.sign * self.final(params, float(params[LENGTH]))


def simulator_task(dimension: int, seed: int, goal: Goal = "maximize", noise: float = 0.03, trap: float = 0.4) -> Task:
    """The simulator with 4, 8 or 15 parameters; the instance (optimum, weights) depends on the seed."""
    parameters = {4: CORE, 8: {**CORE, **MORE}, 15: {**CORE, **MORE, **MINOR}}[dimension]
    space = Space.from_config(parameters)
    problem = Training.instance(space, seed, noise, trap, 1.0 if goal == "maximize" else -1.0)
    full = problem.cost({}, MAX_STEPS)
    return Task(
        name=f"sim{dimension}{'-min' if goal == 'minimize' else ''}",
        family="simulator",
        problem=problem,
        parameters=parameters,
        goal=goal,
        budget=full * {4: 30, 8: 50, 15: 70}[dimension],
        optimum=best_mean(problem, space),
        fidelity=LENGTH,
    )


def best_mean(problem: Training, space: Space) -> float:
    """True mean of the best point: pattern search around the known best hyperparameters, which long lengthscales make
    easy.
    """
    rng = np.random.default_rng(0)
    start = problem.best_unit.copy()
    start[space.names.index(LENGTH)] = 1.0

    def value(unit: np.ndarray) -> float:
        params = space.from_unit(unit)
        return -1.0 if problem.fails(params) else problem.final(params, float(params[LENGTH]))

    points = [start]
    if KIND in space.names:
        index = space.names.index(KIND)
        points = [np.where(np.arange(space.dimension) == index, cell, start) for cell in (-2 / 3, 0.0, 2 / 3)]
    best = max((space.snap(point[None])[0] for point in points), key=value)
    for step in (0.3, 0.1, 0.03, 0.01):
        for _ in range(400):
            moved = np.clip(
                best + step * rng.standard_normal(space.dimension) * (rng.random(space.dimension) < 0.4), -1, 1
            )
            moved[space.names.index(LENGTH)] = 1.0
            moved = space.snap(moved[None])[0]
            best = moved if value(moved) > value(best) else best
    return problem.sign * value(best)
