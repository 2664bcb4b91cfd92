"""Sweeps without training: written into a registry through its own API, with scores and costs from a formula."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from metta_sweep.registry.open import sqlite_url
from metta_sweep.registry.records import NewObservation, Owner, Reservation
from metta_sweep.registry.store import SqlRegistry
from searchers import Space

OWNER = Owner(host="head", boot_id="m.b.n", pid=1, started=1.0)
NODES = ("node-a", "node-b")
START = 1_790_000_000.0
SETUP_SECONDS = 2.0
FREE_SECONDS = 1.0
PARAMETERS: dict[str, dict[str, Any]] = {
    "trainer.optimizer.learning_rate": {"distribution": "log_normal", "min": 1e-5, "max": 1e-2, "mean": 1e-3},
    "trainer.ppo.gamma": {"distribution": "logit_normal", "min": 0.8, "max": 0.999, "mean": 0.95},
    "trainer.ppo.ent_coef": {"distribution": "log_normal", "min": 1e-4, "max": 0.1, "mean": 0.01},
    "trainer.total_timesteps": {"distribution": "log_normal", "min": 1e5, "max": 1e7, "mean": 1e6},
    "trainer.minibatch_size": {"distribution": "uniform_pow2", "min": 256, "max": 8192, "mean": 1024},
    "model.type": {"choices": ["mlp", "lstm"], "mean": "mlp"},
}


@dataclass
class Clock:
    """Time that moves only when told to."""

    now: float = START

    def __call__(self) -> float:
        return self.now


@dataclass(frozen=True)
class Plan:
    """What to simulate.

    Attributes:
        name: of the sweep.
        num_runs: that end.
        num_curve_points: of each run.
        num_running: runs left running at the end.
        num_reserved: runs left reserved.
        failing: every so-manyth run fails; 0 = none.
        stopping: every so-manyth run is stopped early; 0 = none.
        seed: of scores and points.
        phases: name and number of runs; the last is open.
        message: of failed runs.
    """

    name: str = "sim"
    num_runs: int = 60
    num_curve_points: int = 5
    num_running: int = 2
    num_reserved: int = 1
    failing: int = 9
    stopping: int = 7
    seed: int = 0
    phases: tuple[tuple[str, int | None], ...] = (("explore", 30), ("exploit", None))
    message: str = "CUDA out of memory: tried to allocate 2.00 GiB"


def spec_yaml(plan: Plan) -> str:
    """A specification such as the driver registers."""
    phase = {"auto": False, "parameters": PARAMETERS, "constraints": [], "protein": {"max_suggestion_cost": 3600.0}}
    return yaml.safe_dump(
        {
            "sweep_name": plan.name,
            "seed": plan.seed,
            "metric": "reward",
            "goal": "maximize",
            "method": "bayes",
            "cost": "auto",
            "early_stopping": True,
            "searcher": None,
            "fixed": {},
            "train": {"trainer": {"total_timesteps": 1_000_000}},
            "choices": {},
            "phases": [{"name": name, "num_runs": count, **phase} for name, count in plan.phases],
        }
    )


def score_of(params: dict[str, Any], share: float = 1.0) -> float:
    """A hump in log learning rate, better with longer training and gamma near 0.99; lstm is a little better."""
    rate = -0.5 * (math.log10(params["trainer.optimizer.learning_rate"]) + 3.0) ** 2
    gamma = -4.0 * (math.log10(1.0 - params["trainer.ppo.gamma"]) + 2.0) ** 2 / 10.0
    length = 0.8 * math.log10(params["trainer.total_timesteps"] * share / 1e5 + 1.0)
    return 5.0 + rate + gamma + length + (0.2 if params["model.type"] == "lstm" else 0.0)


def cost_of(params: dict[str, Any]) -> float:
    """GPU seconds: 5,000 steps per second with an mlp, half of that with an lstm."""
    speed = 5000.0 if params["model.type"] == "mlp" else 2500.0
    return 5.0 + float(params["trainer.total_timesteps"]) / speed


def lasts(params: dict[str, Any]) -> float:
    """Seconds from start to end of a whole run on one GPU: what it costs, and a moment before its slot is free."""
    return SETUP_SECONDS + cost_of(params) + FREE_SECONDS


class Simulator:
    """Writes one sweep, run by run."""

    def __init__(self, registry: SqlRegistry, clock: Clock, plan: Plan) -> None:
        self.registry, self.clock, self.plan = registry, clock, plan
        self._rng = np.random.default_rng(plan.seed)
        self._space = Space.from_config(PARAMETERS)
        self._sequence = 0
        registry.create_sweep(plan.name, spec_yaml(plan), wandb_entity="team", wandb_project="metta")

    def run_all(self) -> None:
        """Every run of the plan; two at a time, one on each node."""
        ends: dict[str, tuple[float, str, int, dict[str, Any]]] = {}  # by node: when its run ends, and the run
        for _ in range(self.plan.num_runs):
            if len(ends) == len(NODES):
                self._end(*ends.pop(min(ends, key=lambda node: ends[node][0])))
            node = next(node for node in NODES if node not in ends)
            run = self._begin(node)
            ends[node] = (self.clock.now + lasts(run[2]), *run)
        for last in sorted(ends.values(), key=lambda one: one[0]):
            self._end(*last)
        for _ in range(self.plan.num_running):
            self.start_one()
        for _ in range(self.plan.num_reserved):
            self.reserve_one()

    def reserve_one(self) -> tuple[str, int, dict[str, Any]]:
        """(id, fence, params) of a new run."""
        number = self.registry.next_number(self.plan.name)
        params = dict(self._space.from_unit(self._space.snap(self._rng.uniform(-1, 1, (1, len(PARAMETERS))))[0]))
        predicted, cost = score_of(params) + self._rng.normal(0, 0.1), cost_of(params)
        explanation = {
            "origin": "explore" if number % 3 else "exploit",
            "reason": "highest expected improvement per dollar",
            "predicted_score": {"mean": predicted, "low": predicted - 0.3, "high": predicted + 0.3},
            "predicted_cost": {"mean": cost, "low": 0.8 * cost, "high": 1.25 * cost},
            "success_probability": 0.97,
            "acquisition": -1.25,
            "nearest": [[0.25, params, score_of(params)]],
            "observations": self._sequence,
        }
        phase = next(name for name, count in self.plan.phases if count is None or number < count)
        reservation = Reservation(number, params, explanation, phase, self._sequence, predicted, cost)
        run = self.registry.reserve(self.plan.name, reservation, OWNER, lease_seconds=math.inf, key=f"reserve:{number}")
        return run.id, run.fence, params

    def start_one(self) -> tuple[str, int, dict[str, Any]]:
        """A run that is running, with half of its curve."""
        run_id, fence, params = self._begin()
        self.registry.record_progress(run_id, fence, self.curve(params)[: self.plan.num_curve_points // 2])
        return run_id, fence, params

    def finish_one(self) -> str:
        """A run from reservation to its end; returns its id."""
        run_id, fence, params = self._begin()
        return self._end(self.clock.now + lasts(params), run_id, fence, params)

    def _begin(self, node: str = "") -> tuple[str, int, dict[str, Any]]:
        """Reserve a run and start it, on one of the nodes in turn when none is named."""
        run_id, fence, params = self.reserve_one()
        self.registry.start(run_id, fence, num_gpus=1.0, key=f"start:{run_id}")
        self.registry.record_nodes(run_id, fence, [node or NODES[int(run_id.rpartition(".")[2]) % 2]])
        return run_id, fence, params

    def _end(self, now: float, run_id: str, fence: int, params: dict[str, Any]) -> str:
        """Let a run end, at a moment or as soon after it as time allows."""
        self.clock.now = max(self.clock.now, now)
        number = int(run_id.rpartition(".")[2])
        self.registry.finish(run_id, fence, self.observation(number, params), key=f"finish:{run_id}")
        self._sequence += 1
        return run_id

    def observation(self, number: int, params: dict[str, Any]) -> NewObservation:
        """How run `number` ended."""
        plan = self.plan
        if plan.failing and number % plan.failing == plan.failing - 1:
            return self._failed(params)
        is_stopped = bool(plan.stopping) and number % plan.stopping == plan.stopping - 1
        share = 0.4 if is_stopped else 1.0
        score = score_of(params, share) + self._rng.normal(0, 0.1)
        costs = _costs(cost_of(params) * share)
        return NewObservation(
            outcome="stopped_early" if is_stopped else "completed",
            score=score,
            cost_seconds=cost_of(params) * share,
            wall_seconds=cost_of(params) * share,
            costs=costs,
            attempt_costs=costs,
            metrics={"reward": score, "arena/basic/reward": score / 2},
            standard_error=0.1,
            curve=tuple(
                point for point in self.curve(params) if point["env_steps"] <= share * params["trainer.total_timesteps"]
            ),
            env_steps=round(share * params["trainer.total_timesteps"]),
            message="score 2.1 at 40%, threshold 3.2 (0.3 quantile of 12 runs), chance to end on the front 1.2%"
            if is_stopped
            else "",
            nodes=(NODES[number % 2],),
        )

    def _failed(self, params: dict[str, Any]) -> NewObservation:
        costs = _costs(20.0)
        return NewObservation(
            "failed",
            None,
            20.0,
            20.0,
            costs=costs,
            attempt_costs=costs,
            failure="hyperparameters",
            signature="OutOfMemoryError: ppo/rollout.py:88",
            message=self.plan.message,
            log_tail="Traceback (most recent call last):\n" + self.plan.message,
            nodes=(NODES[0],),
        )

    def curve(self, params: dict[str, Any]) -> Sequence[dict[str, Any]]:
        """Points at even shares of the run."""
        shares = np.linspace(0.0, 1.0, self.plan.num_curve_points + 1)[1:]
        steps = params["trainer.total_timesteps"]
        return [
            {
                "env_steps": round(steps * share),
                "seconds": cost_of(params) * float(share),
                "score": score_of(params, float(share)),
            }
            for share in shares
        ]


def _costs(seconds: float) -> dict[str, dict[str, float]]:
    parts = {"setup": SETUP_SECONDS, "train": 0.85 * seconds, "curve": 0.05 * seconds, "evaluate": 0.1 * seconds}
    return {part: {"wall_seconds": value, "cpu_seconds": value, "gpu_seconds": value} for part, value in parts.items()}


def simulate(data_dir: Path, *plans: Plan) -> None:
    """Write sweeps into `{data_dir}/registry.db`."""
    clock = Clock()
    registry = SqlRegistry(sqlite_url(data_dir), clock)
    for plan in plans:
        Simulator(registry, clock, plan).run_all()
    registry.close()
