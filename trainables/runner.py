"""One run from start to result on one placement group: train, evaluate, restart after lost workers, count costs."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from ray.util.placement_group import PlacementGroup

from trainables.errors import HyperparameterFailure, InfrastructureFailure, NodeLost, RunError, WorkerEnded
from trainables.failures import Failure, classify, same_ending, twice
from trainables.last_words import find_ending, sizes
from trainables.messages import EvaluatedShare, RunRequest, Trained
from trainables.metering import add, over_ranks
from trainables.ownership import moved_text
from trainables.pulse import stalled_evaluation
from trainables.result import Costs, FailureKind, Outcome, Point, Progress, RunResult
from trainables.run_files import write_yaml
from trainables.simulation import stats_db
from trainables.simulation.aggregate import PlayedEpisode, metrics, score_of, standard_error
from trainables.spec import RunSpec
from trainables.worker_group import RankFailed, WorkerGroup, worker_group_key

logger = logging.getLogger(__name__)

LOOK_SECONDS = 1.0  # ranks are asked for their pulse so often: far below any timeout; not tuned
OnProgress = Callable[[Progress], None]


class _Interrupted(Exception):
    """The run was asked to stop while there was nothing to save."""


class Runner:
    """Runs one run after the other on the same placement group, in the same processes where that is safe."""

    def __init__(self, group: PlacementGroup, check_places: Callable[[], None] = lambda: None) -> None:
        """
        Args:
            group: one bundle per rank.
            check_places: raises NodeLost when a bundle lost its node, where a lost node should end the run; otherwise
                the run waits until Ray has found another place for the bundle.
        """
        self._placement, self._check_places = group, check_places
        self._workers: WorkerGroup | None = None
        self._interrupted = threading.Event()
        self._cancelled = threading.Event()

    def interrupt(self) -> None:
        """Asks the current run to end after its next update, with a checkpoint, as "interrupted"."""
        self._interrupted.set()

    def abandon(self) -> None:
        """Ends the processes of the current run without waiting for a checkpoint."""
        self._interrupted.set()
        self._kill_workers()

    def close(self) -> None:
        """Ends the current run, if any, and all processes."""
        self._cancelled.set()
        self._kill_workers()

    def run(self, request: RunRequest, on_progress: OnProgress) -> RunResult:
        """The whole run. Never raises for what happens in the run: that is in the result."""
        self._interrupted.clear()
        attempt = _Attempt(request, on_progress)
        try:
            if aside := request.claim_directory():
                logger.warning("%s", moved_text(request.directory, aside, "files of another run or configuration"))
            request.spec.load_plugins()
            return self._run(request.spec, attempt)
        except _Interrupted:
            self._kill_workers()
            return attempt.interrupted()
        except (Exception, SystemExit, KeyboardInterrupt) as error:  # a trial ends here
            self._kill_workers()
            failure = error.failure if isinstance(error, RankFailed) else classify(error)
            if not isinstance(error, RunError | RankFailed):
                logger.exception("run %s failed", request.spec.run)
            return attempt.failed(failure)

    def evaluate(self, request: RunRequest) -> RunResult:
        """Only the evaluation, of the newest checkpoint. Never raises for what happens in it."""
        attempt = _Attempt(request, lambda progress: None)
        try:
            request.spec.load_plugins()
            return self._evaluate(self._workers_for(request.spec, attempt), request.spec, attempt)
        except (Exception, SystemExit, KeyboardInterrupt) as error:  # an evaluation ends here
            self._kill_workers()
            failure = error.failure if isinstance(error, RankFailed) else classify(error)
            logger.exception("evaluation of %s failed", request.spec.run)
            return attempt.failed(failure)

    def _run(self, spec: RunSpec, attempt: _Attempt) -> RunResult:
        restarts, last = 0, None
        while True:
            try:
                workers = self._workers_for(spec, attempt)
                trained = self._train(workers, spec, attempt)
                if not all(rank.complete for rank in trained):
                    return attempt.interrupted()
                if not spec.kind.plays_suite:
                    return attempt.reported(spec, trained[0].reported)
                return self._evaluate(workers, spec, attempt)
            except (InfrastructureFailure, RankFailed) as error:
                failure = error.failure if isinstance(error, RankFailed) else classify(error)
                self._kill_workers()
                if self._interrupted.is_set():
                    raise _Interrupted from error
                if same_ending(last, failure):
                    raise RankFailed(twice(failure)) from error
                last = failure
                is_final = isinstance(error, NodeLost) or restarts >= spec.resources.max_restarts
                if failure.kind is not FailureKind.INFRASTRUCTURE or is_final or self._cancelled.is_set():
                    raise
                restarts += 1
                attempt.restarted()
                logger.warning(
                    "run %s: %s; going on from the last checkpoint (%d)", spec.run, failure.message, restarts
                )

    def _workers_for(self, spec: RunSpec, attempt: _Attempt) -> WorkerGroup:
        key = worker_group_key(spec)
        if self._workers is not None and not self._workers.may_run(key):
            self._kill_workers()
        if self._workers is None:
            self._workers = WorkerGroup.start(self._placement, key, spec.run, self._check_start)
            self._check_start()
        attempt.placed(self._workers)
        return self._workers

    def _check_start(self) -> None:
        if self._cancelled.is_set() or self._interrupted.is_set():
            raise InfrastructureFailure("stopped while workers were starting")
        self._check_places()

    def _train(self, workers: WorkerGroup, spec: RunSpec, attempt: _Attempt) -> list[Trained]:
        asked = False
        watch = _StallWatch(workers, spec)

        def tick() -> None:
            nonlocal asked
            if self._interrupted.is_set() and not asked:
                asked = True
                workers.stop_soon()
            attempt.tell(workers.progress())
            watch.look()

        pending = workers.call("train", replace(attempt.request, rendezvous=workers.rendezvous()))
        trained: list[Trained] = self._wait(workers, pending, tick, attempt)
        attempt.tell(workers.progress())
        attempt.trained(trained)
        return trained

    def _evaluate(self, workers: WorkerGroup, spec: RunSpec, attempt: _Attempt) -> RunResult:
        watch = _StallWatch(workers, spec)

        def tick() -> None:
            if self._interrupted.is_set():
                raise _Interrupted  # the last checkpoint is complete: the next attempt only evaluates
            workers.progress()  # there is none, but a rank that hangs does not answer
            watch.look()

        tick()
        evaluated: list[EvaluatedShare] = self._wait(workers, workers.call("evaluate", attempt.request), tick, attempt)
        episodes = sorted((e for rank in evaluated for e in rank.episodes), key=lambda e: (e.simulation, e.index))
        attempt.evaluated(evaluated)
        if not spec.suite.metrics:
            return attempt.completed(spec, episodes, metrics(spec.suite, episodes))
        # Custom metrics are somebody's code: a rank calls them, for its end would be seen there.
        pending = [workers.measure(attempt.request, episodes)]
        return attempt.completed(spec, episodes, dict(self._wait(workers, pending, tick, attempt)[0]))

    @staticmethod
    def _wait(workers: WorkerGroup, pending: list[Any], tick: Callable[[], None], attempt: _Attempt) -> list[Any]:
        """As `WorkerGroup.wait`; of a worker that ended itself the error says how."""
        try:
            return workers.wait(pending, tick)
        except (InfrastructureFailure, RankFailed) as error:
            kind = error.failure.kind if isinstance(error, RankFailed) else FailureKind.INFRASTRUCTURE
            ending = find_ending(attempt.logs) if kind is FailureKind.INFRASTRUCTURE else None
            if ending is None:
                raise
            raise WorkerEnded(f"a worker ended with {ending}", str(ending)) from error

    def _kill_workers(self) -> None:
        workers, self._workers = self._workers, None
        if workers is not None:
            workers.kill()


class _StallWatch:
    """Ends the wait for ranks that do not come forward.

    Programs that are not ours may be silent as long as they like.
    """

    def __init__(self, workers: WorkerGroup, spec: RunSpec) -> None:
        self._workers = workers
        self._patience = spec.resources.stall_seconds if spec.kind.plays_suite else math.inf
        self._look_at = time.monotonic()

    def look(self) -> None:
        """Asks at most once a second.

        Raises:
            CodeFailure: episodes of the suite do not end.
            InfrastructureFailure: something else hangs.
        """
        if math.isinf(self._patience) or time.monotonic() < self._look_at:
            return
        self._look_at = time.monotonic() + LOOK_SECONDS
        stalled = [beat for beat in self._workers.beats() if beat.idle_seconds > self._patience]
        for beat in stalled:  # the others wait for it
            if beat.suite:
                raise stalled_evaluation(beat)
        if stalled:
            why = next((beat.because for beat in stalled if beat.because), "")
            raise InfrastructureFailure(f"no update for {self._patience:.0f} s: training hangs{why}")


class _Attempt:
    """Bookkeeping of one attempt: what was spent, what survived, what is told."""

    def __init__(self, request: RunRequest, on_progress: OnProgress) -> None:
        self.request, self._run = request, request.spec.run
        self._on_progress = on_progress
        self.logs: list[tuple[Path, int]] = []  # of the ranks, and where each ended when these workers began
        self._nodes: tuple[str, ...] = ()
        self._num_gpus = 0.0
        self._lost = Costs()  # of groups of workers that died within this attempt
        self._spent = Costs()  # of the living workers
        self._base = Costs()  # of earlier work that survived
        self._curve: tuple[Point, ...] = ()
        self._env_steps = 0

    def placed(self, workers: WorkerGroup) -> None:
        self._nodes = tuple(place.host for place in workers.places)
        self.logs = sizes(self.request.files.log(rank) for rank in range(workers.key.world_size))
        self._num_gpus = workers.key.gpus_per_worker * workers.key.world_size
        ranks = [{"rank": rank, **asdict(place), "gpus": list(place.gpus)} for rank, place in enumerate(workers.places)]
        content = {"run": self._run, "attempt": self.request.attempt, "ranks": ranks}
        write_yaml(self.request.files.dist(self.request.attempt), content)

    def tell(self, heard: list[Progress]) -> None:
        for progress in heard:
            self._spent = progress.attempt_costs
            self._env_steps = progress.env_steps
            self._curve += (progress.point,) if progress.point else ()
            costs = add(self._lost, progress.attempt_costs)
            self._on_progress(replace(progress, attempt_costs=costs, nodes=self._nodes))

    def restarted(self) -> None:
        self._lost, self._spent = add(self._lost, self._spent), Costs()

    def trained(self, ranks: list[Trained]) -> None:
        self._spent = over_ranks([rank.costs for rank in ranks], self._num_gpus)
        self._base, self._curve, self._env_steps = ranks[0].base_costs, ranks[0].curve, ranks[0].env_steps

    def evaluated(self, ranks: list[EvaluatedShare]) -> None:
        self._spent = add(self._spent, over_ranks([rank.costs for rank in ranks], self._num_gpus))

    def completed(self, spec: RunSpec, episodes: list[PlayedEpisode], found: Mapping[str, float]) -> RunResult:
        score, error = score_of(spec.metric, found), standard_error(spec.suite, episodes, spec.metric)
        if not math.isfinite(score):
            raise HyperparameterFailure(f"the suite reported {spec.metric}={score}")
        self._write_evaluation(spec, episodes, found, error)
        result = self._unfinished(Outcome.COMPLETED)
        curve = (*self._curve, Point(self._env_steps, result.costs.train, score, error))
        return replace(result, score=score, metrics=dict(found), standard_error=error, curve=curve)

    def reported(self, spec: RunSpec, latest: Mapping[str, float]) -> RunResult:
        """What a program said last is its result."""
        score = latest[spec.metric]
        results = {"run": self._run, "metric": spec.metric, "score": score, "metrics": dict(latest)}
        write_yaml(self.request.files.eval_results, {**results, "costs": asdict(self._costs())})
        result = self._unfinished(Outcome.COMPLETED)
        error = self._curve[-1].score_se if self._curve else None
        return replace(result, score=score, metrics=dict(latest), standard_error=error)

    def _write_evaluation(
        self, spec: RunSpec, episodes: list[PlayedEpisode], found: Mapping[str, float], error: float | None
    ) -> None:
        files = self.request.files
        simulations = {
            sim.name: {"env": sim.path, "episodes": sim.episodes, **sim.options} for sim in spec.suite.simulations
        }
        suite = {**{key: getattr(spec.suite, key) for key in ("name", "seed", "greedy")}, "simulations": simulations}
        what = {"run": self._run, "metric": spec.metric}
        write_yaml(files.eval_config, {**what, "env_steps": self._env_steps, "sim": suite})
        results = {**what, "score": found[spec.metric], "standard_error": error, "episodes": len(episodes)}
        write_yaml(files.eval_results, {**results, "metrics": dict(found), "costs": asdict(self._costs())})
        stats_db.write(files.stats_db, self._run, spec.suite.name, episodes)

    def interrupted(self) -> RunResult:
        return self._unfinished(Outcome.INTERRUPTED)

    def failed(self, failure: Failure) -> RunResult:
        is_lost = failure.kind is FailureKind.INFRASTRUCTURE  # it goes on elsewhere, from its checkpoint
        result = self._unfinished(Outcome.INTERRUPTED if is_lost else Outcome.FAILED)
        kind, signature, message = failure.kind, failure.signature, failure.message
        log_tail = self.request.files.log_tail()
        return replace(result, failure=kind, signature=signature, message=message, log_tail=log_tail)

    def _unfinished(self, outcome: Outcome) -> RunResult:
        return RunResult(
            outcome=outcome,
            score=None,
            costs=self._costs(),
            attempt_costs=add(self._lost, self._spent),
            curve=self._curve,
            env_steps=self._env_steps,
            nodes=self._nodes,
        )

    def _costs(self) -> Costs:
        return add(self._base, self._spent)
