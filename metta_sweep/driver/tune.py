"""Ray Tune around the state machine: what Tune asks and tells goes to the machine, what that starts goes to Tune.

Every private part of Ray and Tune that the driver touches is touched in this file. Nothing here computes, and nothing
waits for disk or registry: `suggest` waits for the machine's answer, about a second at most.
"""

from __future__ import annotations

import json
import logging
import queue
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import ray
from ray import tune
from ray.tune import Callback, Stopper
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher
from ray.util import placement_group_table
from ray.util.metrics import Gauge

from metta_sweep.capacity import bundles
from metta_sweep.config.job import SweepJob
from metta_sweep.driver import messages as ms
from metta_sweep.driver.display import GAUGES, readings
from metta_sweep.driver.workers import StateMachine
from metta_sweep.ray_cluster.cluster import ClusterNodes
from metta_sweep.registry.records import JsonObject
from trainables import faults
from trainables.ray_internals import node_of_actor
from trainables.resources import Resources
from trainables.result import Outcome, Progress, RunResult

logger = logging.getLogger(__name__)

FINISHED = str(Searcher.FINISHED)  # what Tune takes for "no more"
NODE_ID = "ray.io/node-id"  # a label that Ray gives each node
ACTOR_ID = re.compile(r"^(?:\tactor_id: |The actor )([0-9a-f]{32})\b", re.M)  # in the text of Ray's errors about actors
# The machine answers within a second; after a little more Tune's loop turns even while the machine waits for a disk.
ANSWER_SECONDS = 1.5
COUNT_SECONDS = 2.0  # a guess: Ray is asked for its nodes over the network, and a new node takes minutes to come
TURN_SECONDS = 0.1  # a guess: Tune turns many times a second, and the machine need not hear of each
CHECKPOINT_SECONDS = 30.0  # a guess: enough for a policy on a slow shared disk, and a person waits for it after Ctrl-C

# Tune's own bookkeeping, switched off: the registry is the truth, and 10,000 trials in one JSON file are not.
TUNE_ENVIRONMENT = {
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",
    "TUNE_MAX_PENDING_TRIALS_PG": "100000",  # the search itself starts no more runs than there are slots
    "TUNE_GLOBAL_CHECKPOINT_S": "1000000000",
    "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
}


@dataclass(frozen=True, slots=True)
class Link:
    """What Tune's parts share.

    Attributes:
        answers: of the machine to `SlotFree`.
        ended_on: where runs were whose end Tune tells next, by id.
    """

    machine: StateMachine
    answers: queue.SimpleQueue[ms.ForTune]
    nodes: ClusterNodes
    ended_on: dict[str, frozenset[str]] = field(default_factory=dict)

    def see_capacity(self) -> None:
        """Tell the machine which nodes there are now."""
        self.machine.post(ms.CapacitySeen(self.nodes.living(), self.nodes.leaving()))

    def raise_what_failed(self) -> None:
        """Raises whatever ended a thread of the driver."""
        if self.machine.state.error is not None:
            raise self.machine.state.error


class NotPickled:
    """Tune pickles its parts into a snapshot that nobody reads."""

    def __getstate__(self) -> dict[str, Any]:
        return {}


class SweepSearch(NotPickled, Searcher):  # type: ignore[misc]  # ray is not typed
    """Gives Tune the runs that the machine starts, and passes on what Tune tells."""

    def __init__(self, link: Link) -> None:
        super().__init__(metric="score", mode="max")  # Tune wants some; the optimiser has its own direction
        self._link = link
        self._machine = link.machine
        self._runs: dict[str, str] = {}
        self._results: dict[str, RunResult] = {}
        self._is_asking = False

    def set_search_properties(self, metric: str | None, mode: str | None, config: dict[str, Any], **spec: Any) -> bool:
        return True

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """The next run's configuration, whose start is on disk by now; None when there is none now.

        Raises whatever ended a thread of the driver.
        """
        if not self._is_asking:
            if len(self._runs) >= self._machine.state.capacity.wanted:
                return None  # as Tune counts: the machine may not have heard of an end yet
            self._machine.post(ms.SlotFree())
            self._is_asking = True
        try:
            answer = self._link.answers.get(timeout=ANSWER_SECONDS)
        except queue.Empty:
            return None  # the next call takes the answer
        self._is_asking = False
        self._link.raise_what_failed()
        if isinstance(answer, ms.NoRun):
            return FINISHED if answer.for_good else None
        assert isinstance(answer, ms.Start)
        self._runs[trial_id] = answer.run.id
        return {"run": {**answer.run.trial, "avoid_nodes": list(answer.avoid_nodes)}}

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        if "result_json" in result:
            self._results[trial_id] = RunResult.from_dict(json.loads(result["result_json"]))
        elif trial_id in self._runs and result.get("progress_json"):  # "" when there was no news
            progress = Progress.from_dict(json.loads(result["progress_json"]))
            self._machine.post(ms.Progressed(self._runs[trial_id], progress))

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Also after an error: a run that lost its workers told its result before."""
        run_id, finished = self._runs.pop(trial_id, None), self._results.pop(trial_id, None)
        if run_id is None:
            return
        if result is not None and "result_json" in result:
            finished = RunResult.from_dict(json.loads(result["result_json"]))
        if finished is not None and finished.outcome is Outcome.INTERRUPTED:
            self._link.see_capacity()  # its node is leaving, with the slot
        self._machine.post(ms.RunEnded(run_id, finished, self._link.ended_on.pop(run_id, frozenset()), is_error=error))

    def save(self, checkpoint_path: str) -> None:
        """Nothing: the registry is the truth, Tune's snapshot is not."""
        Path(checkpoint_path).write_text("the registry holds the state of this sweep\n", encoding="utf-8")

    def restore(self, checkpoint_path: str) -> None:
        raise RuntimeError("a sweep continues from its registry: run the same command again")


class SweepScheduler(NotPickled, FIFOScheduler):  # type: ignore[misc]  # ray is not typed
    """First come, first served; ends runs that should end, and sees on which nodes they were."""

    def __init__(self, link: Link) -> None:
        super().__init__()
        self._link = link

    def choose_trial_to_run(self, tune_controller: Any) -> None:
        """Nobody in particular: Tune starts what is pending, and a new run takes the warm process of the last one.

        The base class names the oldest pending run, looking through all that ever were; Tune would give it the warm
        process and throw away the one that is starting for it, so that short runs never filled their slots.
        """

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        stop = self._link.machine.state.should_stop(trial.config["run"]["id"])
        return str(TrialScheduler.STOP if stop else TrialScheduler.CONTINUE)

    def on_trial_error(self, tune_controller: Any, trial: Any) -> None:
        """It lost its trial driver or workers (other failures are in a result); its end is told next."""
        self._link.see_capacity()
        self._link.ended_on[run_id_of(trial)] = nodes_of(tune_controller, trial)

    def on_trial_complete(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> None:
        if self._link.machine.state.capacity.fast_losses:
            self._link.ended_on[run_id_of(trial)] = nodes_of(tune_controller, trial)


class LoopCallback(NotPickled, Callback, Stopper):  # type: ignore[misc]  # ray is not typed
    """Tells the machine that the loop turns, draws, and ends the experiment once it has seen to checkpoints."""

    def __init__(self, link: Link, draw: Callable[[], None]) -> None:
        self._link = link
        self._draw = draw
        self._counted_at = self._told_at = time.monotonic()
        self.may_end = False

    def on_step_end(self, iteration: int, trials: list[Any], **info: Any) -> None:
        faults.point("driver.turn")
        self._draw()
        now = time.monotonic()
        if now - self._counted_at >= COUNT_SECONDS:
            self._counted_at = now
            self._link.see_capacity()
        if now - self._told_at >= TURN_SECONDS:
            self._told_at = now
            self._link.machine.post(turned(trials))
        self._link.raise_what_failed()
        if self._link.machine.state.stop.now and not self.may_end:
            self._link.machine.post(ms.Checkpointed(checkpoint_running(trials)))
            self.may_end = True

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        return False

    def stop_all(self) -> bool:
        return self.may_end

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        forget(trial)

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        forget(trial)


# What the sweep shows in Ray's own dashboard and in Grafana.


PUBLISH_SECONDS = 5.0  # Prometheus asks every 10 s where it is set up as Ray proposes


class MetricsCallback(NotPickled, Callback):  # type: ignore[misc]  # ray is not typed
    """Publishes the gauges of one sweep every `PUBLISH_SECONDS`.

    `hourly_cost`: dollars of a GPU, or of a slot when runs have none; None when unknown.
    """

    def __init__(self, machine: StateMachine, hourly_cost: float | None) -> None:
        self._machine = machine
        self._dollars_per_second = (hourly_cost or 0.0) / 3600.0
        self._published_at = float("-inf")
        self._gauges: dict[str, Gauge] = {}

    def setup(self, **info: Any) -> None:
        for name, tag, description in GAUGES:
            tags = ("sweep", tag) if tag else ("sweep",)
            self._gauges[name] = Gauge(f"metta_sweep_{name}", description, tag_keys=tags)

    def on_step_end(self, iteration: int, trials: list[Any], **info: Any) -> None:
        if time.monotonic() - self._published_at >= PUBLISH_SECONDS:
            self._published_at = time.monotonic()
            self._publish()

    def on_experiment_end(self, trials: list[Any], **info: Any) -> None:
        self._publish()

    def _publish(self) -> None:
        state = self._machine.state
        for reading in readings(state, self._dollars_per_second):
            tags = {"sweep": state.rules.sweep} | ({"state": reading.state} if reading.state else {})
            self._gauges[reading.name].set(reading.value, tags)


def run_tune(
    job: SweepJob,
    link: Link,
    search: SweepSearch,
    *,
    trainable: type,
    draw: Callable[[], None],
    callbacks: Sequence[Callback],
) -> None:
    """One Tune experiment; nothing of it needs to outlive this call."""
    callback = LoopCallback(link, draw)
    tune.run(
        tune.with_resources(trainable, partial(placement, job.resources)),
        name="tune",
        storage_path=str(job.directory / ".ray"),
        config={},
        num_samples=-1,
        search_alg=search,
        scheduler=SweepScheduler(link),
        callbacks=[callback, *callbacks],
        stop=callback,
        reuse_actors=True,
        raise_on_failed_trial=False,
        verbose=0,
        trial_name_creator=run_id_of,
        trial_dirname_creator=run_id_of,
    )


def placement(resources: Resources, config: Mapping[str, Any]) -> Any:
    """Tune's placement group for one trial: a bundle a rank, on nodes with the labels asked for, on none avoided."""
    avoided = config.get("run", {}).get("avoid_nodes", ())
    labels = resources.labels | ({NODE_ID: f"!in({','.join(avoided)})"} if avoided else {})
    selector = {"bundle_label_selector": [labels] * resources.world_size} if labels else {}
    return tune.PlacementGroupFactory(bundles(resources), strategy=resources.strategy, **selector)


def run_id_of(trial: Any) -> str:
    """Trial and directory carry the run's name."""
    return str(trial.config["run"]["id"]) if "run" in trial.config else str(trial.trial_id)


def turned(trials: Sequence[Any]) -> ms.LoopTurned:
    """Which runs wait for a place, and how many have one."""
    waiting = tuple(trial.config["run"]["id"] for trial in trials if trial.status == "PENDING")
    return ms.LoopTurned(waiting, sum(trial.status == "RUNNING" for trial in trials))


def nodes_of(controller: Any, trial: Any) -> frozenset[str]:
    """Ids of the nodes that a trial is on, or was when its actor died; empty when Ray does not know.

    Tune tells nobody where a trial is, and of a dead actor only the id in its error is left: so both are read from
    Ray's own tables.
    """
    actor = controller._trial_to_actor.get(trial)
    acquired = controller._actor_manager.get_actor_resources(actor) if actor is not None else None
    if acquired is not None:
        return frozenset(placement_group_table(acquired.placement_group)["bundles_to_node_id"].values())
    actor_id = dead_actor(Path(trial.error_file)) if trial.error_file else None
    return frozenset({node_of_actor(actor_id)} - {""} if actor_id else ())


def dead_actor(error_file: Path) -> str | None:
    """Id of the actor in the text that Tune wrote about a trial's last error.

    The error itself lies beside it as a pickle, which is not loaded: whoever may write there could run code here.
    """
    try:
        found = ACTOR_ID.findall(error_file.read_text(encoding="utf-8", errors="replace"))
    except FileNotFoundError:
        return None
    return str(found[-1]) if found else None


def forget(trial: Any) -> None:
    """Of an ended trial only the run's id is asked again, but Tune keeps it for ever, its configuration three times."""
    trial.config = {"run": {"id": trial.config["run"]["id"]}}
    trial.evaluated_params = {}
    for key in ("config", "result_json", "progress_json"):
        trial.run_metadata.last_result.pop(key, None)


def checkpoint_running(trials: Sequence[Any]) -> dict[str, JsonObject]:
    """Ask every running run to write a checkpoint, and wait for all of them, at most `CHECKPOINT_SECONDS`.

    Returns what the current attempt of each run had cost then; runs that did not answer in time are left out.
    """
    running = [trial for trial in trials if trial.status == "RUNNING" and trial.temporary_state.ray_actor is not None]
    actors = {trial.config["run"]["id"]: trial.temporary_state.ray_actor for trial in running}
    pending = {actor.checkpoint_now.remote(CHECKPOINT_SECONDS): run_id for run_id, actor in actors.items()}
    done, late = ray.wait(list(pending), num_returns=len(pending), timeout=CHECKPOINT_SECONDS) if pending else ([], [])
    costs: dict[str, JsonObject] = {}
    for reference in done:
        try:
            costs[pending[reference]] = ray.get(reference).get("attempt_costs", {})
        except ray.exceptions.RayError as error:
            logger.warning("a run could not write a checkpoint: %s", error)
    if late:
        text = "no checkpoint within %.0f s from %s; each goes on from its last one"
        logger.warning(text, CHECKPOINT_SECONDS, ", ".join(sorted(pending[one] for one in late)))
    return costs
