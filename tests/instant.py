"""A Ray trainable that ends at once: for what the driver does around runs, not for what happens inside them."""

from __future__ import annotations

import json
import math
import os
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ray import get_runtime_context, tune

from trainables.result import Costs, FailureKind, Outcome, Point, Progress, RunResult, Span
from trainables.spec import RunSpec

CUT_OFF = Costs(train=Span(7.0, 7.5, 0.0))  # of an attempt that was asked to write a checkpoint


class InstantTrainable(tune.Trainable):
    """Scores `-log10(lr / 0.003)^2`, costs a virtual second per 1,000 steps, and writes its process and node id beside
    its run.

    `instant.json` in the data directory holds `behaviour` (complete, code, hyperparameters, die_first,
    lose_workers_first, end_themselves), `behaviours` (of single runs, by number), `sleep_seconds` and `bad_node`, the
    id of a node on which every run dies at once. While there is a file `hold` beside it, runs wait.
    """

    def setup(self, config: dict[str, Any]) -> None:
        self._run = config["run"]
        self._steps_done = 0

    def step(self) -> dict[str, Any]:
        spec = self._run["spec"]
        if isinstance(spec, dict):  # plain Tune, which the benchmark compares with, fills a mapping
            spec = RunSpec.from_mapping(spec, strict=False)
        directory = Path(self._run["directory"])
        directory.mkdir(parents=True, exist_ok=True)
        (directory / f"pid_{self._run['attempt']}").write_text(str(os.getpid()))
        (directory / f"node_{self._run['attempt']}").write_text(get_runtime_context().get_node_id())
        steps = spec.trainer.total_timesteps
        options = json.loads((directory.parents[3] / "instant.json").read_text())
        if options.get("bad_node") == get_runtime_context().get_node_id():
            os._exit(1)
        while (directory.parents[3] / "hold").exists():
            time.sleep(0.1)
        time.sleep(float(options.get("sleep_seconds", 0.0)) / 2)
        self._steps_done += 1
        cost = Costs(train=Span(steps / 2000, steps / 2000, 0.0))
        if self._steps_done == 1:
            point = Point(steps // 2, cost.train, self._score(spec) - 1.0)
            return {
                "score": math.nan,
                "progress_json": json.dumps(
                    asdict(Progress(steps // 2, steps, 1000.0, {}, point, cost, cost, ("here",)))
                ),
                "done": False,
            }
        number = self._run["id"].rpartition(".")[2]
        return self._end(spec, steps, options.get("behaviours", {}).get(number, options.get("behaviour", "complete")))

    def _end(self, spec: RunSpec, steps: int, behaviour: str) -> dict[str, Any]:
        costs = Costs(train=Span(steps / 1000, steps / 1000, 0.0), evaluate=Span(0.1, 0.1, 0.0))
        if behaviour == "die_first" and self._run["attempt"] == 1:
            os._exit(1)
        if behaviour == "end_themselves" or (behaviour == "lose_workers_first" and self._run["attempt"] == 1):
            if self._steps_done > 2:
                raise RuntimeError("its workers were lost")
            how = "ended with exit code 7 at mine.py:3" if behaviour == "end_themselves" else "gang.py"
            result = RunResult(
                Outcome.INTERRUPTED,
                None,
                costs,
                costs,
                failure=FailureKind.INFRASTRUCTURE,
                signature=how,
                message="a worker was lost",
            )
            return {"score": math.nan, "result_json": json.dumps(result.to_dict()), "done": False}
        if behaviour in ("hyperparameters", "code"):
            failure = FailureKind(behaviour)
            result = RunResult(
                Outcome.FAILED,
                None,
                costs,
                costs,
                failure=failure,
                signature=f"{behaviour}: here",
                message="asked to fail",
            )
        else:
            score = self._score(spec)
            result = RunResult(
                Outcome.COMPLETED,
                score,
                costs,
                costs,
                metrics={"reward": score},
                standard_error=0.01,
                curve=(Point(steps, costs.train, score),),
                env_steps=steps,
                nodes=("here",),
            )
        return {
            "score": math.nan if result.score is None else result.score,
            "result_json": json.dumps(result.to_dict()),
            "done": True,
        }

    @staticmethod
    def _score(spec: RunSpec) -> float:
        return -(math.log10(spec.trainer.optimizer.learning_rate / 0.003) ** 2)

    def checkpoint_now(self, timeout_seconds: float) -> dict[str, Any]:
        """Nothing to keep, and a cost that no report has told."""
        return {"attempt_costs": asdict(CUT_OFF)}

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self.setup(new_config)
        return True

    def save_checkpoint(self, checkpoint_dir: str) -> dict[str, Any]:
        return {}

    def load_checkpoint(self, checkpoint: dict[str, Any] | None) -> None:
        """Nothing was kept."""
