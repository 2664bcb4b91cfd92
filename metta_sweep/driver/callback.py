"""What happens at each turn of Tune's loop: table, slots, runs without a place; and checkpoints before an orderly
end.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import ray
from ray.tune import Callback, Stopper

from metta_sweep.driver.control import Control
from metta_sweep.driver.placement import PlacementWatch
from metta_sweep.driver.slots import Slots
from metta_sweep.registry.records import JsonObject
from trainables import faults

logger = logging.getLogger(__name__)

CHECKPOINT_SECONDS = 30.0
OnCheckpoint = Callable[[str, JsonObject], None]  # (run id, costs of its attempt)


class LoopCallback(Callback):  # type: ignore[misc]  # ray is not typed
    """Keeps the control informed that the loop turns, draws, and ends the experiment in order."""

    def __init__(
        self,
        control: Control,
        slots: Slots,
        watch: PlacementWatch,
        draw: Callable[[], None],
        on_checkpoint: OnCheckpoint,
    ) -> None:
        self._control = control
        self._slots = slots
        self._watch = watch
        self._draw = draw
        self._on_checkpoint = on_checkpoint
        self.may_end = False

    def on_step_end(self, iteration: int, trials: list[Any], **info: Any) -> None:
        faults.point("driver.turn")
        self._control.loop_is_alive()
        self._draw()
        self._slots.look()
        waiting = [trial.config["run"]["id"] for trial in trials if trial.status == "PENDING"]
        self._watch.look(waiting, num_running=sum(trial.status == "RUNNING" for trial in trials))
        if self._control.stop_now and not self.may_end:
            for run_id, costs in checkpoint_running(trials).items():
                self._on_checkpoint(run_id, costs)
            self.may_end = True

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        forget(trial)

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        forget(trial)

    def __getstate__(self) -> dict[str, Any]:
        return {}  # Tune pickles it into a snapshot that nobody reads


class StopWhenCheckpointed(Stopper):  # type: ignore[misc]  # ray is not typed
    """Ends the experiment once `LoopCallback` has seen to the checkpoints."""

    def __init__(self, callback: LoopCallback) -> None:
        self._callback = callback

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        return False

    def stop_all(self) -> bool:
        return self._callback.may_end

    def __getstate__(self) -> dict[str, Any]:
        return {}


def forget(trial: Any) -> None:
    """Of a trial that ended only the run's id is asked again, but Tune keeps trials for ever, each with its
    configuration three times.
    """
    trial.config = {"run": {"id": trial.config["run"]["id"]}}
    trial.evaluated_params = {}
    for key in ("config", "result_json", "progress_json"):
        trial.run_metadata.last_result.pop(key, None)


def checkpoint_running(trials: list[Any]) -> dict[str, JsonObject]:
    """Ask every running run to write a checkpoint, and wait for all of them, at most `CHECKPOINT_SECONDS`.

    Returns what the current attempt of each run had cost then; runs that did not answer in time are left out.
    """
    running = [trial for trial in trials if trial.status == "RUNNING" and trial.temporary_state.ray_actor is not None]
    pending = {
        trial.temporary_state.ray_actor.checkpoint_now.remote(CHECKPOINT_SECONDS): trial.config["run"]["id"]
        for trial in running
    }
    done, late = ray.wait(list(pending), num_returns=len(pending), timeout=CHECKPOINT_SECONDS) if pending else ([], [])
    costs: dict[str, JsonObject] = {}
    for reference in done:
        try:
            costs[pending[reference]] = ray.get(reference).get("attempt_costs", {})
        except ray.exceptions.RayError as error:
            logger.warning("a run could not write a checkpoint: %s", error)
    if late:
        logger.warning(
            "%d run(s) wrote no checkpoint within %.0f s; they go on from their last one", len(late), CHECKPOINT_SECONDS
        )
    return costs
