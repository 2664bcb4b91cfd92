"""A rank's part in training with a program of the user's own: starts it, listens, makes its last report a result."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from trainables.command import CommandProcess, CommandRun, nest
from trainables.errors import CodeFailure
from trainables.function import FunctionContext, call
from trainables.messages import Trained
from trainables.programs import Reports, load_points, save_point
from trainables.rank_run import RankRun
from trainables.result import Costs, Progress


def run_command(run: RankRun) -> Trained:
    """Training by any program.

    Raises:
        RunError: as `CommandProcess.follow`; `CodeFailure` also when rank 0 reported no score.
    """
    host = ProgramHost.of(run)
    command = CommandProcess(host.command(), host.reports, host.hear)
    complete = command.follow(run.stop.is_set)
    run.meter.stop()
    return host.trained(complete, replace(run.meter.spent(), train=command.costs().train))


def call_function(run: RankRun) -> Trained:
    """Training by a function, in this process.

    Raises:
        CodeFailure: it cannot be imported, or rank 0 reported no score.
    """
    host = ProgramHost.of(run)

    def listen(values: Mapping[str, Any]) -> None:
        if (progress := host.reports.add(values, run.meter.spent())) is not None:
            host.hear(progress)

    call(run.spec.trainable.function, nest(run.spec.parameters), host.function_context(listen))
    run.meter.stop()
    return host.trained(not run.stop.is_set(), run.meter.spent())


@dataclass(frozen=True, slots=True)
class ProgramHost:
    """What a rank does around a program: listens to it, and turns its last report into a result."""

    run: RankRun
    reports: Reports

    @classmethod
    def of(cls, run: RankRun) -> ProgramHost:
        """From here on, the program is paid for."""
        earlier = load_points(_points_path(run))
        run.meter.switch("train")
        trainable = run.spec.trainable
        return cls(run, Reports(run.spec.metric, trainable.total_steps, earlier, trainable.average))

    def hear(self, progress: Progress) -> None:
        if self.run.context.is_main:
            if progress.point is not None:
                save_point(_points_path(self.run), progress.point, progress.time)
            self.run.tell(progress)

    def trained(self, complete: bool, costs: Costs) -> Trained:
        reports, metric = self.reports, self.run.spec.metric
        if (progress := reports.rest(costs)) is not None:
            self.hear(progress)
        if complete and self.run.context.is_main and reports.score is None:
            raise CodeFailure(_no_score(metric), "no score")
        return Trained(complete, reports.step, costs, reports.base, tuple(reports.curve), dict(reports.latest))

    def command(self) -> CommandRun:
        request, spec, context = self.run.request, self.run.spec, self.run.context
        words = {"run": spec.run, "directory": request.directory, "seed": spec.seed, "attempt": request.attempt}
        words |= {"rank": context.rank, "world_size": context.world_size}
        texts = {name: str(value) for name, value in words.items()}
        return CommandRun(spec.trainable, spec.parameters, texts, request.files, self._rank_variables())

    def _rank_variables(self) -> dict[str, str]:
        """What `torchrun` would set."""
        context, rendezvous = self.run.context, self.run.request.rendezvous
        names = {"RANK": context.rank, "LOCAL_RANK": context.local_rank, "WORLD_SIZE": context.world_size}
        variables = {name: str(value) for name, value in names.items()}
        return variables | ({"MASTER_ADDR": rendezvous[0], "MASTER_PORT": str(rendezvous[1])} if rendezvous else {})

    def function_context(self, listener: Callable[[Mapping[str, Any]], None]) -> FunctionContext:
        request, context = self.run.request, self.run.context
        checkpoints = request.files.checkpoints
        checkpoints.mkdir(parents=True, exist_ok=True)
        return FunctionContext(
            directory=request.files.directory,
            resume_from=checkpoints if any(checkpoints.iterdir()) else None,
            rank=context.rank,
            local_rank=context.local_rank,
            world_size=context.world_size,
            device=str(context.device),
            seed=self.run.spec.seed,
            attempt=request.attempt,
            should_stop=self.run.stop.is_set,
            listener=listener,
        )


def _points_path(run: RankRun) -> Path:
    return run.request.files.directory / "curve.jsonl"


def _no_score(metric: str) -> str:
    wanted = "score" if metric in ("score", "reward") else metric
    remedy = f"call metta_sweep.report({wanted}=...), or set trainable.pattern or trainable.results to where it says so"
    return f"the program ended without reporting {wanted}; {remedy}"
