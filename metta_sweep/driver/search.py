"""`SweepSearch`: what Tune asks for points and tells results.

It only moves things between queues; it never computes or waits for the registry.
"""

from __future__ import annotations

import json
from typing import Any

from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher

from metta_sweep.driver.board import Board
from metta_sweep.driver.clerk import Clerk
from metta_sweep.driver.control import Control
from metta_sweep.driver.fleet import Fleet
from metta_sweep.driver.nodes import NodeBreaker
from metta_sweep.driver.placement import nodes_of
from metta_sweep.driver.slots import RestingSlots
from metta_sweep.driver.stock import Stock
from metta_sweep.registry.records import RunRecord
from trainables.result import Costs, Outcome, Point, Progress, RunResult, Span

FINISHED = str(Searcher.FINISHED)


class SweepSearch(Searcher):  # type: ignore[misc]  # ray is not typed
    """Hands out reserved runs and passes results on to the clerk.

    Args:
        stock: reserved points.
        clerk: writes what happened.
        board: what is known of this driver's runs.
        control: who should stop.
        fleet: how many runs fit, and where none may go.
        resting: slots that wait after a failed run.
    """

    def __init__(
        self,
        stock: Stock,
        clerk: Clerk,
        board: Board,
        control: Control,
        fleet: Fleet,
        resting: RestingSlots,
    ) -> None:
        super().__init__(metric="score", mode="max")  # Tune wants some; the optimiser has its own direction
        self._stock = stock
        self._clerk = clerk
        self._board = board
        self._control = control
        self._fleet = fleet
        self._resting = resting
        self._runs: dict[str, RunRecord] = {}
        self._results: dict[str, RunResult] = {}

    def set_search_properties(self, metric: str | None, mode: str | None, config: dict[str, Any], **spec: Any) -> bool:
        return True

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        if self._control.draining is not None:
            return None if self._runs else FINISHED
        entry = self._stock.pop() if self._has_free_slot() else None
        if entry is None:
            return self._nothing_to_start()
        self._runs[trial_id] = entry.record
        self._board.started(entry.record)
        self._clerk.start(entry)
        self._fleet.breaker.started(entry.record.id)
        return {"run": {**entry.trial, "avoid_nodes": list(self._fleet.avoided())}}

    def _has_free_slot(self) -> bool:
        return len(self._runs) + self._resting.count < self._fleet.slots.wanted

    def _nothing_to_start(self) -> str | None:
        """What Tune is told: the end once no point will come, also while slots rest; else nothing now."""
        verdict = self._stock.exhausted if not self._runs else None
        if verdict is None:
            return None
        self._control.drain(verdict)
        return FINISHED

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        record = self._runs.get(trial_id)
        if "result_json" in result:
            self._results[trial_id] = RunResult.from_dict(json.loads(result["result_json"]))
        elif record is not None and result.get("progress_json"):  # "" when there was no news
            live = self._board.progressed(record.id, read_progress(result["progress_json"]))
            self._clerk.progress(live)

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Also after an error: a run that lost its workers told its result before."""
        record, finished = self._runs.pop(trial_id, None), self._results.pop(trial_id, None)
        if record is None:
            return
        if result is not None and "result_json" in result:
            finished = RunResult.from_dict(json.loads(result["result_json"]))
        if finished is None:
            self._clerk.ended_without_result(record)
            return
        if finished.outcome is Outcome.FAILED:  # a lost run waits itself, see `Clerk`
            self._resting.failed()
        self._clerk.ended(record, finished)

    @property
    def unfinished(self) -> list[RunRecord]:
        """Runs that Tune never told the end of."""
        return list(self._runs.values())

    def save(self, checkpoint_path: str) -> None:
        """Nothing: the registry is the truth, Tune's snapshot is not."""
        with open(checkpoint_path, "w", encoding="utf-8") as file:
            file.write("the registry holds the state of this sweep\n")

    def restore(self, checkpoint_path: str) -> None:
        raise RuntimeError("a sweep continues from its registry: run the same command again")

    def __getstate__(self) -> dict[str, Any]:
        return {}


class SweepScheduler(FIFOScheduler):  # type: ignore[misc]  # ray is not typed
    """First come, first served; ends runs that the control wants ended, and tells the breaker how runs ended on their
    nodes.
    """

    def __init__(self, control: Control, breaker: NodeBreaker) -> None:
        super().__init__()
        self._control = control
        self._breaker = breaker

    def choose_trial_to_run(self, tune_controller: Any) -> None:
        """Nobody in particular: Tune starts what is pending, and a new run takes the warm process that the last one
        left.

        The base class names the oldest pending run, looking through all that ever were; Tune would give it the warm
        process and throw away the one that is starting for it, so that short runs never filled their slots.
        """

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        stop = self._control.should_stop(trial.config["run"]["id"])
        return str(TrialScheduler.STOP if stop else TrialScheduler.CONTINUE)

    def on_trial_error(self, tune_controller: Any, trial: Any) -> None:
        """It lost its trial driver or its workers; a run that fails for another reason says so in its result."""
        self._breaker.lost(trial.config["run"]["id"], nodes_of(tune_controller, trial))

    def on_trial_complete(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> None:
        self._breaker.went_well(trial.config["run"]["id"], lambda: nodes_of(tune_controller, trial))

    def __getstate__(self) -> dict[str, Any]:
        return {}


def read_progress(text: str) -> Progress:
    """Progress as the trainable wrote it."""
    data = json.loads(text)
    point = data.get("point")
    return Progress(
        env_steps=data["env_steps"],
        total_env_steps=data["total_env_steps"],
        steps_per_second=data["steps_per_second"],
        losses=data["losses"],
        point=Point(point["env_steps"], Span(**point["train"]), point["score"]) if point else None,
        costs=Costs.from_dict(data["costs"]),
        attempt_costs=Costs.from_dict(data["attempt_costs"]),
        nodes=tuple(data["nodes"]),
    )
