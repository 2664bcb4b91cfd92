"""A rank's part in training with a program of the user's own: starts it, listens to it, turns its last report into a
result.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from trainables.command import Command, CommandRun, nest
from trainables.distributed import DistributedContext
from trainables.errors import CodeFailure
from trainables.function import FunctionContext, call
from trainables.messages import Task, Trained
from trainables.metering import Meter
from trainables.programs import Reports, load_points, save_point
from trainables.result import Costs, Progress
from trainables.spec import RunSpec

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ProgramHost:
    """Runs one program on one rank.

    Attributes:
        task: the run.
        spec: its specification.
        context: this rank.
        stop: set when the run should end, with a checkpoint if the program can.
        listener: hears of progress; called on rank 0 only.
    """

    task: Task
    spec: RunSpec
    context: DistributedContext
    stop: threading.Event
    listener: Callable[[Progress], None]

    def train(self, meter: Meter) -> Trained:
        """The whole training.

        Raises:
            RunError: as `Command.follow`; `CodeFailure` also when rank 0 reported no score.
        """
        earlier = load_points(self._points_path)
        reports = Reports(self.spec.metric, self.spec.trainable.total_steps, earlier)
        meter.switch("train")
        if self.spec.trainable.kind == "command":
            complete, costs = self._run_command(reports)
            meter.stop()
            costs = replace(meter.spent(), train=costs.train)
        else:
            complete = self._call_function(reports, meter)
            meter.stop()
            costs = meter.spent()
        if complete and self.context.is_main and reports.score is None:
            raise CodeFailure(_no_score(self.spec.metric), "no score")
        return Trained(complete, reports.step, costs, reports.base, tuple(reports.curve), dict(reports.latest))

    @property
    def _points_path(self) -> Any:
        return self.task.files.directory / "curve.jsonl"

    def _hear(self, progress: Progress) -> None:
        if self.context.is_main:
            if progress.point is not None:
                save_point(self._points_path, progress.point, progress.time)
            self.listener(progress)

    def _run_command(self, reports: Reports) -> tuple[bool, Costs]:
        command = Command(self._command_run(), reports, self._hear)
        complete = command.follow(self.stop.is_set)
        return complete, command.costs()

    def _command_run(self) -> CommandRun:
        words = {
            "run": self.spec.run,
            "directory": self.task.directory,
            "seed": str(self.spec.seed),
            "attempt": str(self.task.attempt),
            "rank": str(self.context.rank),
            "world_size": str(self.context.world_size),
        }
        return CommandRun(self.spec.trainable, self.spec.parameters, words, self.task.files, self._rank_variables())

    def _rank_variables(self) -> dict[str, str]:
        """What `torchrun` would set."""
        names = {
            "RANK": self.context.rank,
            "LOCAL_RANK": self.context.local_rank,
            "WORLD_SIZE": self.context.world_size,
        }
        variables = {name: str(value) for name, value in names.items()}
        if self.task.meeting is not None:
            variables |= {"MASTER_ADDR": self.task.meeting[0], "MASTER_PORT": str(self.task.meeting[1])}
        return variables

    def _call_function(self, reports: Reports, meter: Meter) -> bool:
        def listen(values: Mapping[str, Any]) -> None:
            if (progress := reports.add(values, meter.spent())) is not None:
                self._hear(progress)

        checkpoints = self.task.files.checkpoints
        checkpoints.mkdir(parents=True, exist_ok=True)
        context = FunctionContext(
            directory=self.task.files.directory,
            resume_from=checkpoints if any(checkpoints.iterdir()) else None,
            rank=self.context.rank,
            local_rank=self.context.local_rank,
            world_size=self.context.world_size,
            device=str(self.context.device),
            seed=self.spec.seed,
            attempt=self.task.attempt,
            should_stop=self.stop.is_set,
            listener=listen,
        )
        call(self.spec.trainable.function, nest(self.spec.parameters), context)
        return not self.stop.is_set()


def _no_score(metric: str) -> str:
    wanted = "score" if metric in ("score", "reward") else metric
    return (
        f"the program ended without reporting {wanted}; call metta_sweep.report({wanted}=...), or set "
        "trainable.pattern or trainable.results to "
        "where it says so"
    )
