"""The ranks of a run as actors on the bundles of one placement group: started, watched and killed together."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import ray
from ray.exceptions import GetTimeoutError, OutOfMemoryError, RayError
from ray.util.placement_group import PlacementGroup
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from trainables.errors import HyperparameterFailure, InfrastructureFailure, RunError
from trainables.failures import Failure
from trainables.messages import RankAssignment, RankPlace, Rendezvous, RunRequest
from trainables.pulse import Beat
from trainables.rank_actor import RankActor
from trainables.simulation.aggregate import PlayedEpisode
from trainables.spec import RunSpec

logger = logging.getLogger(__name__)

START_SECONDS = 180.0  # a loaded node needs a minute to start many Python processes that import torch
MAX_RUNS = 50  # of one set of worker processes: leaks that memory does not show end with it; a round number, not tuned
MAX_GROWTH = 1.2  # of its memory since the first run: beyond 20 % workers are made anew; not tuned
_RENDEZVOUS_ATTEMPTS = 3  # another program may take the port meanwhile; a round number, not tuned
_GRACE_SECONDS = 2.0  # for the other ranks to say how they ended; not tuned
ANSWER_SECONDS = 5.0  # to answer a question that costs nothing: a worker that does not is stuck; not tuned
SILENCE_FACTOR = 2.0  # other ranks notice a hanging one after one timeout, and say more about it


@dataclass(frozen=True, slots=True)
class WorkerGroupKey:
    """Runs with equal keys may use the same processes."""

    code_version: str
    kind: str
    environment: str
    device: str
    world_size: int
    cpus_per_worker: float
    gpus_per_worker: float
    collective_timeout_seconds: float


class RankFailed(Exception):
    """A rank reported a failure instead of a result."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.message)
        self.failure = failure


class WorkerGroup:
    """A group of ranks, ready to run. `key` says which runs may use it, `places` where the ranks are."""

    def __init__(self, key: WorkerGroupKey, workers: Sequence[Any], places: Sequence[RankPlace]) -> None:
        self.key, self.places = key, tuple(places)
        self._workers = list(workers)
        self._num_runs = 0
        self._first_memory: int | None = None
        self._last_answer = time.monotonic()

    @classmethod
    def start(cls, group: PlacementGroup, key: WorkerGroupKey, name: str, check: Callable[[], None]) -> WorkerGroup:
        """Starts one actor per bundle and joins them; rank r lives on bundle r.

        Args:
            group: where.
            key: of the runs that may use the group.
            name: of the run that it is started for.
            check: called about every second meanwhile; may raise to end the wait.

        Raises:
            InfrastructureFailure: the actors did not start or did not find each other.
        """
        actor = ray.remote(concurrency_groups={"control": 1})(RankActor)
        workers = [
            actor.options(
                name=f"{name}/rank{rank}/{time.time_ns()}",
                num_cpus=key.cpus_per_worker,
                num_gpus=key.gpus_per_worker,
                max_restarts=0,
                scheduling_strategy=PlacementGroupSchedulingStrategy(group, placement_group_bundle_index=rank),
            ).remote()
            for rank in range(key.world_size)
        ]
        try:
            places = _wait_for([worker.place.remote() for worker in workers], START_SECONDS, check)
            _join(workers, places, key, check)
        except BaseException:
            _kill(workers)
            raise
        return cls(key, workers, places)

    def call(self, method: str, request: RunRequest) -> list[Any]:
        """Calls the method on every rank at once; returns the pending results, in order of rank.

        An actor keeps the name of the run that it was started for; the call carries that of this run, for Ray's
        dashboard.
        """
        self._num_runs += method == "train"
        self._last_answer = time.monotonic()
        name = f"{RankActor.__name__}.{method} {request.spec.run}"
        return [getattr(worker, method).options(name=name).remote(request) for worker in self._workers]

    def measure(self, request: RunRequest, episodes: Sequence[PlayedEpisode]) -> Any:
        """Asks rank 0 for all metrics of these episodes; returns the pending result."""
        name = f"{RankActor.__name__}.measure {request.spec.run}"
        return self._workers[0].measure.options(name=name).remote(request, list(episodes))

    def rendezvous(self) -> tuple[str, int] | None:
        """Address and free port of rank 0, for several ranks of a program that find each other; None for one.

        Raises:
            InfrastructureFailure: rank 0 is gone.
        """
        if self.key.world_size == 1:
            return None
        return self.places[0].address, _wait_for([self._workers[0].free_port.remote()], START_SECONDS)[0]

    def wait(self, pending: list[Any], on_tick: Callable[[], None], tick_seconds: float = 0.2) -> list[Any]:
        """Results of all ranks; the first rank that fails ends the wait, whichever rank it is.

        Args:
            pending: as `call` returned it.
            on_tick: called every `tick_seconds`; may raise to end the wait.
            tick_seconds: how often.

        Raises:
            RankFailed: a rank reported a failure.
            InfrastructureFailure: an actor or its node died.
            HyperparameterFailure: Ray killed an actor because its node ran out of memory.
        """
        waiting = list(pending)
        while waiting:
            ready, waiting = ray.wait(waiting, num_returns=len(waiting), timeout=tick_seconds)
            failures = _failures(ready)
            if failures:
                late, _ = ray.wait(waiting, num_returns=len(waiting), timeout=_GRACE_SECONDS) if waiting else ([], [])
                raise max(failures + _failures(late), key=_weight)
            on_tick()
        return list(ray.get(pending))

    def progress(self) -> list[Any]:
        """Progress that rank 0 has not told yet.

        Raises:
            InfrastructureFailure: rank 0 has not answered for so long that it must hang.
        """
        try:
            told = list(ray.get(self._workers[0].progress.remote(), timeout=ANSWER_SECONDS))
        except GetTimeoutError as error:
            silent = time.monotonic() - self._last_answer
            if silent > SILENCE_FACTOR * self.key.collective_timeout_seconds:
                raise InfrastructureFailure(f"rank 0 has not answered for {silent:.0f} s: it hangs") from error
            return []
        except RayError:
            return []  # its death is seen, and named, by whoever waits for its result
        self._last_answer = time.monotonic()
        return told

    def beats(self) -> list[Beat]:
        """What the ranks do; nothing when one of them does not answer, which others notice."""
        try:
            return list(ray.get([worker.beat.remote() for worker in self._workers], timeout=ANSWER_SECONDS))
        except (GetTimeoutError, RayError):
            return []

    def stop_soon(self) -> None:
        """Asks rank 0 to end training after its current update."""
        self._workers[0].stop_soon.remote()

    def may_run(self, key: WorkerGroupKey) -> bool:
        """Whether a run with this key may use these processes: the same kind, not too many before, memory not grown."""
        if key != self.key or self._num_runs >= MAX_RUNS:
            return False
        try:
            memory = max(ray.get([worker.memory_bytes.remote() for worker in self._workers], timeout=5.0))
        except RayError:
            return False
        self._first_memory = self._first_memory or memory
        return bool(memory <= MAX_GROWTH * self._first_memory)

    def kill(self) -> None:
        """Ends every rank's process now."""
        _kill(self._workers)


def _weight(error: Exception) -> int:
    if isinstance(error, RankFailed):
        return error.failure.weight
    return 1 if isinstance(error, HyperparameterFailure) else 0


def _failures(ready: list[Any]) -> list[Exception]:
    """What went wrong in finished calls."""
    found: list[Exception] = []
    for result in ready:
        try:
            value = ray.get(result)
        except OutOfMemoryError as error:
            found.append(HyperparameterFailure(f"a worker used up the memory of its node: {_first_line(error)}"))
        except RayError as error:
            found.append(InfrastructureFailure(f"a worker was lost: {_first_line(error)}"))
        else:
            if isinstance(value, Failure):
                found.append(RankFailed(value))
    return found


def _join(workers: list[Any], places: list[RankPlace], key: WorkerGroupKey, check: Callable[[], None]) -> None:
    """Lets all ranks find each other; a lost race or a slow node is tried again with a fresh port."""
    assignments = _assignments(places, key)
    for attempt in range(1, _RENDEZVOUS_ATTEMPTS + 1):
        rendezvous = Rendezvous(places[0].address, 0, key.collective_timeout_seconds)
        try:
            if key.world_size > 1:
                opened = workers[0].open_rendezvous.remote(rendezvous, key.world_size)
                rendezvous = replace(rendezvous, port=_wait_for([opened], START_SECONDS, check)[0])
            pairs = zip(workers, assignments, strict=True)
            joining = [worker.join.remote(assignment, rendezvous) for worker, assignment in pairs]
            _wait_for(joining, START_SECONDS, check)
        except InfrastructureFailure as error:
            if attempt == _RENDEZVOUS_ATTEMPTS:
                raise
            check()
            logger.warning("rendezvous attempt %d failed, trying again: %s", attempt, error)
        else:
            return


def _assignments(places: Sequence[RankPlace], key: WorkerGroupKey) -> list[RankAssignment]:
    """Numbers the ranks, and those of each node."""
    seen: Counter[str] = Counter()
    assignments = []
    for rank, place in enumerate(places):
        assignments.append(RankAssignment(rank, seen[place.node], key.world_size, key.gpus_per_worker, key.device))
        seen[place.node] += 1
    return assignments


def _wait_for(calls: list[Any], seconds: float, check: Callable[[], None] = lambda: None) -> list[Any]:
    """Results of calls that only fail with the infrastructure."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            return list(ray.get(calls, timeout=1.0))
        except GetTimeoutError as error:
            check()
            if time.monotonic() > deadline:
                late = f"workers did not start within {seconds:.0f} s"
                raise InfrastructureFailure(f"{late}; is the node overloaded?") from error
        except RayError as error:
            cause = getattr(error, "cause", None)
            if isinstance(cause, RunError):
                raise cause from error
            raise InfrastructureFailure(f"a worker did not start: {_first_line(cause or error)}") from error


def _first_line(error: BaseException) -> str:
    lines = [line for line in str(error).strip().splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0] if lines else ''}"


def _kill(workers: Sequence[Any]) -> None:
    for worker in workers:
        ray.kill(worker, no_restart=True)


def worker_group_key(spec: RunSpec) -> WorkerGroupKey:
    """Of the processes that a run needs."""
    environment, device = spec.kind.processes(spec.trainable, type(spec.environment).__name__, spec.device)
    names = ("world_size", "cpus_per_worker", "gpus_per_worker", "collective_timeout_seconds")
    resources = {name: getattr(spec.resources, name) for name in names}
    return WorkerGroupKey(spec.code_version, spec.kind.name, environment, device, **resources)
