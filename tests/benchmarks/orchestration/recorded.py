"""A Ray trainable that waits and reports the learning curve of a recorded PPO run, so that many runs fit on few cores.

`recorded.json` in the data directory says what: `axes` and `runs` as in `tests.benchmarks.search.ppo_table`, and how
long a run waits (`setup_seconds`, and `seconds_per_second` of recorded CPU time).
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping
from dataclasses import asdict
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import yaml
from ray import get_runtime_context, tune

from trainables.errors import InfrastructureFailure
from trainables.ray_internals import draining_nodes
from trainables.result import Costs, Outcome, Point, Progress, RunResult, Span
from trainables.run_files import RunFiles
from trainables.spec import RunSpec

POINTS_DONE = "points_done"
ANSWER_SECONDS = 5.0  # the real trainable answers every second; 64 processes of this one share two cores


def span(seconds: float) -> Span:
    return Span(seconds, seconds, 0.0)


@cache
def recorded(path: Path) -> Mapping[str, Any]:
    """Read once a process: its slot runs many."""
    data: Mapping[str, Any] = json.loads(path.read_text())
    return data


def nearest(value: float, choices: list[float]) -> float:
    """By ratio, as most of them are searched."""
    return min(choices, key=lambda choice: abs(math.log(choice / value)))


def curve_of(data: Mapping[str, Any], spec: RunSpec, number: int) -> tuple[Point, ...]:
    """What was recorded with the nearest settings, up to the length that is nearest to the one asked for."""
    trainer = spec.trainer
    asked = {
        "learning_rate": trainer.optimizer.learning_rate,
        "gamma": trainer.ppo.gamma,
        "gae_lambda": trainer.ppo.gae_lambda,
        "update_epochs": trainer.update_epochs,
        "minibatch_size": trainer.minibatch_size,
    }
    setting = [nearest(asked[name], choices) for name, choices in data["axes"].items()]
    record = data["runs"][",".join(f"{value:g}" for value in [*setting, data["seeds"][number % len(data["seeds"])]])]
    lengths = sorted(map(int, record))
    longest = nearest(trainer.total_timesteps, [float(length) for length in lengths])
    told = [(length, *record[str(length)]) for length in lengths if length <= longest]
    return tuple(Point(length, span(seconds), score) for length, score, seconds in told)


class RecordedTrainable(tune.Trainable):
    """Waits for each point of its curve and reports it; a lost run goes on behind the last point that Tune heard of.

    As the real trainable it answers often, so that Tune's loop is as busy as there. Beside its run it writes when its
    slot was in use.
    """

    def setup(self, config: dict[str, Any]) -> None:
        self._run = config["run"]
        self._directory = Path(self._run["directory"])
        self._curve: tuple[Point, ...] = ()
        self._first = self._told = self._num_points = 0
        self._until, self._is_leaving = 0.0, False
        self._node = str(get_runtime_context().get_node_id())

    def step(self) -> dict[str, Any]:
        if not self._curve:
            self._begin(recorded(self._directory.parents[3] / "recorded.json"))
        if self._told != self._num_points:  # Tune has had the last point before it asks for the next
            self._told = self._num_points
            (self._directory / POINTS_DONE).write_text(str(self._told))
        if self._is_leaving:
            raise InfrastructureFailure("its node will be taken away")
        time.sleep(max(min(self._until - time.time(), ANSWER_SECONDS), 0.0))
        self._note()
        if self._node in draining_nodes():
            self._is_leaving = True
            why = f"node {self._node} will be taken away"
            return self._end(RunResult(Outcome.INTERRUPTED, None, *self._costs(), message=why))
        if time.time() < self._until:
            return {"score": math.nan, "progress_json": "", "done": False}
        self._num_points += 1
        return self._progress() if self._num_points < len(self._curve) else self._result()

    def _begin(self, data: Mapping[str, Any]) -> None:
        self._directory.mkdir(parents=True, exist_ok=True)
        self._curve = curve_of(data, self._run["spec"], int(self._run["id"].rpartition(".")[2]))
        done = self._directory / POINTS_DONE
        self._first = self._told = self._num_points = int(done.read_text()) if done.exists() else 0
        self._pace = float(data["seconds_per_second"])
        self._used = self._directory / f"slot_{self._run['attempt']}.jsonl"
        self._note(worker=get_runtime_context().get_actor_id())
        self._until = time.time() + float(data["setup_seconds"])
        self._wait_for_next()

    def _wait_for_next(self) -> None:
        self._until += self._pace * (self._seconds(self._num_points + 1) - self._seconds(self._num_points))

    def _note(self, **more: str) -> None:
        with self._used.open("a") as file:
            file.write(json.dumps({"at": time.time(), **more}) + "\n")

    def _seconds(self, num_points: int) -> float:
        """Training behind so many points."""
        return self._curve[num_points - 1].train.cpu_seconds if num_points else 0.0

    def _costs(self, evaluation_seconds: float = 0.0) -> tuple[Costs, Costs]:
        """Of the whole run, and of this attempt."""
        whole = self._seconds(self._num_points)
        mine = whole - self._seconds(self._first)
        evaluate = span(evaluation_seconds)
        return Costs(train=span(whole), evaluate=evaluate), Costs(train=span(mine), evaluate=evaluate)

    def _progress(self) -> dict[str, Any]:
        self._wait_for_next()
        point, total = self._curve[self._num_points - 1], self._curve[-1].env_steps
        told = Progress(point.env_steps, total, 0.0, {}, point, *self._costs(), ("here",))
        return {"score": math.nan, "progress_json": json.dumps(asdict(told)), "done": False}

    def _result(self) -> dict[str, Any]:
        point, costs = self._curve[-1], self._costs(evaluation_seconds=0.1)
        RunFiles(self._directory).eval_results.write_text(yaml.safe_dump({"score": point.score}))
        told: dict[str, Any] = {"curve": self._curve, "env_steps": point.env_steps, "nodes": ("here",)}
        return self._end(RunResult(Outcome.COMPLETED, point.score, *costs, standard_error=0.1, **told))

    def _end(self, result: RunResult) -> dict[str, Any]:
        score = math.nan if result.score is None else result.score
        return {"score": score, "result_json": json.dumps(result.to_dict()), "done": not self._is_leaving}

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self.setup(new_config)
        return True

    def checkpoint_now(self, timeout_seconds: float) -> dict[str, Any]:
        return {"attempt_costs": asdict(self._costs()[1])} if self._curve else {}

    def save_checkpoint(self, checkpoint_dir: str) -> dict[str, Any]:
        return {}

    def load_checkpoint(self, checkpoint: dict[str, Any] | None) -> None:
        """What it goes on from lies beside the run."""


def uses(runs: Path) -> list[tuple[str, float, float]]:
    """(worker, begin, end) of every attempt that was at work, in order; of one that was lost until its last sign."""
    found = []
    for path in runs.glob("*/slot_*.jsonl"):
        notes = [json.loads(line) for line in path.read_text().splitlines(keepends=True) if line.endswith("\n")]
        if notes:  # else it begins just now
            found.append((notes[0]["worker"], notes[0]["at"], notes[-1]["at"]))
    return sorted(found, key=lambda use: use[1])


def gaps(used: list[tuple[str, float, float]]) -> list[float]:
    """Seconds between a run's end and the beginning of the next one in the same process."""
    by_worker: dict[str, list[tuple[float, float]]] = {}
    for worker, begin, end in used:
        by_worker.setdefault(worker, []).append((begin, end))
    return [after[0] - before[1] for mine in by_worker.values() for before, after in pairwise(mine)]
