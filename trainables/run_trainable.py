"""The Ray Tune trainable: one trial slot that runs one run after the other, its workers kept alive between them.

Trial config: `{"run": {"id", "attempt", "directory", "spec", "umask", "sweep_id"}}`, see `RunRequest`; `spec` is a
`RunSpec`, or the `SpecError` of a point that makes none. `step` answers
within about a second: while the run is running `{"run_id", "score": nan, "progress_json", "done": False}`, at its end
`{"run_id", "score", "result_json", "done": True}`. A run that fails does not raise: its result says so. One that lost
its workers, or is on a node that will be taken away, says so with `"done": False`, and the next `step` raises: its
placement group may never be whole again, and Tune gives up group and process only after an error.
"""

from __future__ import annotations

import json
import math
import os
import queue
import threading
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from ray import tune
from ray.util import get_current_placement_group

from trainables.disk import PRIVATE
from trainables.errors import InfrastructureFailure, SpecError
from trainables.failures import classify
from trainables.messages import RunRequest
from trainables.preemption import NodeWatch
from trainables.result import Costs, Outcome, Progress, RunResult
from trainables.runner import Runner

STEP_SECONDS = 1.0  # Tune's loop hears from a run at least so often; not tuned


class RunTrainable(tune.Trainable):  # type: ignore[misc]
    """Runs what the config says in the placement group that Tune reserved for the trial."""

    def setup(self, config: dict[str, Any]) -> None:
        group = get_current_placement_group()
        self._nodes = NodeWatch(group)
        self._runner = Runner(group, self._nodes.check)
        self._deadline = threading.Timer(0.0, self._runner.abandon)
        self._code_version = _code_version(config)
        self._begin(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """The next run in the same slot; refused when its code is of another version, since this process has loaded the
        old one.
        """
        self._end_run(timeout=30.0)  # it may have been stopped early: its workers are free after the current update
        if _code_version(new_config) != self._code_version:
            return False
        self._begin(new_config)
        return True

    def _begin(self, config: dict[str, Any]) -> None:
        self._run: dict[str, Any] = config["run"]
        os.umask(int(self._run.get("umask", PRIVATE)))
        self._heard: queue.Queue[Progress | RunResult] = queue.Queue()
        self._latest: Progress | None = None
        self._result: RunResult | None = None
        self._has_told = False
        self._leaving = ""
        self._deadline.cancel()
        self._thread: threading.Thread | None = None

    def step(self) -> dict[str, Any]:
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, args=(self._run, self._heard), daemon=True)
            self._thread.start()
        if self._has_told:
            raise InfrastructureFailure(self._leaving or (self._result.message if self._result else ""))
        if self._result is not None:
            return self._final(self._result)
        self._leave_in_time()
        try:
            told = self._heard.get(timeout=STEP_SECONDS)
        except queue.Empty:
            return self._answer(math.nan, progress_json="", done=False)
        if isinstance(told, RunResult):
            self._result = told
            return self._final(told)
        self._latest = told
        return self._answer(math.nan, progress_json=json.dumps(asdict(told)), done=False)

    def _leave_in_time(self) -> None:
        """A node of this run will be taken away: the run ends as "interrupted", with a checkpoint if that still fits,
        and says why.
        """
        notice = self._nodes.notice() if not self._leaving else None
        if notice is None:
            return
        self._leaving = f"node {notice.node} will be taken away"
        self._runner.interrupt()
        self._deadline = threading.Timer(notice.seconds, self._runner.abandon)
        self._deadline.daemon = True
        self._deadline.start()

    def _work(self, run: Mapping[str, Any], heard: queue.Queue[Progress | RunResult]) -> None:
        if isinstance(run["spec"], SpecError):
            heard.put(_refused(run["spec"]))
        else:
            heard.put(self._runner.run(RunRequest.from_config(run), heard.put))

    def _final(self, result: RunResult) -> dict[str, Any]:
        score = math.nan if result.score is None else result.score
        self._has_told = True
        if result.outcome is Outcome.INTERRUPTED and not result.is_lost and self._leaving:
            result = replace(result, message=self._leaving)
        stays = not result.is_lost and not self._leaving
        return self._answer(score, result_json=json.dumps(result.to_dict()), done=stays)

    def _answer(self, score: float, **rest: Any) -> dict[str, Any]:
        return {"run_id": self._run["id"], "score": score, **rest}

    def checkpoint_now(self, timeout: float = 30.0) -> dict[str, Any]:
        """Ends the run with a durable checkpoint, as "interrupted"; the driver calls it on the actor, between steps.

        Args:
            timeout: seconds to wait for the checkpoint; after that the workers are killed and the last one stays as it
                is.

        Returns:
            `{"costs", "attempt_costs"}` so far, as plain data. The next `step` returns the result.
        """
        self._end_run(timeout)
        self._drain()
        source = self._result or self._latest
        return {"costs": asdict(source.costs), "attempt_costs": asdict(source.attempt_costs)} if source else {}

    def _drain(self) -> None:
        while not self._heard.empty():
            told = self._heard.get()
            if isinstance(told, RunResult):
                self._result = told
            else:
                self._latest = told

    def save_checkpoint(self, checkpoint_dir: str) -> Mapping[str, Any]:
        """A pointer: the real checkpoints are in the run's directory, written as training goes."""
        content = json.dumps({"run_id": self._run["id"], "directory": str(self._run["directory"])})
        Path(checkpoint_dir, "run.json").write_text(content)
        return {}

    def load_checkpoint(self, checkpoint: Any) -> None:
        """Nothing to load: a run goes on from the newest checkpoint in its directory."""
        del checkpoint

    def cleanup(self) -> None:
        self._deadline.cancel()
        self._runner.close()
        if self._thread is not None:
            self._thread.join(10.0)

    def _end_run(self, timeout: float) -> None:
        """Stops the current run, with a checkpoint if it gets that far in time; returns when its thread has ended."""
        if self._thread is None or not self._thread.is_alive():
            return
        self._runner.interrupt()
        self._thread.join(timeout)
        if self._thread.is_alive():
            self._runner.abandon()
            self._thread.join(10.0)

    def __repr__(self) -> str:
        return f"run {self._run['id']}" if hasattr(self, "_run") else "run"


def _code_version(config: Mapping[str, Any]) -> str:
    return str(getattr(config["run"]["spec"], "code_version", ""))


def _refused(error: SpecError) -> RunResult:
    """The end of a run whose point makes no sense together with the rest of its configuration."""
    failure = classify(error)
    ended = RunResult(Outcome.FAILED, None, Costs(), Costs())
    return replace(ended, failure=failure.kind, signature=failure.signature, message=failure.message)
