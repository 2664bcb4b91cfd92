"""The training loop of one rank: collect, learn, agree with the other ranks on what comes next."""

from __future__ import annotations

import logging
import math
import time
from dataclasses import dataclass, replace
from typing import Protocol

import torch

from trainables import faults
from trainables.checkpoint import Checkpoint
from trainables.distributed import DistributedContext
from trainables.environments.curriculum import TaskSampler
from trainables.environments.interface import Description, Episode
from trainables.environments.vector import EnvironmentVector, VectorOptions
from trainables.environments.workers import EnvironmentWorkers
from trainables.errors import CodeFailure, HyperparameterFailure, Problem, SpecError
from trainables.metering import PARTS, Meter, add, costs_from_vector
from trainables.ppo.blame import fault_of_environment
from trainables.ppo.learner import Learner, compile_mode
from trainables.ppo.plan import curve_updates, plan
from trainables.ppo.policy import Policy
from trainables.ppo.rollout import Collector, stores_raw
from trainables.pulse import Pulse
from trainables.result import Costs, Point, Progress, Span
from trainables.seeding import Purpose, TrainingSeeds, stream_seed
from trainables.simulation.aggregate import from_json, metrics, score_of, standard_error, to_json
from trainables.simulation.play import Share, play
from trainables.spec import RunSpec

logger = logging.getLogger(__name__)


class Host(Protocol):
    """What rank 0 does besides training; other ranks have a host that does nothing."""

    def wants_stop(self) -> bool:
        """Whether training should end after this update, with a checkpoint."""

    def report(self, progress: Progress) -> None:
        """Called after every update."""

    def save(self, checkpoint: Checkpoint) -> None:
        """Makes the checkpoint durable."""


class SilentHost:
    """Host of the ranks that have nothing to tell."""

    def wants_stop(self) -> bool:
        return False

    def report(self, progress: Progress) -> None:
        del progress

    def save(self, checkpoint: Checkpoint) -> None:
        del checkpoint


@dataclass(frozen=True, slots=True)
class _Agreed:
    """What all ranks know after an update: rank 0's decisions, and the mean score of training episodes, if any
    ended.
    """

    stop: bool
    save: bool
    scores: dict[str, float]


class PpoTrainer:
    """Trains one policy; every rank runs the same number of updates.

    Args:
        spec: the run.
        context: this rank.
        meter: books set-up, training and curve points; must stand at "setup".
        start: checkpoint to go on from.
        pulse: beats with every update, and as episodes of curve points come forward.
        workers: processes that step the environments, as many as `trainer.num_workers` says; None where it says none.
    """

    def __init__(
        self,
        spec: RunSpec,
        context: DistributedContext,
        meter: Meter,
        start: Checkpoint | None = None,
        pulse: Pulse | None = None,
        workers: EnvironmentWorkers | None = None,
    ) -> None:
        if (workers.count if workers else 0) != spec.trainer.num_workers:
            raise ValueError(f"trainer.num_workers={spec.trainer.num_workers} asks for so many workers")
        self._workers = workers
        self._spec, self._context, self._meter = spec, context, meter
        self._pulse = pulse or Pulse()
        self.plan = plan(spec.trainer, spec.environment.agents_per_env, context.world_size)
        self._updates = start.updates if start else 0
        self._start_steps = self.env_steps
        first_env = context.rank * self.plan.num_envs
        seeds = TrainingSeeds(spec.seed, first_env, self._start_steps)
        sampler = TaskSampler(spec.curriculum.weights, spec.curriculum.sampling, (spec.seed, self._start_steps))
        if start:
            sampler.load(start.curriculum)
        self._sampler = sampler
        options = VectorOptions(
            num_envs=self.plan.num_envs,
            seeds=seeds,
            stagger=True,
            # Not through `self`: in a cycle, the buffers of one run would stay in a warm worker for many more.
            pick_task=lambda env, episode: sampler.pick(first_env + env, episode),
        )
        self._env = EnvironmentVector(spec.environment, options, workers)
        self.policy = make_policy(spec, context, self._env.description)
        device = context.device
        encoder = self._env.description.encoder if stores_raw(self._env.description, device) else None
        self.learner = Learner(self.policy, spec.trainer, self.plan, context, encoder)
        if start:
            restore(self.learner, start)
        mode = compile_mode(spec.trainer) if device.type == "cuda" else None
        self._collector = Collector(self._env, self.policy, self.plan.horizon, self.plan.bptt_horizon, device, mode)
        # A clean run sets up once: the set-up of earlier attempts does not count.
        self.base_costs = replace(start.costs, setup=Span()) if start else Costs()
        self._attempt_costs = Costs()
        self.curve: list[Point] = list(start.curve) if start else []
        self._last_save = time.monotonic()

    @property
    def env_steps(self) -> int:
        return self._updates * self.plan.batch_size

    @property
    def is_complete(self) -> bool:
        return self._updates >= self.plan.num_updates

    def train(self, host: Host) -> bool:
        """Trains to the end, or until the host wants to stop; either way the last state is saved.

        Returns whether it is complete.
        """
        curve = self._spec.trainer.simulation
        evaluate_after = curve_updates(self.plan.num_updates, curve.curve_points, curve.evaluate_interval)
        try:
            if not self.is_complete:
                self._env.reset()
            self._meter.switch("train")
            while not self.is_complete:
                self._pulse.beat()
                began = time.perf_counter()
                losses, episodes = self._update()
                agreed = self._agree(host, episodes)
                point = self._evaluate() if self._updates in evaluate_after else None
                speed = self.plan.batch_size / (time.perf_counter() - began)
                host.report(self._progress(losses | agreed.scores, speed, point))
                if agreed.save or agreed.stop or self.is_complete:
                    host.save(self._checkpoint())
                    self._last_save = time.monotonic()
                if agreed.stop:
                    break
        finally:
            self._meter.stop()
            self._env.close()
        return self.is_complete

    def _update(self) -> tuple[dict[str, float], list[Episode]]:
        faults.point("run.update")
        # Every update has generators of its own, named by the step: a resumed run needs none of the old ones.
        words = (self._spec.seed, self._context.rank, self.env_steps)
        acting = torch.Generator(self._context.device).manual_seed(stream_seed(Purpose.ACTION, *words))
        shuffling = torch.Generator(self._context.device).manual_seed(stream_seed(Purpose.MINIBATCH, *words))
        rollout = self._collector.collect(acting)
        rate = self._spec.trainer.optimizer.learning_rate * schedule(
            self._spec.trainer.schedule, self._updates / self.plan.num_updates
        )
        try:
            losses = self.learner.update(rollout, rate, shuffling)
        except HyperparameterFailure as error:
            if what := fault_of_environment(rollout, self._env.observations):
                text = f"the environment returned {what} that are not finite (NaN or infinite) before anything diverged"
                raise CodeFailure(f"{text}; mend it there") from error
            raise
        self._updates += 1
        return losses | {"learning_rate": rate}, self._env.drain_episodes()

    def _agree(self, host: Host, episodes: list[Episode]) -> _Agreed:
        """Rank 0 decides by its own clock; everyone learns of it in one collective that also adds up costs and
        scores.
        """
        decisions = [0.0, 0.0]
        if self._context.is_main:
            due = time.monotonic() - self._last_save >= self._spec.trainer.checkpoint.interval_seconds
            decisions = [float(host.wants_stop()), float(due)]
        spent = self._meter.spent()
        scores = [
            [e.score for e in episodes if e.task == task and e.is_whole] for task in self._spec.environment.task_names
        ]
        cpu = [getattr(spent, part).cpu_seconds for part in PARTS]
        (stop, save), sums, counts, cpu = self._context.sum_lists(
            decisions, [sum(s) for s in scores], [len(s) for s in scores], cpu
        )
        self._sampler.learn(sums, counts)
        if self._sampler.adapts:
            self._env.pick_tasks()
        walls = {part: getattr(spent, part).wall_seconds for part in PARTS}
        num_gpus = self._spec.resources.gpus_per_worker * self._context.world_size
        self._attempt_costs = costs_from_vector(cpu, walls, num_gpus)
        return _Agreed(bool(stop), bool(save), {"training_score": sum(sums) / sum(counts)} if sum(counts) else {})

    def _evaluate(self) -> Point | None:
        """A point of the learning curve, if there is a number; its time is booked apart.

        The ranks' shares are equal, so nobody waits long.
        """
        self._meter.switch("curve")
        suite = self._spec.suite
        per_simulation = math.ceil(self._spec.trainer.simulation.curve_episodes / len(suite.simulations))
        share = Share(self._context.rank, self._context.world_size, Purpose.CURVE_EPISODE, per_simulation)
        played = play(suite, self.policy, share, pulse=self._pulse, workers=self._workers)
        self._pulse.beat()
        everybody = [episode for content in self._context.gather(to_json(played)) for episode in from_json(content)]
        score = score_of(self._spec.metric, metrics(suite, everybody))
        self._meter.switch("train")
        if not math.isfinite(score):  # a ratio of two counters that are still 0, say
            return None
        error = standard_error(suite, everybody, self._spec.metric)
        point = Point(self.env_steps, self._costs().train, score, error)
        self.curve.append(point)
        return point

    def _costs(self) -> Costs:
        return add(self.base_costs, self._attempt_costs)

    def _progress(self, losses: dict[str, float], speed: float, point: Point | None) -> Progress:
        return Progress(
            env_steps=self.env_steps,
            total_env_steps=self.plan.total_env_steps,
            steps_per_second=speed,
            losses=losses,
            point=point,
            costs=self._costs(),
            attempt_costs=self._attempt_costs,
        )

    def _checkpoint(self) -> Checkpoint:
        return Checkpoint(
            env_steps=self.env_steps,
            updates=self._updates,
            policy=self.policy.state_dict(),
            optimizer=self.learner.optimizer.state_dict(),
            curriculum=self._sampler.state(),
            costs=self._costs(),
            curve=tuple(self.curve),
        )


def make_policy(spec: RunSpec, context: DistributedContext, description: Description) -> Policy:
    """A fresh policy on this rank's device, the same on every rank."""
    torch.manual_seed(stream_seed(Purpose.WEIGHTS, spec.seed))
    return Policy(description.encoder, description.action_space, spec.model).to(context.device)


def restore(learner: Learner, checkpoint: Checkpoint) -> None:
    """Parameters and optimiser of a checkpoint, copied into the flat tensors.

    Raises:
        SpecError: the checkpoint is of another network.
    """
    try:
        learner.policy.load_state_dict(dict(checkpoint.policy))
    except RuntimeError as error:
        raise SpecError(
            Problem(
                "model", f"the checkpoint is of another network ({error}); use another run name, or the old settings"
            )
        ) from error
    learner.optimizer.load_state_dict(dict(checkpoint.optimizer))


def schedule(kind: str, progress: float) -> float:
    """Factor of the learning rate at `progress` in [0, 1] of the run."""
    if kind == "constant":
        return 1.0
    if kind == "cosine":
        return 0.5 * (1.0 + math.cos(math.pi * progress))
    return 1.0 - progress
